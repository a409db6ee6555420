"""Build a run's model, data and optimizers, or restore them from its last state; save that state."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from thimble.data.dataset import ImageDataset, normalize
from thimble.data.rows import unread
from thimble.data.source import Source
from thimble.errors import RunError, UserError
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.curves import Curves, open_curves
from thimble.storage.logs import write_logs
from thimble.storage.run_folder import has_state
from thimble.system.machine import keep_freed_memory
from thimble.system.seeds import derive_seed
from thimble.training.tricks.averaging import WeightAverage
from thimble.training.tricks.bank import Bank, StoredTeacher
from thimble.training.tricks.class_weights import class_weights
from thimble.training.tricks.distillation import Teacher
from thimble.training.tricks.hard_images import Hardness, num_kept
from thimble.training.tricks.whitening import whiten_first_convolution

from .claim import Claim
from .config import TrainConfig, headline
from .fabric import environment
from .observer import Observer
from .optimizers import build_optimizers
from .pretrained import adopt_weights
from .progress import Progress
from .resume import restore_progress, save_progress
from .schedules import one_cycle

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_WHITENING_IMAGES = 5000
_CHUNK = 1_000
"""Images that are read from the disk at a time."""


@dataclass
class Session:
    """Everything that a running training uses and changes.

    Attributes:
        claim: holds the run's folder; only the first process has it locked.
        source: where the images come from; it also has the test images.
        data: the training images, on the device on which they are augmented.
        module: the model wrapped by fabric, and compiled if asked for; it shares the model's weights.
        optimizers: the optimizers wrapped by fabric.
        teacher: the teacher that the model learns from, on the device.
        class_weights: each class's weight in the loss, float32 (num_classes,), on the device; None if all are alike.
        bank: a teacher's stored logits, with the views of the images that they belong to, on the device.
        curves: TensorBoard's writer; only in the first process, and only if TensorBoard is installed.
        reads_every_step: whether to read the loss and check for signals after every step. True on a CPU, where it costs
            nothing. On a GPU, reading a number waits for all queued work, so it is done once per epoch.
    """

    config: TrainConfig
    run: Path
    claim: Claim
    fabric: Fabric
    source: Source
    data: ImageDataset
    validation: ImageDataset | None
    model: Classifier
    module: nn.Module
    optimizers: list[torch.optim.Optimizer]
    average: WeightAverage
    teacher: Teacher | None
    bank: StoredTeacher | None
    hardness: Hardness
    class_weights: Tensor | None
    progress: Progress
    curves: Curves | None
    observer: Observer
    reads_every_step: bool

    def set_learning_rate(self, step: int) -> float:
        """Set the learning rate of every parameter group for a step, counted from 0; return SGD's."""
        num_steps, warmup_fraction = self.progress.num_steps, self.config.schedule.warmup_fraction
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(step, num_steps, group["peak"], warmup_fraction)
        sgd: float = self.optimizers[-1].param_groups[0]["lr"]
        return sgd

    def summed(self, values: Tensor) -> list[float]:
        """Sum each of a tensor's values over all processes. Only here does training wait for the device."""
        if self.fabric.world_size > 1:
            values = self.fabric.all_reduce(values, reduce_op="sum")  # type: ignore[assignment]
        result: list[float] = values.tolist()
        return result

    def agree(self) -> None:
        """Synchronise the processes: average BatchNorm's statistics, and share the losses of all images.

        Each process normalises only its own part of every batch, so its statistics differ. The weights never do.
        """
        if self.fabric.world_size > 1:
            self.hardness.merge(lambda tensor: self.fabric.all_reduce(tensor, reduce_op="sum"))  # type: ignore[arg-type, return-value]
            for model in (self.model, self.average.model):
                for buffer in model.buffers():
                    if buffer.is_floating_point():
                        buffer.copy_(self.fabric.all_reduce(buffer, reduce_op="mean"))  # type: ignore[arg-type]

    def save(self) -> None:
        """Save the state and the logs. The first process writes them, and the others wait.

        Raises:
            RunError: the folder was moved or deleted, or cannot be written; the previous state is untouched.
        """
        if self.fabric.is_global_zero:
            self.claim.check()
            save_progress(self.run, self.progress, self.model, self.optimizers, self.average, self.hardness)
            write_logs(self.run, headline(self.config), self.progress.history)
        self.fabric.barrier()


