"""Training: from a configuration to a run folder with a trained, tested and saved model.

``_train_epochs`` is the loop and ``_step`` what happens in it. What surrounds them makes a ``Session`` to train in and
finishes the run: the last averaged weights are tested, once, and saved.
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
from .arguments import take
from .augment import build_augmenter
from .bank import Bank, load_bank
from .batches import EpochBatches, image_size, num_kept, resize
from .checkpoint import WEIGHTS_FILE, save_weights
from .claim import Claim
from .config import Interrupted, RunError, TrainConfig, UserError
from .data import DataUnavailable, ImageDataset, load_dataset, normalize, split
from .distillation import Teacher, divergence
from .evaluation import Evaluation, evaluate, infer
from .mixing import main_labels, mix, mix_probability
from .models import Classifier, list_models
from .progress import Observer, Row
from .recipes import DEFAULT_RECIPE, find_recipe
from .runtime import StopRequest, derive_seed, has_bfloat16, launched, start_fabric, stop_on_signal
from .session import Session, begin, compiling

if TYPE_CHECKING:
    from lightning_fabric import Fabric


_MIXING = 1
"""Sets the seeds of mixing apart from those of augmentation, which have one part less."""


@dataclass(frozen=True)
class TrainResult:
    """A finished run: its folder, its averaged model in eval mode, its history and its one look at the test set."""

    run: Path
    model: Classifier
    history: list[Row]
    test: Evaluation


def train(
    config: TrainConfig | None = None,
    *,
    recipe: str | None = None,
    resume: str | Path | None = None,
    observer: Observer | None = None,
    **changes: Any,
) -> TrainResult:
    """Train a model, test it once, and leave everything in a run folder.

    Args:
        config: the settings; by default those of a recipe, or of the run to resume.
        recipe: one of ``recipes.RECIPES``, instead of a configuration.
        resume: a run folder to go on with instead of beginning a new one. On the CPU, with as many threads, the result
            is that of an uninterrupted run, to the last bit.
        observer: told how it goes.
        changes: fields of the configuration that differ, e.g. ``thimble.train(data="shapes10", epochs=2)``.

    Raises:
        UserError: settings, data or folder are not as they should be, or the folder is being trained in.
        RunError: the loss is not finite any more, the disk is full, or the folder was moved or deleted.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; ``resume`` goes on from there.
    """
    config = take("config", config, TrainConfig | None, "a TrainConfig")
    recipe = take("recipe", recipe, str | None, "the name of a recipe")
    run: Path | None = take("resume", resume, Path | None, "the folder of a run")
    observer = take("observer", observer, Observer | None, "an Observer")
    unknown = sorted(set(changes) - {field.name for field in dataclasses.fields(TrainConfig)})
    if unknown:
        raise UserError(f"unknown setting {unknown[0]}: expected fields of TrainConfig, such as epochs")
    if recipe is not None and (config is not None or resume is not None):
        raise UserError(f"recipe {recipe!r} beside a configuration or a run to resume: expected one of them")
    if config is None:
        config = find_recipe(recipe or DEFAULT_RECIPE) if run is None else run_folder.read_config(run)
    config = dataclasses.replace(config, **changes)
    if config.precision == "auto":  # the run keeps what it began with, wherever it is resumed
        config = dataclasses.replace(config, precision="bf16" if has_bfloat16(config.device) else "float32")
    observer = observer or Observer()
    if config.model not in list_models():
        raise UserError(f"--model {config.model}: expected one of {', '.join(list_models())}")
    run_folder.check_place(run or config.runs / (config.name or ""))
    if run is not None:
        config = dataclasses.replace(config, fallback=False)  # a run does not change its data on the way
    launch = launched()
    with Claim(config, run, first=launch.rank == 0) as claim:
        if run is not None:
            run_folder.check_data_dir(run, config)
        teacher = None if config.teacher is None else Teacher(config.teacher)  # a wrong name waits for no download
        bank = None if config.bank is None else load_bank(config.bank)
        if bank is not None:  # whatever the run says of its augmentation is true
            config = dataclasses.replace(config, augment=bank.views.augment, mix_probability=bank.views.mixed_share)
        fabric = start_fabric(config.device, config.precision, launch)
        config, data, validation = _load_data(config, bank, fabric, observer)
        return _trained(begin(config, claim, fabric, data, validation, teacher, bank, observer))


def _trained(session: Session) -> TrainResult:
    """Train to the end, test and save; or say how to go on."""
    try:
        # The loop alone: a download stops at once, and a test can be done again.
        with stop_on_signal() as stop, compiling(session.config.compile):
            _train_epochs(session, stop)
        return _finish(session)
    except KeyboardInterrupt:  # impatient, or during the test
        raise Interrupted(f"interrupted: thimble train --resume {session.run} goes on from its last state") from None
    finally:
        if session.curves:
            session.curves.close()


def _train_epochs(session: Session, stop: StopRequest) -> None:
    """The loop: every epoch, every step."""
    config, fabric, progress, observer = session.config, session.fabric, session.progress, session.observer
    augmenter = None if session.bank else build_augmenter(config.augment, session.data.mean)
    workers = config.workers if config.workers is not None else _default_workers(config, fabric)
    on_gpu = fabric.device.type == "cuda"
    observer.start(session.run, config, progress)
    while progress.epoch < config.epochs:
        count = num_kept(progress.epoch, config.epochs, len(session.data), config.skip_easy)
        batches = EpochBatches(
            session.data,
            augmenter,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=progress.epoch,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
            pool=session.hardness.hardest(count) if count < len(session.data) else None,
        )
        progress.num_batches = len(batches)
        session.module.train()
        totals = torch.zeros(3, device=fabric.device)  # of loss, correct answers and requests to stop
        started = time.perf_counter()
        for images, labels in batches.loader(progress.batch, workers, pin_memory=on_gpu and workers > 0):
            learning_rate = session.set_learning_rate(progress.step)
            totals[:2] += _step(session, images, labels, batches.indices(progress.batch))
            progress.advance(config.batch_size)
            if not session.reads_every_step and progress.batch < len(batches):
                continue
            totals[2] = float(bool(stop))
            loss_sum, correct, stopping = session.summed(totals)
            if not math.isfinite(loss_sum):
                raise RunError(
                    f"the loss is not finite at step {progress.step} of {progress.num_steps}, at learning rate"
                    f" {learning_rate:.4g}: try a lower --learning-rate, or --clip-norm 1"
                )
            started, elapsed = time.perf_counter(), time.perf_counter() - started
            progress.add(loss_sum, int(correct), elapsed)
            totals.zero_()
            observer.step(progress)
            if stopping:
                session.agree()
                session.save()
                raise Interrupted(f"interrupted after step {progress.step}: thimble train --resume {session.run}")
        session.agree()
        session.hardness.end_epoch()
        # By the step, not by the loop's variable: a run that resumes after an epoch's last step has no loop to enter.
        row = progress.end_epoch(_validate(session), session.set_learning_rate(progress.step - 1))
        session.save()
        if session.curves:
            session.curves.add(row)
        observer.epoch(row)
        if session.summed(torch.tensor([float(bool(stop))], device=fabric.device))[0]:  # during validation
            raise Interrupted(f"interrupted after epoch {progress.epoch}: thimble train --resume {session.run}")


def _step(session: Session, images: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
    """One step of the optimizers: returns the loss times the images, and the correct answers, of this process."""
    config = session.config
    views, targets, answers = _lesson(session, images, labels, indices)
    inputs = resize(views, image_size(session.progress.epoch, config.epochs, config.image_sizes))
    logits = session.module(inputs)
    loss = F.cross_entropy(logits, targets, label_smoothing=config.label_smoothing)
    if answers is not None:
        loss = torch.lerp(loss, divergence(logits, answers, config.temperature), config.teacher_weight)
    if config.skip_easy > 0:
        session.hardness.record(indices, F.cross_entropy(logits.detach().float(), targets, reduction="none"))
    session.model.zero_grad()
    session.fabric.backward(loss)
    if config.clip_norm is not None:
        # Infinite gradients are let through: the loss tells of them in the next step, with our own message.
        nn.utils.clip_grad_norm_(session.model.parameters(), config.clip_norm)
    for optimizer in session.optimizers:
        optimizer.step()
    session.average.update(session.model, session.progress.step)
    return torch.stack([loss.detach() * len(targets), (logits.detach().argmax(1) == main_labels(targets)).sum()])


def _lesson(session: Session, images: Tensor, labels: Tensor, indices: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Images as the network takes them, at full size; what their labels say of them; and a teacher, if there is one."""
    config, data, device = session.config, session.data, session.fabric.device
    epoch, batch = session.progress.epoch, session.progress.batch
    if session.bank is not None:
        return session.bank.batch(indices, epoch, plain=epoch >= round(config.mix_ramp[1] * config.epochs))
    views, targets = mix(
        normalize(images.to(device, non_blocking=True), data.mean, data.std),
        labels.to(device, non_blocking=True),
        len(data.classes),
        probability=mix_probability(epoch, config.epochs, config.mix_probability, config.mix_ramp),
        alpha=config.mix_alpha,
        seed=derive_seed(config.seed, epoch, batch, session.fabric.global_rank, _MIXING),
    )
    if session.teacher is None:
        return views, targets, None
    with session.fabric.autocast():  # at full size, where its answers are best
        return views, targets, session.teacher.logits(views)


