"""Split off validation or test images, the same ones in every run."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from thimble.errors import UserError

from .dataset import ImageDataset
from .rows import rows_of, unread

# Fixed, not the run's seed, so that runs with different seeds are validated on the same images.
_SPLIT_SEED = 20_090_408
_TEST_SHARE = 0.15


def hold_out(dataset: ImageDataset) -> tuple[ImageDataset, ImageDataset]:
    """Split images into training images and 15% test images: always the same ones, each class in proportion.

    Raises:
        UserError: there are fewer than two images.
    """
    if len(dataset) < 2:
        raise UserError(f"{dataset.name} has {len(dataset)} images: expected at least two, to train and to test with")
    rest, test = split(dataset, max(1, round(_TEST_SHARE * len(dataset))))
    assert test is not None
    return dataclasses.replace(rest, numbers=None), dataclasses.replace(test, numbers=None)


def joined(first: ImageDataset, second: ImageDataset) -> ImageDataset:
    """Put two parts of one dataset together, the first before the second; images on disk stay there."""
    labels = torch.cat([first.labels, second.labels])
    one, other = unread(first.images), unread(second.images)
    if one is not None and other is not None and one.base is other.base:
        images = rows_of(one.base, torch.cat([one.rows, other.rows]))
    else:
        images = torch.cat([first.images, second.images])
    return dataclasses.replace(first, images=images, labels=labels, numbers=None)


def split(dataset: ImageDataset, validation: int) -> tuple[ImageDataset, ImageDataset | None]:
    """Set images aside for validation: the same ones in every run, each class in proportion.

    A smaller validation set is part of a larger one if all classes have the same size and both numbers are multiples of
    the number of classes. In both parts the images keep their order.

    Args:
        dataset: the images to split.
        validation: the number of images to set aside, or 0.

    Returns:
        the training images and the validation images; None for the latter if ``validation`` is 0.

    Raises:
        UserError: ``validation`` is negative, or leaves nothing to train on.
    """
    if validation == 0:
        return dataset, None
    if not 0 < validation < len(dataset):
        raise UserError(
            f"--validation {validation}: expected 0 to {len(dataset) - 1}, as {dataset.name} has {len(dataset):,} "
            "images and at least one is needed to train on"
        )
    labels = dataset.labels.cpu().numpy()
    sizes = np.bincount(labels)
    exact = sizes * validation / len(labels)
    quotas = np.floor(exact).astype(np.int64)
    # The images that rounding down left over go to the classes with the largest remainders, earlier classes first.
    quotas[np.argsort(quotas - exact, kind="stable")[: validation - quotas.sum()]] += 1
    # NumPy's policy (NEP 19) freezes the stream of RandomState; the streams of default_rng and torch may change.
    random = np.random.RandomState(_SPLIT_SEED)
    chosen = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(quotas):
        chosen[random.permutation(np.flatnonzero(labels == label))[:quota]] = True
    mask = torch.from_numpy(chosen)
    return dataset.subset(~mask), dataset.subset(mask)
