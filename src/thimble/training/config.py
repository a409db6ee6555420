"""Define TrainConfig: every setting of a training run, in groups; each group is defined in its component's module.

The settings become the command line's flags (tyro turns their docstrings into the help) and a run's ``config.json``
(see ``config_file``). The functions in ``recipes`` fill them in. To set a setting, use its flag's name without its
group: ``TrainConfig.of(epochs=2)``, ``config.changed(epochs=3)``. To read it, name the group too:
``config.schedule.epochs``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from thimble.data.augment.settings import AugmentConfig
from thimble.data.own.settings import ImagesConfig
from thimble.data.settings import DataConfig
from thimble.errors import UserError
from thimble.system.settings import adopt, require_types, require_whole
from thimble.training.tricks.averaging import AveragingConfig
from thimble.training.tricks.class_weights import ClassWeightsConfig
from thimble.training.tricks.distillation import DistillationConfig
from thimble.training.tricks.hard_images import HardImagesConfig
from thimble.training.tricks.mixing import MixingConfig

from .optimizers import OptimizerConfig
from .schedules import ScheduleConfig
from .settings import ModelConfig, RunConfig


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run. The defaults are the recipe ``reference``; ``recipes.RECIPES`` has all recipes.

    No group has a setting's name, so that every name is unambiguous.
    """

    network: ModelConfig = field(default_factory=ModelConfig)
    dataset: DataConfig = field(default_factory=DataConfig)
    images: ImagesConfig = field(default_factory=ImagesConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    optimization: OptimizerConfig = field(default_factory=OptimizerConfig)
    weighting: ClassWeightsConfig = field(default_factory=ClassWeightsConfig)
    hard_images: HardImagesConfig = field(default_factory=HardImagesConfig)
    mixing: MixingConfig = field(default_factory=MixingConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    averaging: AveragingConfig = field(default_factory=AveragingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    run: RunConfig = field(default_factory=RunConfig)

    seed: int = 0
    """Seed of the initial weights, the order of the images, the augmentation and dropout."""

    def __post_init__(self) -> None:
        adopt(self)
        require_whole(self, "seed", 0, 2**63 - 1)
        require_types(self)

    @classmethod
    def of(cls, **settings: Any) -> TrainConfig:
        """The defaults, ``changed`` as given: ``TrainConfig.of(epochs=2, model="thimble-78k")``."""
        return cls().changed(**settings)

    def changed(self, **settings: Any) -> TrainConfig:
        """Return a copy with some settings changed: ``config.changed(epochs=3, learning_rate=0.1)``.

        Args:
            settings: new values, by flag name (``mix_ramp`` for ``--mix-ramp``); or whole groups, by group name, such
                as ``augment``.

        Raises:
            UserError: a setting does not exist, or a value has the wrong type or is out of range.
        """
        homes, whole = settings_by_name(), {each.name for each in dataclasses.fields(self)}
        unknown = sorted(settings.keys() - homes.keys() - whole)
        if unknown:
            raise UserError(f"unknown setting {unknown[0]}: expected fields of TrainConfig, such as epochs")
        groups = {name: value for name, value in settings.items() if name in whole}
        inner: dict[str, dict[str, Any]] = {}
        for name in settings.keys() - whole:
            inner.setdefault(homes[name], {})[name] = settings[name]
        for group, changes in inner.items():
            base = groups.get(group, getattr(self, group))
            if isinstance(base, groups_by_name()[group]):  # otherwise dataclasses.replace below refuses it
                groups[group] = dataclasses.replace(base, **changes)
        return dataclasses.replace(self, **groups)


@functools.cache
def groups_by_name() -> Mapping[str, Any]:
    """The class of each group of ``TrainConfig``, by field name."""
    return {name: hint for name, hint in get_type_hints(TrainConfig).items() if dataclasses.is_dataclass(hint)}


@functools.cache
def settings_by_name() -> Mapping[str, str]:
    """The group of each setting that belongs to one: ``{"epochs": "schedule", ...}``."""
    return {each.name: name for name, group in groups_by_name().items() for each in dataclasses.fields(group)}


def headline(config: TrainConfig) -> str:
    """A run's most important settings, in one line."""
    return (
        f"{config.network.model} on {config.dataset.data}, {config.schedule.epochs} epochs at batch size"
        f" {config.schedule.batch_size}, peak learning rate {config.optimization.learning_rate}, seed {config.seed},"
        f" {config.network.precision}"
    )
