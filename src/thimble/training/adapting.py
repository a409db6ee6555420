"""Choose the settings that follow from the training images, and check a run's length against them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch

from thimble.data.augment.mirroring import choose_flip
from thimble.data.dataset import ImageDataset
from thimble.data.source import Source
from thimble.errors import UserError
from thimble.training.tricks.hard_images import num_kept

from .config import TrainConfig

_VIEWS_OF_FEW, _FEW, _GROWTH = 250_000, 3_000, 0.65
_BATCH, _RATE = 64, 0.3
"""The batch size for a few thousand images, and its peak learning rate."""
_IMBALANCE = 1.5
_FEW_PER_CLASS, _DROPOUT = 200, 0.5
_MANY, _BATCH_OF_MANY, _EASY = 20_000, 128, 0.3


def adapted(config: TrainConfig, source: Source, data: ImageDataset, say: Callable[[str], None]) -> TrainConfig:
    """Replace every setting that is to be chosen from the data; say what was chosen, and why.

    A resumed run has no such settings any more: its config.json has what was chosen.

    Args:
        config: the settings. 0 epochs, a batch size of 0, and the values None and auto of other settings
            are replaced.
        source: where the images come from.
        data: the training images.
        say: is called with a sentence for each choice.
    """
    changes: dict[str, Any] = {}
    schedule, num_images = config.schedule, len(data)
    if config.network.dropout is None:
        per_class = num_images / len(data.classes)
        changes["dropout"] = choose_dropout(per_class)
        say(f"dropout: {changes['dropout']:g}, as there are {per_class:,.0f} training images per class")
    if config.hard_images.skip_easy is None:
        changes["skip_easy"] = choose_skip_easy(num_images)
        if changes["skip_easy"]:
            say(f"easy images: {_EASY:.0%} are skipped after the first quarter, as there are at least {_MANY:,}")
    if schedule.batch_size == 0:
        changes["batch_size"] = choose_batch_size(num_images)
    if config.optimization.learning_rate is None:
        size = changes.get("batch_size", schedule.batch_size)
        changes["learning_rate"] = rate = choose_learning_rate(size)
        say(f"learning rate: {rate:g}, for batches of {size}")
    if schedule.epochs == 0:
        changes["epochs"] = choose_epochs(num_images)
    if config.weighting.class_weights == "auto":
        counts = torch.bincount(data.labels.cpu(), minlength=len(data.classes))
        ratio = int(counts.max()) / max(1, int(counts[counts > 0].min()))
        changes["class_weights"] = "sqrt" if ratio > _IMBALANCE else "none"
        say(f"class weights: {changes['class_weights']}, as the largest class is {ratio:.3g} times the smallest")
    if config.augment.flip == "auto":
        flip, reason = choose_flip(data)
        changes["flip"] = flip
        say(f"mirrored images: {flip}, as {reason}")
    if changes:
        config = config.changed(**changes)
        epochs, size = config.schedule.epochs, config.schedule.batch_size
        say(f"length: {epochs:,} {'epoch' if epochs == 1 else 'epochs'} of {num_images:,} images in batches of {size}")
    fitting = source.fitting
    if fitting is not None:  # a resumed run fits its images alike, whatever was added to them
        config = config.changed(
            images=dataclasses.replace(
                config.images, image_size=fitting.size[0], fit=fitting.fit, channels=fitting.channels
            )
        )
    return config


def choose_dropout(images_per_class: float) -> float:
    """The dropout before the head: a half where a class has fewer than 200 training images on average, else none."""
    return _DROPOUT if images_per_class < _FEW_PER_CLASS else 0.0


def choose_batch_size(num_images: int) -> int:
    """The batch size for a number of training images: 64, fewer if there are few, more if there are many."""
    if num_images >= _MANY:
        return _BATCH_OF_MANY
    return max(2, min(_BATCH, 1 << int(math.log2(max(2, num_images / 4)))))


def choose_skip_easy(num_images: int) -> float:
    """The fraction of easy images to skip: three tenths of many images, which saves a quarter of the time; else none.

    On fashion-mnist it costs nothing that shows (docs/log.md). Few images are needed, all of them.
    """
    return _EASY if num_images >= _MANY else 0.0


def choose_learning_rate(batch_size: int) -> float:
    """SGD's peak learning rate for a batch size: in proportion to it below 64, the same above.

    With batches of 16 at the rate for 64, trainings of 70 to 107 images diverged (docs/log.md). P. Goyal et al.,
    "Accurate, Large Minibatch SGD" (2017, arXiv:1706.02677). Muon's rate stays: the length of its steps does not depend
    on the gradient's.
    """
    return _RATE * min(1.0, batch_size / _BATCH)


def choose_epochs(num_images: int) -> int:
    """The number of epochs for a number of training images.

    Few images are seen often, many images rarely: 250,000 views of up to 3,000 images; of ten times as many images,
    4.5 times as many views.
    """
    views: float = _VIEWS_OF_FEW * max(1.0, num_images / _FEW) ** _GROWTH
    return max(2, min(400, round(views / num_images)))


def check_length(config: TrainConfig, num_images: int, num_processes: int) -> None:
    """Check that the shortest epoch has a batch, and that the processes can share one.

    Raises:
        UserError: they cannot.
    """
    epochs, batch_size = config.schedule.epochs, config.schedule.batch_size
    fewest = num_kept(epochs, epochs, num_images, config.hard_images.skip_easy)
    if fewest < batch_size:
        raise UserError(f"--batch-size {batch_size}: expected at most {fewest}, the images in the shortest epoch")
    if batch_size % num_processes or batch_size < 2 * num_processes:
        raise UserError(
            f"--batch-size {batch_size}: expected a multiple of {num_processes}, the number of processes, with at least"
            " 2 images for each"
        )
