"""config.json: a run's settings on disk, and what a resumed run may change of them.

The file is flat, whatever the groups of ``TrainConfig``: a setting stands under its own name, and only those of the
augmentation in an object. A setting can so move to another group, and readers of weights, whose metadata have the same
under ``recipe``, need not know the groups.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from thimble.data.augment.settings import AugmentConfig
from thimble.data.source import Source
from thimble.errors import UserError
from thimble.storage.run_folder import DATA_FILE, has_state
from thimble.storage.state import STATE_FILE, STATE_FOLDER
from thimble.storage.weights import WEIGHTS_FILE
from thimble.system.arguments import described, is_whole
from thimble.system.json_text import read_object
from thimble.system.settings import before
from thimble.training.tricks.distillation import PLACES

from .config import TrainConfig, groups_by_name
from .settings import RunConfig

VERSION = 1
"""Of config.json. It grows when a setting is to be read differently than before, not when one is added: what an added
one means in files that lack it, it says itself, see ``system.settings.later``. A file without a version is of 0, from
before files had one, and is read alike."""


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """The settings by name, as JSON can hold them: folders as strings, tuples as lists."""
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(config).items():
        flat |= value if name in groups_by_name() and name != "augment" else {name: value}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    result: dict[str, Any] = plain(flat)
    return result


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """The inverse of ``to_dict``, also of what an earlier Thimble wrote.

    Raises:
        UserError: a setting is missing that there always was, or is unknown, of another type or out of its range.
    """
    augment = values.get("augment")
    if not isinstance(augment, dict):
        raise UserError("not the configuration of a Thimble run: it lacks augment, or has it as no object")
    flat = [TrainConfig, *(group for name, group in groups_by_name().items() if name != "augment")]
    settings = _completed({name: value for name, value in values.items() if name != "augment"}, *flat)
    return TrainConfig.of(**settings, augment=AugmentConfig(**_completed(augment, AugmentConfig)))


def _completed(found: dict[str, Any], *groups: Any) -> dict[str, Any]:
    """What was found, with each setting that it lacks as things were before there was such a setting.

    A default must not stand in for what the run was made with: a setting without a ``before`` was always written.
    """
    names = {each.name for group in groups for each in dataclasses.fields(group)} - groups_by_name().keys()
    completed = {name: value for group in groups for name, value in before(group).items()} | found
    for what, difference in (("lacks", names - completed.keys()), ("has an unknown", completed.keys() - names)):
        if difference:
            listed = ", ".join(sorted(difference))[:200]
            raise UserError(f"not the configuration of a Thimble run: it {what} {listed}")
    return completed


def to_file(config: TrainConfig) -> dict[str, Any]:
    """What config.json holds: the settings, and the version of the file."""
    return {"version": VERSION, **to_dict(config)}


def read_config(run: Path) -> TrainConfig:
    """The configuration that a run began with.

    Raises:
        UserError: there is no such run, or its configuration is damaged, or a later Thimble's.
    """
    path = run / "config.json"
    if not os.path.lexists(path):
        raise UserError(f"{run} holds no config.json: expected the folder of a run, such as runs/NAME")
    try:
        values = read_object(path)
        _check_version(values.pop("version", 0))
        return from_dict(values)
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


def _check_version(version: Any) -> None:
    if not is_whole(version) or version < 0:
        raise UserError(f"version {described(version)}: expected a whole number, at most {VERSION}")
    if version > VERSION:
        raise UserError(
            f"version {described(version)}, which a later Thimble wrote: expected at most {VERSION}; update Thimble to"
            " go on with this run"
        )


def check_same_data(run: Path, config: TrainConfig, source: Source) -> None:
    """Refuse to resume a run with other images than it began with, or to download where only its settings say.

    Raises:
        UserError: the images are not those that the run recorded; or they are not where they were, and no other place
            is named: the folder that a run's settings name may be somebody else's.
    """
    folder = config.run.data_dir
    if folder is not None and not source.is_here() and folder == read_config(run).run.data_dir:
        raise UserError(
            f"{folder}, where {run} has its data from, holds no {source.title} any more: put it back, or name another"
            " folder with --data-dir"
        )
    recorded = read_object(run / DATA_FILE) if os.path.lexists(run / DATA_FILE) else {}  # older runs lack it
    if recorded.get("sha256") != source.record().get("sha256") and recorded:
        raise UserError(f"{run} began with other images called {source.name}: resume it with the same ones")


def check_resumable(run: Path, config: TrainConfig) -> None:
    """Refuse to resume a run that is finished, or under settings that would change its result.

    Raises:
        UserError: naming the setting, what the run began with and what was asked.
    """
    began, asked = to_dict(read_config(run)), to_dict(config)
    # RunConfig is the list of what is not part of the recipe.
    changeable = {field.name for field in dataclasses.fields(RunConfig)} | PLACES
    for name in sorted(began.keys() - changeable):
        if began[name] != asked[name]:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{run} began with {flag} {began[name]}, not {asked[name]}: a run keeps its recipe")
    if (run / WEIGHTS_FILE).is_file():
        raise UserError(f"{run} is finished: its model is {run / WEIGHTS_FILE}; start a new run to train on")
    if not has_state(run) and (run / "metrics.csv").is_file():
        raise UserError(
            f"{run} has lost its {STATE_FOLDER}/{STATE_FILE}, from which it would go on: expected it beside its"
            " metrics.csv; begin another run"
        )
