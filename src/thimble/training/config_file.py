"""Read and write config.json, a run's settings on disk, and check which of them a resumed run may change.

The file does not have the groups of ``TrainConfig``: every setting is a top-level key, except for the augmentation's,
which are one object. A setting can therefore move to another group. Weights files have the same keys in their metadata,
under ``recipe``, and their readers need not know the groups either.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from thimble.data.augment.settings import AugmentConfig
from thimble.data.source import Source
from thimble.data.sources import find_source
from thimble.errors import UserError
from thimble.storage.run_folder import DATA_FILE, has_state
from thimble.storage.state import STATE_FILE, STATE_FOLDER
from thimble.storage.weights import WEIGHTS_FILE, load_weights
from thimble.system.arguments import described, is_whole
from thimble.system.json_text import read_object
from thimble.system.settings import before
from thimble.training.tricks.distillation import PLACES

from .config import TrainConfig, groups_by_name
from .settings import RunConfig

VERSION = 1
"""The version of config.json. It increases when an existing setting changes its meaning, not when a setting is added: a
new setting states its own value for older files, see ``system.settings.later``. A file without a version is version 0;
it is read the same way."""


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Return the settings by name, as JSON values: folders as strings, tuples as lists."""
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
    """Invert ``to_dict``; also read what earlier versions of Thimble wrote.

    Raises:
        UserError: a setting that every version wrote is missing, or a setting is unknown, of the wrong type or out of
            range.
    """
    augment = values.get("augment")
    if not isinstance(augment, dict):
        raise UserError("not the configuration of a Thimble run: expected an object under augment")
    flat = [TrainConfig, *(group for name, group in groups_by_name().items() if name != "augment")]
    settings = _completed({name: value for name, value in values.items() if name != "augment"}, *flat)
    return TrainConfig.of(**settings, augment=AugmentConfig(**_completed(augment, AugmentConfig)))


def _completed(found: dict[str, Any], *groups: Any) -> dict[str, Any]:
    """Return the settings found; give each missing one the value that stands for the time before it existed.

    Defaults never replace a missing setting: the run may have used another value. A setting without a ``before`` was
    written by every version, so its absence is an error.
    """
    names = {each.name for group in groups for each in dataclasses.fields(group)} - groups_by_name().keys()
    completed = {name: value for group in groups for name, value in before(group).items()} | found
    for what, difference in (("lacks", names - completed.keys()), ("has an unknown", completed.keys() - names)):
        if difference:
            listed = ", ".join(sorted(difference))[:200]
            raise UserError(f"not the configuration of a Thimble run: it {what} {listed}")
    return completed


def to_file(config: TrainConfig) -> dict[str, Any]:
    """Return the content of config.json: the settings and the file's version."""
    return {"version": VERSION, **to_dict(config)}


def read_config(run: Path) -> TrainConfig:
    """Read the configuration that a run started with.

    Raises:
        UserError: there is no such run, or its configuration is damaged or from a newer version of Thimble.
    """
    path = run / "config.json"
    if not os.path.lexists(path):
        raise UserError(f"{run} has no config.json: expected a run folder, such as runs/NAME")
    try:
        values = read_object(path)
        _check_version(values.pop("version", 0))
        return from_dict(values)
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from error


def _check_version(version: Any) -> None:
    if not is_whole(version) or version < 0:
        raise UserError(f"version {described(version)}: expected a whole number from 0 to {VERSION}")
    if version > VERSION:
        raise UserError(
            f"version {described(version)}, written by a newer Thimble: expected at most {VERSION}; update Thimble to"
            " resume this run"
        )


def source_of_run(run: Path | None, config: TrainConfig) -> Source:
    """Return the source that a run's settings name.

    Args:
        run: the run to resume; None for a new one.
        config: the run's settings.

    Raises:
        UserError: there is no such source; or the run was given its images, and only the caller has them.
    """
    recorded = {} if run is None else _recorded_data(run)
    if "sha256" in recorded and "path" not in recorded:
        raise UserError(
            f"{run} was trained on images that its trainer gave, {config.dataset.data}: resume it in Python with the"
            " same ones, thimble.train(resume=..., data=...)"
        )
    return find_source(config.dataset.data, config.run.data_dir, config.images)


def _recorded_data(run: Path) -> dict[str, Any]:
    """What a run recorded of its data; nothing in older runs."""
    return read_object(run / DATA_FILE) if os.path.lexists(run / DATA_FILE) else {}


def check_same_data(run: Path, config: TrainConfig, source: Source) -> None:
    """Refuse to resume a run with different images, or to download data into a folder that only its config.json names.

    The config.json may come from somebody else, so its folder is not necessarily one to download into.

    Raises:
        UserError: the images differ from those that the run recorded; or the recorded folder has no data any more and
            the user named no other.
    """
    folder = config.run.data_dir
    if folder is not None and not source.is_here() and folder == read_config(run).run.data_dir:
        raise UserError(
            f"{folder}, from which {run} read its data, no longer has {source.title}: put the data back, or name"
            " another folder with --data-dir"
        )
    recorded, found = _recorded_data(run), source.record()
    if recorded.get("sha256") != found.get("sha256") and recorded:
        began, now = recorded.get("num_images"), found.get("num_images")
        numbers = f" ({began:,} images, now {now:,})" if is_whole(began) and is_whole(now) else ""
        raise UserError(
            f"{run} started with different images under the name {source.name}{numbers}: resume it with those, or start"
            " a new run"
        )


def check_resumable(run: Path, config: TrainConfig) -> None:
    """Refuse to resume a run that is finished, or with settings that would change its result.

    Raises:
        UserError: the run is finished and its weights are whole, it has lost its state, or it started with another
            value of a setting.
    """
    began, asked = to_dict(read_config(run)), to_dict(config)
    # RunConfig is the list of what is not part of the recipe.
    changeable = {field.name for field in dataclasses.fields(RunConfig)} | PLACES
    if "path" in _recorded_data(run):
        changeable.add("data")  # own images may have been moved: ``check_same_data`` compares their content
    for name in sorted(began.keys() - changeable):
        if began[name] != asked[name]:
            flag = "--" + name.replace("_", "-")
            raise UserError(
                f"{run} started with {flag} {began[name]}, not {asked[name]}: resume it without {flag}; a resumed run"
                " keeps its recipe"
            )
    if (run / WEIGHTS_FILE).is_file() and not (has_state(run) and _is_damaged(run / WEIGHTS_FILE)):
        raise UserError(f"{run} is finished, its model is {run / WEIGHTS_FILE}: start a new run to train more")
    if not has_state(run) and (run / "metrics.csv").is_file():
        raise UserError(
            f"{run} has lost its {STATE_FOLDER}/{STATE_FILE}, which it needs to resume: put the file back, or start a"
            " new run"
        )


def _is_damaged(weights: Path) -> bool:
    """Whether a finished run's weights cannot be read: its last state, at rest beside them, gives them again."""
    try:
        load_weights(weights)
    except UserError:
        return True
    return False
