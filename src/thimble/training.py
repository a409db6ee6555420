"""Training: from a configuration to a run folder with a trained, tested and saved model.

``_train_epochs`` is the loop. What surrounds it makes a ``_Session`` to train in and finishes the run: the last
averaged weights are tested, once, and saved. A session can be written to disk between any two steps, and go on.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import run_folder
from .augment import Augmenter, EpochBatches
from .checkpoint import WEIGHTS_FILE, save_weights
from .config import Interrupted, RunError, TrainConfig, UserError, to_dict
from .data import DataUnavailable, ImageDataset, load_dataset, normalize, split
from .evaluation import Evaluation, evaluate, infer
from .models import Classifier, build_model, list_models
from .optim import WeightAverage, build_optimizer, one_cycle
from .progress import Observer, Progress, Row, restore_progress, save_progress
from .runtime import StopRequest, derive_seed, environment, keep_freed_memory, start_fabric, stop_on_signal

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class TrainResult:
    """A finished run: its folder, its averaged model in eval mode, its history and its one look at the test set."""

    run: Path
    model: Classifier
    history: list[Row]
    test: Evaluation


@dataclass
class _Session:
    """What the loop works on."""

    config: TrainConfig
    run: Path
    fabric: Fabric
    data: ImageDataset
    validation: ImageDataset | None
    model: Classifier
    module: nn.Module  # the model as fabric wrapped it
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    progress: Progress
    curves: run_folder.Curves | None  # of the first process only
    observer: Observer


def train(
    config: TrainConfig | None = None,
    *,
    resume: str | Path | None = None,
    observer: Observer | None = None,
    **changes: Any,
) -> TrainResult:
    """Train a model, test it once, and leave everything in a run folder.

    Args:
        config: the settings; by default the reference recipe.
        resume: a run folder to go on with instead of beginning a new one. On the CPU, with as many threads, the result
            is that of an uninterrupted run, to the last bit.
        observer: told how it goes.
        changes: fields of the configuration that differ, e.g. ``thimble.train(data="shapes10", epochs=2)``.

    Raises:
        UserError: settings, data or folder are not as they should be.
        RunError: the loss is not finite any more, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; ``resume`` goes on from there.
    """
    if config is None:
        config = TrainConfig() if resume is None else run_folder.read_config(Path(resume))
    config = dataclasses.replace(config, **changes)
    observer = observer or Observer()
    if config.model not in list_models():
        raise UserError(f"--model {config.model}: expected one of {', '.join(list_models())}")
    if resume is None:
        run_folder.check_new(config)
    else:
        resume = Path(resume)
        run_folder.check_resumable(resume, config)
        config = dataclasses.replace(config, fallback=False)  # a run does not change its data on the way
    fabric = start_fabric(config.device, config.precision)
    config, data, validation = _load_data(config, fabric, observer)
    session = _begin(config, resume, fabric, data, validation, observer)
    try:
        with stop_on_signal() as stop:  # the loop alone: a download stops at once, and a test can be done again
            _train_epochs(session, stop)
    finally:
        if session.curves:
            session.curves.close()
    return _finish(session)


def _train_epochs(session: _Session, stop: StopRequest) -> None:
    """The loop: every epoch, every step."""
    config, fabric, progress, observer = session.config, session.fabric, session.progress, session.observer
    augmenter = Augmenter(config.augment, session.data.mean)
    criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)
    workers = config.workers if config.workers is not None else _default_workers(fabric)
    observer.start(session.run, config, progress)
    while progress.epoch < config.epochs:
        batches = EpochBatches(
            session.data,
            augmenter,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=progress.epoch,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        session.module.train()
        started = time.perf_counter()
        for images, labels in batches.loader(progress.batch, workers, pin_memory=fabric.device.type == "cuda"):
            learning_rate = _learning_rate(session, progress.step)
            for group in session.optimizer.param_groups:
                group["lr"] = learning_rate
            inputs = normalize(images.to(fabric.device, non_blocking=True), session.data.mean, session.data.std)
            targets = labels.to(fabric.device, non_blocking=True)
            logits = session.module(inputs)
            loss = criterion(logits, targets)
            session.optimizer.zero_grad()
            fabric.backward(loss)
            if config.clip_norm is not None:
                # Infinite gradients are let through: the loss tells of them in the next step, with our own message.
                fabric.clip_gradients(
                    session.module, session.optimizer, max_norm=config.clip_norm, error_if_nonfinite=False
                )
            session.optimizer.step()
            session.average.update(session.model, progress.step)
            loss_sum, correct, stopping = _totals(fabric, logits.detach(), targets, loss.detach(), stop)
            if not math.isfinite(loss_sum):
                raise RunError(
                    f"the loss is not finite at step {progress.step + 1} of {progress.num_steps}, at learning rate"
                    f" {learning_rate:.4g}: try a lower --learning-rate, or --clip-norm 1"
                )
            started, elapsed = time.perf_counter(), time.perf_counter() - started
            progress.add(loss_sum, int(correct), config.batch_size, elapsed)
            observer.step(progress)
            if stopping:
                _save(session)
                raise Interrupted(f"interrupted after step {progress.step}: thimble train --resume {session.run}")
        # By the step, not by the loop's variable: a run that resumes after an epoch's last step has no loop to enter.
        row = progress.end_epoch(_validate(session), _learning_rate(session, progress.step - 1))
        _save(session)
        if session.curves:
            session.curves.add(row)
        observer.epoch(row)
        if _asked_to_stop(fabric, stop):  # during validation
            raise Interrupted(f"interrupted after epoch {progress.epoch}: thimble train --resume {session.run}")


def _load_data(
    config: TrainConfig, fabric: Fabric, observer: Observer
) -> tuple[TrainConfig, ImageDataset, ImageDataset | None]:
    """The training and validation images; and the configuration, which the fallback changes."""
    with fabric.rank_zero_first():  # one process downloads, the others find it done
        try:
            whole = load_dataset(config.data, "train", config.data_dir, progress=True)
        except DataUnavailable as error:
            if not config.fallback:
                raise
            observer.message(f"CIFAR-10 IS NOT HERE. {error}")
            observer.message("TRAINING ON THE BUILT-IN shapes10 INSTEAD: the figures below are not CIFAR-10's.")
            config = dataclasses.replace(config, data="shapes10")
            whole = load_dataset("shapes10", "train")
    data, validation = split(whole, config.validation)
    if config.train_images is not None:
        if config.train_images > len(data):
            raise UserError(f"--train-images {config.train_images}: expected at most {len(data)}")
        data = data.subset(torch.arange(config.train_images))
    if len(data) < config.batch_size:
        raise UserError(f"--batch-size {config.batch_size}: expected at most the {len(data)} training images")
    if config.batch_size % fabric.world_size or config.batch_size < 2 * fabric.world_size:
        raise UserError(f"--batch-size {config.batch_size}: expected a multiple of the {fabric.world_size} processes")
    return config, data, validation


def _begin(
    config: TrainConfig,
    resume: Path | None,
    fabric: Fabric,
    data: ImageDataset,
    validation: ImageDataset | None,
    observer: Observer,
) -> _Session:
    """Build everything afresh or from a run's last state, and write down in what environment."""
    if fabric.device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(derive_seed(config.seed))
    model = build_model(config.model, num_classes=len(data.classes), dropout=config.dropout)
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    model.input_size = (3, data.images.shape[2], data.images.shape[3])
    model = model.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(model, config)
    average = WeightAverage(model, config.ema_decay)
    num_batches = len(data) // config.batch_size
    progress = Progress(num_batches, num_batches * config.epochs, fabric.world_size)
    torch.manual_seed(derive_seed(config.seed, fabric.global_rank))
    if resume is not None:
        restore_progress(resume, progress, model, optimizer, average)
    module, wrapped = fabric.setup(model, optimizer)
    run = resume
    if run is None:
        run = fabric.broadcast(run_folder.begin(config) if fabric.is_global_zero else Path())
    if fabric.is_global_zero:
        run_folder.write_json(run / "environment.json", environment(fabric))
    curves = run_folder.Curves(run, progress.epoch + 1) if fabric.is_global_zero else None
    return _Session(config, run, fabric, data, validation, model, module, wrapped, average, progress, curves, observer)


