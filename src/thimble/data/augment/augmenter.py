"""The augmenter that the settings name."""

from __future__ import annotations

from .batched import BatchAugmenter
from .one_by_one import Augmenter
from .settings import AugmentConfig


def build_augmenter(config: AugmentConfig, mean: tuple[float, float, float]) -> Augmenter | BatchAugmenter:
    """The augmenter that the configuration names."""
    return BatchAugmenter(config, mean) if config.augmenter == "batched" else Augmenter(config, mean)
