"""Build the augmenter that the settings name."""

from __future__ import annotations

from .batched import BatchAugmenter
from .one_by_one import Augmenter
from .settings import AugmentConfig


def build_augmenter(config: AugmentConfig, mean: tuple[float, ...]) -> Augmenter | BatchAugmenter:
    """Build the augmenter that the configuration names; ``mean`` is the training set's, per channel in 0..1."""
    return BatchAugmenter(config, mean) if config.augmenter == "batched" else Augmenter(config, mean)