def begin(
    config: TrainConfig,
    claim: Claim,
    fabric: Fabric,
    source: Source,
    data: ImageDataset,
    validation: ImageDataset | None,
    teacher: Teacher | None,
    bank: Bank | None,
    observer: Observer,
) -> Session:
    """Build a new run or restore a resumed one. A new run's folder is created last, after everything else succeeded.

    Raises:
        UserError: the settings, the data, the state or the folder are wrong.
        RunError: the disk is full.
    """
    if fabric.device.type == "cpu":
        keep_freed_memory()
    model = _initial_model(config, data, source, observer).to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if config.augment.augmenter == "batched":
        images = _moved(data.images, fabric.device, must_fit=bank is not None)
        data = dataclasses.replace(data, images=images, labels=data.labels.to(images.device))
    optimizers = build_optimizers(model, config.optimization)
    if teacher is not None:
        teacher.check(data)
        teacher.model.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    hardness = Hardness(len(data), fabric.device)
    epochs, skip_easy = config.schedule.epochs, config.hard_images.skip_easy
    kept = [num_kept(epoch, epochs, len(data), skip_easy) for epoch in range(epochs)]
    num_batches = [count // config.schedule.batch_size for count in kept]
    progress = Progress(
        num_batches[0],
        sum(num_batches),
        fabric.world_size,
        teacher=teacher.checksum if teacher else "",
        bank=bank.checksum if bank else "",
    )
    averaging = config.averaging
    swa_start = round((1 - averaging.swa_fraction) * progress.num_steps) if averaging.swa_fraction > 0 else None
    average = WeightAverage(model, averaging.ema_decay, swa_start)
    torch.manual_seed(derive_seed(config.seed, fabric.global_rank))
    resume = claim.resume
    if resume is not None and not has_state(resume):
        observer.message(f"{resume} stopped before it saved a state: it starts again from the first step")
    elif resume is not None:
        restore_progress(resume, progress, model, optimizers, average, hardness)
        if fabric.global_rank > 0:  # the state has only the first process's generator; others need other dropout masks
            torch.manual_seed(derive_seed(config.seed, fabric.global_rank, progress.step))
    module, *wrapped = fabric.setup(_compiled(model) if config.run.compile else model, *optimizers)
    run: Path = fabric.broadcast(
        claim.begin(config, environment(fabric), source.record()) if fabric.is_global_zero else Path()
    )
    if not claim.has_locks:
        observer.message(f"{run} cannot be locked on this file system: do not train in it twice at the same time")
    curves = open_curves(run, progress.epoch + 1) if fabric.is_global_zero else None
    return Session(
        config=config,
        run=run,
        claim=claim,
        fabric=fabric,
        source=source,
        data=data,
        validation=validation,
        model=model,
        module=module,
        optimizers=wrapped,
        average=average,
        teacher=teacher,
        bank=StoredTeacher(bank, data, config.seed) if bank is not None else None,
        hardness=hardness,
        class_weights=class_weights(data.labels.to(fabric.device), len(data.classes), config.weighting.class_weights),
        progress=progress,
        curves=curves,
        observer=observer,
        reads_every_step=fabric.device.type == "cpu",
    )


def _moved(images: Tensor, device: torch.device, must_fit: bool) -> Tensor:
    """Move the images to the device, once for the whole training; images on disk in pieces.

    Those stay on disk if they would take more than half of a GPU's free memory, unless they must fit. Their batches are
    then made on the CPU.
    """
    rows = unread(images)
    if rows is None or rows.device.type == device.type:
        return images.to(device)
    if not must_fit and math.prod(rows.shape) > torch.cuda.mem_get_info(device)[0] // 2:
        return images
    result = torch.empty(rows.shape, dtype=rows.dtype, device=device)
    for start in range(0, len(rows), _CHUNK):
        result[start : start + _CHUNK] = rows[start : start + _CHUNK].to(device)
    return result


def _compiled(model: nn.Module) -> nn.Module:
    """The model, compiled once for every image size; it shares the model's weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # importing the compiler warns about PyTorch's own code
        compiled: nn.Module = torch.compile(model, dynamic=False)  # type: ignore[assignment]
    return compiled


@contextlib.contextmanager
def compiling(asked: bool) -> Iterator[None]:
    """Turn a compiler's failure, which comes only at the first step, into a one-line error."""
    if not asked:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = str(error).strip().partition("\n")[0]
        raise RunError(f"cannot compile the network ({reason}): install a C++ compiler, or drop --compile") from error


def _initial_model(config: TrainConfig, data: ImageDataset, source: Source, observer: Observer) -> Classifier:
    """The untrained model on the CPU, identical in all processes, with its data's classes, mean and std."""
    torch.manual_seed(derive_seed(config.seed))
    network = config.network
    channels, height, width = data.images.shape[1:]
    try:
        model = build_model(
            network.model,
            num_classes=len(data.classes),
            dropout=network.dropout or 0.0,
            in_channels=channels,
            input_size=(height, width),
        )
    except ValueError as error:
        raise UserError(f"--model {network.model}: {error}") from error
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    model.data = source.record()
    if source.fitting is not None:
        model.fit, model.depth = source.fitting.fit, source.fitting.depth
    if network.whiten:
        images = normalize(_some_images(data), data.mean, data.std)
        try:
            whiten_first_convolution(model, images)
        except ValueError as error:
            raise UserError(
                f"--whiten with --model {network.model}: {error}; drop --whiten, or use --no-whiten"
            ) from error
    if network.pretrained is not None:
        observer.message(adopt_weights(model, network.pretrained))
    return model


def _some_images(data: ImageDataset) -> Tensor:
    """Images for the whitening, on the CPU: of large images fewer, as all their patches are in memory at once."""
    height, width = data.images.shape[2:]
    count = min(_WHITENING_IMAGES, max(100, _WHITENING_IMAGES * 32 * 32 // (height * width)))
    # Images that are mapped from disk are in the order of their classes.
    step = 1 if unread(data.images) is None else max(1, len(data) // count)
    return data.images[::step][:count].cpu()
