"""Every reader of files from outside, behind one call that says how it went."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from fuzz_inputs import RECORDS, good, progress, small_model, training

from thimble.cli import main as cli
from thimble.data import cifar10
from thimble.data.shapes10 import shapes10
from thimble.errors import RunError, UserError
from thimble.exporting.exported import open_exported
from thimble.measuring.prediction import predict
from thimble.measuring.summary import summarize
from thimble.models.classifier import Classifier
from thimble.reporting.curves import draw
from thimble.sharing.card import model_card
from thimble.storage.environment import read_environment
from thimble.storage.find import load_model
from thimble.storage.logs import read_metrics
from thimble.training.config_file import read_config as config_of
from thimble.training.config_file import to_dict
from thimble.training.progress import Progress
from thimble.training.resume import restore_progress


class Finding(Exception):
    """A promise that did not hold."""


def outcome(kind: str, content: bytes, folder: Path) -> str:
    """Read a file of a kind in an empty folder: "taken", "refused" (exit code 2) or "failed" (1).

    Raises:
        Finding: more than a line is said, or the exit code is another.
        Exception: anything that a reader lets through: a traceback, for a person.
    """
    try:
        READERS[kind](content, folder)
    except UserError as error:
        return _one_line(str(error), "refused")
    except RunError as error:
        return _one_line(str(error), "failed")
    return "taken"


def _one_line(message: str, result: str) -> str:
    if not message or len(message) > 20_000:
        raise Finding(f"a message of {len(message)} characters")
    return result


def _verb(*arguments: str) -> None:
    """Run a verb as from a shell."""
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        code = cli.main(arguments)
    if code == 0:
        return
    complaint = complained.getvalue()
    if code not in (1, 2) or complaint.count("\n") != 1 or "Traceback" in complaint:
        raise Finding(f"exit code {code}, saying {complaint[:500]!r}")
    raise (UserError if code == 2 else RunError)(complaint.strip())


def _by_the_command_line(content: bytes) -> bool:
    """Whether a file is read as from a shell too: one in eight, as it takes ten times as long."""
    return zlib.crc32(content) % 8 == 0


def _read_weights(content: bytes, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(content)
    if _by_the_command_line(content):
        _verb("summary", str(path), "--json")
    model = load_model(path)
    summarize(model)
    model_card(path)
    predict(torch.zeros(3, 8, 8, dtype=torch.uint8), model)


def _read_state(content: bytes, folder: Path) -> None:
    (folder / "last.ckpt").mkdir()
    (folder / "last.ckpt" / "state.safetensors").write_bytes(content)
    model = small_model()
    found = Progress(progress().num_batches, progress().num_steps, 1)
    restore_progress(folder, found, model, *training(model))
    found.advance(1)
    found.add(0.5, 1, 0.5)
    json.dumps(found.end_epoch((0.5, 0.5), 0.1))


def _read_config(content: bytes, folder: Path) -> None:
    (folder / "config.json").write_bytes(content)
    json.dumps(to_dict(config_of(folder)))
    if not _by_the_command_line(content):
        return
    (folder / "model.safetensors").touch()
    try:
        _verb("train", "--resume", str(folder))
    except UserError as error:
        if "is finished" not in str(error):
            raise


def _read_metrics(content: bytes, folder: Path) -> None:
    (folder / "metrics.csv").write_bytes(content)
    rows = read_metrics(folder)
    if sum(row["seconds"] for row in rows) == float("inf"):
        raise Finding("an endless training")
    if len(rows) < 100:
        draw({"x": rows})


def _read_environment(content: bytes, folder: Path) -> None:
    (folder / "environment.json").write_bytes(content)
    json.dumps(read_environment(folder), indent=2)


def _read_onnx(content: bytes, folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(content)
    model = open_exported(path)
    model.infer(torch.zeros(2, *model.input_size, dtype=torch.uint8))


def _read_cifar(content: bytes, folder: Path) -> None:
    for name in (*cifar10.FILES["train"], *cifar10.FILES["test"]):
        (folder / name).write_bytes(content if name in ("data_batch_3.bin", "test_batch.bin") else good("cifar")[0])
    previous = cifar10.RECORDS_PER_FILE
    cifar10.RECORDS_PER_FILE = RECORDS
    try:
        for part in ("train", "test"):
            cifar10.load_cifar10(part, folder)
    finally:
        cifar10.RECORDS_PER_FILE = previous


def _read_archive(content: bytes, folder: Path) -> None:
    path = folder / "archive.tar.gz"
    path.write_bytes(content)
    (folder / "there").mkdir()
    cifar10._unpack(path, folder / "there")


def _read_image(content: bytes, folder: Path) -> None:
    path = folder / "x.png"
    path.write_bytes(content)
    if _by_the_command_line(content):
        _verb("predict", str(path), "--json")
    predict(path, shipped())


@cache
def shipped() -> Classifier:
    return load_model("reference")


READERS: dict[str, Callable[[bytes, Path], None]] = {
    "weights": _read_weights,
    "state": _read_state,
    "config": _read_config,
    "metrics": _read_metrics,
    "environment": _read_environment,
    "onnx": _read_onnx,
    "cifar": _read_cifar,
    "archive": _read_archive,
    "image": _read_image,
}


def warm_up(folder: Path) -> None:
    """Read a good file of each kind, so that no import and no cache counts as a reader's time or memory."""
    shapes10(1)
    np.zeros(1)
    for kind in READERS:
        place = folder / f"good-{kind}"
        os.mkdir(place)
        result = outcome(kind, good(kind)[0], place)
        if result != "taken":
            raise Finding(f"a good file of the kind {kind} is {result}")