def _load_data(
    config: TrainConfig, bank: Bank | None, fabric: Fabric, observer: Observer
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
    if bank is not None:
        bank.check(whole)
    data, validation = split(whole, config.validation)
    if config.train_images is not None:
        if config.train_images > len(data):
            raise UserError(f"--train-images {config.train_images}: expected at most {len(data)}")
        data = data.subset(torch.arange(config.train_images))
    fewest = num_kept(config.epochs, config.epochs, len(data), config.skip_easy)
    if fewest < config.batch_size:
        raise UserError(f"--batch-size {config.batch_size}: expected at most the {fewest} images of an epoch")
    if config.batch_size % fabric.world_size or config.batch_size < 2 * fabric.world_size:
        raise UserError(f"--batch-size {config.batch_size}: expected a multiple of the {fabric.world_size} processes")
    return config, data, validation


def _validate(session: Session) -> tuple[float, float] | None:
    """Loss and accuracy of the averaged weights on the validation images; None without any."""
    if session.validation is None:
        return None
    model, labels = session.average.model, session.validation.labels
    logits = infer(model, session.validation.images, mean=model.mean, std=model.std)
    loss = F.cross_entropy(logits, labels, label_smoothing=session.config.label_smoothing)
    return loss.item(), (logits.argmax(1) == labels).double().mean().item()


def _finish(session: Session) -> TrainResult:
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
        session.claim.check()
        run_folder.write_logs(run, config, history, closing)
        metadata = {
            "recipe": run_folder.to_dict(config),
            "data": {"name": config.data, "train_images": len(session.data), "validation_images": config.validation},
            "metrics": {"last_epoch": history[-1], "test": test.to_dict()},
            "teacher_sha256": session.progress.teacher or None,
            "bank_sha256": session.progress.bank or None,
        }
        save_weights(run / WEIGHTS_FILE, model, metadata)
    session.fabric.barrier()
    return TrainResult(run, model.cpu(), history, test)


def _default_workers(config: TrainConfig, fabric: Fabric) -> int:
    """None beside a training on the CPU, which keeps every core busy, or without images to do one by one."""
    if fabric.device.type == "cpu" or config.augment.augmenter == "batched":
        return 0
    return min(8, max(1, (os.cpu_count() or 1) // fabric.world_size))
