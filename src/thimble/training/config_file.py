"""config.json: a run's settings on disk, and what a resumed run may change of them."""

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
from thimble.system.json_text import read_object

from .config import TrainConfig

# What may differ between a run and its resumption: none of it changes the result, but for the rounding of another
# device or of compiled arithmetic. (The place of teacher or bank may: that it is the same file, its checksum says.)
RESUMABLE = frozenset(
    {"data_dir", "device", "compile", "workers", "runs", "name", "overwrite", "fallback", "teacher", "bank"}
)
_LATER = {"bank"}
"""Settings that the first runs did not know yet. What they lack is off."""


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """The configuration as JSON can hold it: folders as strings, tuples as lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    result: dict[str, Any] = plain(dataclasses.asdict(config))
    return result


def from_dict(values: dict[str, Any]) -> TrainConfig:
    """The inverse of ``to_dict``.

    Raises:
        UserError: a field is missing, unknown, of another type or out of its range.
    """
    augment = values.get("augment")
    if not isinstance(augment, dict):
        raise UserError("not the configuration of a Thimble run: it lacks augment, or has it as no object")
    # A default must not stand in for what the run was made with.
    for settings, found in ((TrainConfig, values), (AugmentConfig, augment)):
        names = {each.name for each in dataclasses.fields(settings)}
        for what, difference in (("lacks", names - found.keys() - _LATER), ("has an unknown", found.keys() - names)):
            if difference:
                listed = ", ".join(sorted(difference))[:200]
                raise UserError(f"not the configuration of a Thimble run: it {what} {listed}")
    return TrainConfig(**{**values, "augment": AugmentConfig(**augment)})


def read_config(run: Path) -> TrainConfig:
    """The configuration that a run began with.

    Raises:
        UserError: there is no such run, or its configuration is damaged.
    """
    path = run / "config.json"
    if not os.path.lexists(path):
        raise UserError(f"{run} holds no config.json: expected the folder of a run, such as runs/NAME")
    try:
        return from_dict(read_object(path))
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


def check_same_data(run: Path, config: TrainConfig, source: Source) -> None:
    """Refuse to resume a run with other images than it began with, or to download where only its settings say.

    Raises:
        UserError: the images are not those that the run recorded; or they are not where they were, and no other place
            is named: the folder that a run's settings name may be somebody else's.
    """
    folder = config.data_dir
    if folder is not None and not source.is_here() and folder == read_config(run).data_dir:
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
    for name in sorted(set(began) - RESUMABLE):
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
