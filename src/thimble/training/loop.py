"""Run the training loop: every epoch and every step."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thimble.data.augment.augmenter import build_augmenter
from thimble.data.dataset import normalize
from thimble.errors import Interrupted, RunError
from thimble.measuring.inference import infer
from thimble.system.seeds import derive_seed
from thimble.training.tricks.distillation import divergence
from thimble.training.tricks.hard_images import num_kept
from thimble.training.tricks.mixing import main_labels, mix, mix_probability

from .batches import AtSize, EpochBatches, resize
from .config import TrainConfig
from .schedules import image_size
from .session import Session
from .signals import StopRequest

if TYPE_CHECKING:
    from lightning_fabric import Fabric


_DIVERGED = 1_000.0
"""A training loss that no training comes back from to a good network; at the start it is about log(classes)."""

_MIXING = 1
"""The last part of mixing's seeds. It keeps them different from augmentation's seeds, which lack this part."""


def train_epochs(session: Session, stop: StopRequest) -> None:
    """Train until the last epoch is done.

    Raises:
        RunError: the loss is not finite, or the state cannot be saved.
        Interrupted: ``stop`` was requested; the state is saved.
    """
    config, fabric, progress, observer = session.config, session.fabric, session.progress, session.observer
    schedule = config.schedule
    augmenter = None if session.bank else build_augmenter(config.augment, session.data.mean)
    workers = config.run.workers if config.run.workers is not None else _default_workers(config, fabric)
    on_gpu = fabric.device.type == "cuda"
    observer.start(session.run, config, progress)
    while progress.epoch < schedule.epochs:
        count = num_kept(progress.epoch, schedule.epochs, len(session.data), config.hard_images.skip_easy)
        batches = EpochBatches(
            session.data,
            augmenter,
            batch_size=schedule.batch_size,
            seed=config.seed,
            epoch=progress.epoch,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
            pool=session.hardness.hardest(count) if count < len(session.data) else None,
            alternating=config.augment.flip == "alternating",
        )
        progress.num_batches = len(batches)
        session.module.train()
        totals = torch.zeros(3, device=fabric.device)  # loss, correct predictions, requests to stop
        started = time.perf_counter()
        for images, labels in batches.loader(progress.batch, workers, pin_memory=on_gpu and workers > 0):
            learning_rate = session.set_learning_rate(progress.step)
            totals[:2] += _step(session, images, labels, batches.indices(progress.batch))
            progress.advance(schedule.batch_size)
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
        # The learning rate comes from the step, not from the loop: a run resumed after an epoch's last step skips it.
        row = progress.end_epoch(_validate(session), session.set_learning_rate(progress.step - 1))
        _check_loss(row["train_loss"], progress.epoch)
        session.save()
        if session.curves:
            session.curves.add(row)
        observer.epoch(row)
        if session.summed(torch.tensor([float(bool(stop))], device=fabric.device))[0]:  # during validation
            raise Interrupted(f"interrupted after epoch {progress.epoch}: thimble train --resume {session.run}")


def _check_loss(loss: float, epoch: int) -> None:
    """Stop a training that has diverged: it would go on for hours, and its last loss may even look healthy again."""
    if loss > _DIVERGED:
        raise RunError(
            f"the training loss rose to {loss:,.4g} in epoch {epoch}, expected at most {_DIVERGED:,g}: the training has"
            " diverged; try a lower --learning-rate, or --clip-norm 1"
        )


def _step(session: Session, images: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
    """Take one step; return this process's loss, summed over its images, and its number of correct predictions."""
    config = session.config
    schedule, optimization, distillation = config.schedule, config.optimization, config.distillation
    views, targets, answers = _lesson(session, images, labels, indices)
    own = session.model.input_size[1:]
    inputs = resize(views, image_size(session.progress.epoch, schedule.epochs, schedule.image_sizes, own))
    logits = session.module(inputs)
    loss = F.cross_entropy(logits, targets, session.class_weights, label_smoothing=optimization.label_smoothing)
    if answers is not None:
        loss = torch.lerp(loss, divergence(logits, answers, distillation.temperature), distillation.teacher_weight)
    if config.hard_images.skip_easy:
        session.hardness.record(indices, F.cross_entropy(logits.detach().float(), targets, reduction="none"))
    session.model.zero_grad()
    session.fabric.backward(loss)
    if optimization.clip_norm is not None:
        # Infinite gradients raise nothing here: the next step's loss is not finite, and our own message reports it.
        nn.utils.clip_grad_norm_(session.model.parameters(), optimization.clip_norm)
    for optimizer in session.optimizers:
        optimizer.step()
    session.average.update(session.model, session.progress.step)
    return torch.stack([loss.detach() * len(targets), (logits.detach().argmax(1) == main_labels(targets)).sum()])


def _lesson(session: Session, images: Tensor, labels: Tensor, indices: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return a step's network inputs at full size, its targets, and the teacher's logits if the run has a teacher."""
    config, data, device = session.config, session.data, session.fabric.device
    epoch, batch = session.progress.epoch, session.progress.batch
    epochs, mixing = config.schedule.epochs, config.mixing
    if session.bank is not None:
        return session.bank.batch(indices, epoch, plain=epoch >= round(mixing.mix_ramp[1] * epochs))
    views, targets = mix(
        normalize(images.to(device, non_blocking=True), data.mean, data.std),
        labels.to(device, non_blocking=True),
        len(data.classes),
        probability=mix_probability(epoch, epochs, mixing.mix_probability, mixing.mix_ramp),
        alpha=mixing.mix_alpha,
        seed=derive_seed(config.seed, epoch, batch, session.fabric.global_rank, _MIXING),
    )
    if session.teacher is None:
        return views, targets, None
    with session.fabric.autocast():  # at full size, at which the teacher is most accurate
        return views, targets, session.teacher.logits(views)


def _validate(session: Session) -> tuple[float, float] | None:
    """Loss and accuracy of the averaged weights on the validation images, at this epoch's size; None if there are none.

    A network that has only seen small images takes large ones for something else: at full size, it would seem to fail
    until the last epochs.
    """
    if session.validation is None:
        return None
    model, labels, schedule = session.average.model, session.validation.labels, session.config.schedule
    size = image_size(session.progress.epoch, schedule.epochs, schedule.image_sizes, model.input_size[1:])
    logits = infer(AtSize(model, size), session.validation.images, mean=model.mean, std=model.std)
    loss = F.cross_entropy(logits, labels, label_smoothing=session.config.optimization.label_smoothing)
    return loss.item(), (logits.argmax(1) == labels).double().mean().item()


def _default_workers(config: TrainConfig, fabric: Fabric) -> int:
    """No workers if training keeps every CPU core busy, or if images are augmented in batches on the device."""
    if fabric.device.type == "cpu" or config.augment.augmenter == "batched":
        return 0
    return min(8, max(1, (os.cpu_count() or 1) // fabric.world_size))
