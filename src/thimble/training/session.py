"""What a training works on: made afresh, or put back as a run's last state has it, and written down again."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thimble.data.dataset import ImageDataset, normalize
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
from thimble.training.tricks.distillation import Teacher
from thimble.training.tricks.hard_images import Hardness, num_kept
from thimble.training.tricks.whitening import whiten_first_convolution

from .claim import Claim
from .config import TrainConfig, headline
from .fabric import environment
from .observer import Observer
from .optimizers import build_optimizers
from .progress import Progress
from .resume import restore_progress, save_progress
from .schedules import one_cycle

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_WHITENING_IMAGES = 5000


@dataclass
class Session:
    """A training between two of its steps.

    Attributes:
        claim: holds the run's folder; of the first process only has it a lock.
        source: where the images are from; it has the test images too.
        data: the training images, on the device where they are augmented.
        module: the model as fabric wrapped it, and compiled, if asked for; the same weights.
        optimizers: as fabric wrapped them.
        teacher: what the model learns from beside the labels, on the device.
        bank: the same as answers given beforehand, with the views that they are of, on the device.
        curves: of the first process only, and only with TensorBoard.
        reads_every_step: whether loss and signals are looked at after each step, as costs nothing on a CPU. To read a
            figure from a GPU is to wait for it, while it should be told its next steps: there once an epoch.
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
    progress: Progress
    curves: Curves | None
    observer: Observer
    reads_every_step: bool

    def set_learning_rate(self, step: int) -> float:
        """Set every group's learning rate for a step, counted from 0, and return SGD's."""
        num_steps, warmup_fraction = self.progress.num_steps, self.config.schedule.warmup_fraction
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(step, num_steps, group["peak"], warmup_fraction)
        return one_cycle(step, num_steps, self.config.optimization.learning_rate, warmup_fraction)

    def summed(self, values: Tensor) -> list[float]:
        """A tensor's values, each summed over the processes. The one place where a training waits for its device."""
        if self.fabric.world_size > 1:
            values = self.fabric.all_reduce(values, reduce_op="sum")  # type: ignore[assignment]
        result: list[float] = values.tolist()
        return result

    def agree(self) -> None:
        """Give all processes the mean of their BatchNorm statistics, for the model and its average, and all losses.

        Each normalises, and so measures, its own part of every batch; the weights agree by themselves.
        """
        if self.fabric.world_size > 1:
            self.hardness.merge(lambda tensor: self.fabric.all_reduce(tensor, reduce_op="sum"))  # type: ignore[arg-type, return-value]
            for model in (self.model, self.average.model):
                for buffer in model.buffers():
                    if buffer.is_floating_point():
                        buffer.copy_(self.fabric.all_reduce(buffer, reduce_op="mean"))  # type: ignore[arg-type]

    def save(self) -> None:
        """Write the state and the logs of the epochs so far. One process does it, and the others wait.

        Raises:
            RunError: the folder was moved or deleted, or cannot be written; what was saved before is untouched.
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
    """Build everything afresh or from a run's last state; only then does a new run get its folder.

    Raises:
        UserError: settings, data, state or folder are not as they should be.
        RunError: the disk is full.
    """
    if fabric.device.type == "cpu":
        keep_freed_memory()
    if config.augment.augmenter == "batched":  # the whole training set fits on any device, and stays there
        images, labels = data.images.to(fabric.device), data.labels.to(fabric.device)
        data = dataclasses.replace(data, images=images, labels=labels)
    model = _initial_model(config, data, source.record()).to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
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
        observer.message(f"{resume} stopped before it had saved anything: it begins again at its first step")
    elif resume is not None:
        restore_progress(resume, progress, model, optimizers, average, hardness)
        if fabric.global_rank > 0:  # the state has the first process's generator, whose dropout masks are its own
            torch.manual_seed(derive_seed(config.seed, fabric.global_rank, progress.step))
    module, *wrapped = fabric.setup(_compiled(model) if config.run.compile else model, *optimizers)
    run: Path = fabric.broadcast(
        claim.begin(config, environment(fabric), source.record()) if fabric.is_global_zero else Path()
    )
    if not claim.has_locks:
        observer.message(f"{run} cannot be locked here: train in it with one process at a time")
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
        progress=progress,
        curves=curves,
        observer=observer,
        reads_every_step=fabric.device.type == "cpu",
    )


def _compiled(model: nn.Module) -> nn.Module:
    """The same weights under compiled arithmetic, of one kind for every size of the images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the compiler's import warns of PyTorch's own parts
        compiled: nn.Module = torch.compile(model, dynamic=False)  # type: ignore[assignment]
    return compiled


@contextlib.contextmanager
def compiling(asked: bool) -> Iterator[None]:
    """Where a network that was to be compiled cannot be, say so in one line: it is compiled at its first step."""
    if not asked:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = str(error).strip().partition("\n")[0]
        raise RunError(
            f"cannot compile the network ({reason}): install a C++ compiler, or leave --compile out"
        ) from error


def _initial_model(config: TrainConfig, data: ImageDataset, record: dict[str, Any]) -> Classifier:
    """The untrained model, on the CPU, the same in all processes; with the constants of its data."""
    torch.manual_seed(derive_seed(config.seed))
    network = config.network
    channels, height, width = data.images.shape[1:]
    try:
        model = build_model(
            network.model,
            num_classes=len(data.classes),
            dropout=network.dropout,
            in_channels=channels,
            input_size=(height, width),
        )
    except ValueError as error:
        raise UserError(f"--model {network.model}: {error}") from error
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    model.data = record
    if network.whiten:
        images = normalize(data.images[:_WHITENING_IMAGES].cpu(), data.mean, data.std)
        try:
            whiten_first_convolution(model, images)
        except ValueError as error:
            raise UserError(f"--whiten with --model {network.model}: {error}; leave --whiten out") from error
    return model