def _learning_rate(session: _Session, step: int) -> float:
    config = session.config
    return one_cycle(step, session.progress.num_steps, config.learning_rate, config.warmup_fraction)


def _validate(session: _Session) -> tuple[float, float] | None:
    """Loss and accuracy of the averaged weights on the validation images; None without any."""
    if session.validation is None:
        return None
    model, labels = session.average.model, session.validation.labels
    logits = infer(model, session.validation.images, mean=model.mean, std=model.std)
    loss = F.cross_entropy(logits, labels, label_smoothing=session.config.label_smoothing)
    return loss.item(), (logits.argmax(1) == labels).double().mean().item()


def _finish(session: _Session) -> TrainResult:
    """Test the last averaged weights, save them, and close the logs."""
    config, run, model, history = session.config, session.run, session.average.model, session.progress.history
    test = evaluate(model, load_dataset(config.data, "test", config.data_dir))
    low, high = test.accuracy_interval
    closing = (
        f"**Test: {test.accuracy:.2%}** of {test.num_images:,} images (95% interval {low:.2%} to {high:.2%}),"
        f" negative log-likelihood {test.nll:.4f}, expected calibration error {test.ece:.4f}: the last averaged"
        " weights, the test images read once."
    )
    if session.fabric.is_global_zero:
        run_folder.write_logs(run, config, history, closing)
        metadata = {
            "recipe": to_dict(config),
            "data": {"name": config.data, "train_images": len(session.data), "validation_images": config.validation},
            "metrics": {"last_epoch": history[-1], "test": test.to_dict()},
        }
        save_weights(run / WEIGHTS_FILE, model, metadata)
    session.fabric.barrier()
    return TrainResult(run, model.cpu(), history, test)


def _save(session: _Session) -> None:
    """Write the state and the logs of the epochs so far. One process does it, and the others wait."""
    if session.fabric.is_global_zero:
        save_progress(session.run, session.progress, session.model, session.optimizer, session.average)
        run_folder.write_logs(session.run, session.config, session.progress.history)
    session.fabric.barrier()


def _totals(fabric: Fabric, logits: Tensor, targets: Tensor, loss: Tensor, stop: StopRequest) -> list[float]:
    """Summed over the processes: a step's loss times its images, its correct answers, and the requests to stop.

    All processes thus stop after the same step, whichever of them the signal reached first.
    """
    correct = (logits.argmax(1) == targets).sum()
    return _summed(fabric, torch.stack([loss * len(targets), correct, loss.new_tensor(float(bool(stop)))]))


def _asked_to_stop(fabric: Fabric, stop: StopRequest) -> bool:
    return _summed(fabric, torch.tensor([float(bool(stop))], device=fabric.device))[0] > 0


def _summed(fabric: Fabric, values: Tensor) -> list[float]:
    if fabric.world_size > 1:
        values = fabric.all_reduce(values, reduce_op="sum")  # type: ignore[assignment]
    result: list[float] = values.tolist()
    return result


def _default_workers(fabric: Fabric) -> int:
    """None beside a training on the CPU, which keeps every core busy; several beside a GPU."""
    if fabric.device.type == "cpu":
        return 0
    return min(8, max(1, (os.cpu_count() or 1) // fabric.world_size))
