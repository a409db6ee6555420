"""Read what a weights file and its run record about a model, whatever else the metadata may hold.

A weights file may come from anybody: each function takes only what has the right form, and leaves out the rest.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

from thimble.data.sources import HUB
from thimble.errors import UserError
from thimble.measuring.evaluation import Evaluation
from thimble.storage.environment import read_environment
from thimble.storage.find import Model, run_folder_of
from thimble.system.names import one_line

_PLACES = {"data_dir", "fallback", "runs", "name", "overwrite", "device", "workers"}
"""Settings about where a run was made, not how. They stay out of cards, because a user's folders are private."""
_SOFTWARE = ("thimble", "torch", "python")


def recorded_test(metadata: dict[str, Any]) -> Evaluation | None:
    """The test recorded at the end of training; None if there is none or it is malformed."""
    test = dictionary(metadata, "metrics", "test")
    try:
        low, high = test["accuracy_interval"]
        per_class = test["per_class_accuracy"].items()
        found = Evaluation(
            model=str(test["model"]),
            data=str(test["data"]),
            num_images=int(test["num_images"]),
            flip=bool(test["flip"]),
            accuracy=float(test["accuracy"]),
            accuracy_interval=(float(low), float(high)),
            per_class_accuracy={name: math.nan if value is None else float(value) for name, value in per_class},
            confusion=[[int(count) for count in row] for row in test["confusion"]],
            nll=float(test["nll"]),
            ece=float(test["ece"]),
            part="all" if test.get("part") == "all" else "test",  # before there was a choice, it was the test part
            auroc=_fraction_or_nan(test.get("auroc")),
            auroc_interval=_interval(test.get("auroc_interval")),
            top5_accuracy=_fraction_or_nan(test.get("top5_accuracy")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None
    fractions = (found.accuracy, *found.accuracy_interval, found.ece)
    sound = all(0.0 <= value <= 1.0 for value in fractions) and math.isfinite(found.nll) and found.num_images > 0
    return found if sound and _counts_images(found) else None


def _counts_images(test: Evaluation) -> bool:
    """Whether the confusion matrix counts the images: the other metrics are computed from it."""
    num_classes, counts = len(test.per_class_accuracy), [count for row in test.confusion for count in row]
    square = len(test.confusion) == num_classes and all(len(row) == num_classes for row in test.confusion)
    return square and min(counts, default=0) >= 0 and sum(counts) == test.num_images < 2**53


def licence_of(metadata: dict[str, Any]) -> str:
    """The licence of the weights; empty if the file states none."""
    found = metadata.get("licence")
    return one_line(found) if isinstance(found, str) else ""


def data_of(metadata: dict[str, Any]) -> dict[str, Any]:
    """The training data's name (empty if not recorded) and numbers of images (None if not recorded)."""
    found = dictionary(metadata, "data")
    counts = {part: found.get(part) for part in ("train_images", "validation_images")}
    name = found.get("name")
    known = {part: count if isinstance(count, int) and count > 0 else None for part, count in counts.items()}
    return {"name": one_line(name) if isinstance(name, str) else "", **known}


def training_of(model: Model, metadata: dict[str, Any]) -> dict[str, Any]:
    """What is known about the training, as text and JSON for the card; unknown values are empty."""
    recipe = dictionary(without_places(metadata), "recipe")
    checksum = metadata.get("teacher_sha256")
    last = dictionary(metadata, "metrics", "last_epoch")
    versions = dictionary(metadata, "versions")
    return {
        "recipe": recipe,
        # Put each list on one line.
        "settings": re.sub(r"\[[^][{}\"]+\]", _on_one_line, json.dumps(recipe, indent=2)) if recipe else "",
        "teacher": recipe.get("teacher"),
        "teacher_checksum": checksum if isinstance(checksum, str) and checksum.isalnum() else "",
        "validation_accuracy": _fraction(last.get("validation_accuracy")),
        "software": ", ".join(f"{name} {versions[name]}" for name in _SOFTWARE if name in versions),
        "command": _command(model),
    }


def without_places(metadata: dict[str, Any]) -> dict[str, Any]:
    """Copy a weights file's metadata without the settings about where the run was made."""
    recipe = {name: value for name, value in dictionary(metadata, "recipe").items() if name not in _PLACES}
    for source in ("teacher", "bank", "data"):
        if isinstance(recipe.get(source), str) and not recipe[source].startswith(HUB):
            recipe[source] = Path(recipe[source]).name
    data = {name: value for name, value in dictionary(metadata, "data").items() if not _is_place(name, value)}
    return metadata | ({"recipe": recipe} if recipe else {}) | ({"data": data} if data else {})


def _is_place(name: str, value: Any) -> bool:
    """Whether an entry of the data's record is a folder of the user."""
    return name == "path" and not (isinstance(value, str) and value.startswith(HUB))


def dictionary(values: Any, *keys: str) -> dict[str, Any]:
    """The dictionary at nested keys; empty if there is none, because a file's metadata may be any JSON."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def _on_one_line(found: re.Match[str]) -> str:
    return " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]")


def _fraction(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0.0 <= value <= 1.0 else None


def _fraction_or_nan(value: Any) -> float:
    found = _fraction(value)
    return math.nan if found is None else found


def _interval(values: Any) -> tuple[float, float]:
    low, high = values if isinstance(values, list) and len(values) == 2 else (None, None)
    return _fraction_or_nan(low), _fraction_or_nan(high)


def _command(model: Model) -> str:
    """The command recorded in a run folder, as typed; empty if there is none or it has unprintable characters."""
    run = run_folder_of(model)
    try:
        command = shlex.join(read_environment(run).get("command") or []) if run else ""
    except UserError:
        return ""
    return command if command.isprintable() else ""
