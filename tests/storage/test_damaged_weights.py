"""Weights files on their bad days: cut, foreign, pickled, of other tensors. Each is refused in one line."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from weights_files import described, refusal, rewrite

from thimble.errors import UserError
from thimble.models import build_model
from thimble.storage.find import load_model
from thimble.storage.state import load_state
from thimble.storage.weights import load_weights


class Bomb:
    """Unpickled, it makes a folder: what a pickle from outside could do, and worse."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert "is empty: expected a complete safetensors file" in refusal(path)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 10, 100, 5_000, 100_000, -1])
def test_a_file_cut_short(saved: Path, length: int) -> None:
    content = saved.read_bytes()
    assert len(content) > 600_000
    saved.write_bytes(content[:length])
    message = refusal(saved)
    assert ("cut short or damaged" if length >= 9 or length < 0 else "not a weights file") in message


def test_a_file_that_goes_on_too_long(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"more")
    assert "cut short or damaged" in refusal(saved)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" * 50)
    assert "is not a weights file" in refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_never_loaded(tmp_path: Path, zipped: bool) -> None:
    path, marker = tmp_path / "model.pt", tmp_path / "marker"
    torch.save({"weights": Bomb(marker)}, path, _use_new_zipfile_serialization=zipped)
    assert "a pickled PyTorch file, which could run any code and is never loaded" in refusal(path)
    with pytest.raises(UserError):
        load_model(path)
    (tmp_path / "last.ckpt").mkdir()
    (tmp_path / "last.ckpt" / "state.safetensors").write_bytes(path.read_bytes())
    with pytest.raises(UserError):
        load_state(tmp_path)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # it would have


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.mkdir()
    assert "is a folder: expected a regular file" in refusal(path)
    with pytest.raises(UserError, match=r"model\.safetensors is a folder"):
        load_model(tmp_path)


def test_a_file_that_may_not_be_read(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("thimble.system.files.os.open", refuse)
    assert "Permission denied" in refusal(saved)


def test_safetensors_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(build_model("reference").state_dict(), path)
    assert "is a safetensors file from another program" in refusal(path)
    safetensors.torch.save_file(build_model("reference").state_dict(), path, {"format": "pt"})
    assert "is a safetensors file from another program" in refusal(path)


@pytest.mark.parametrize(
    "text", ["", "{", "no json", "[]", "null", "3", '"reference"', "[" * 100_000, '{"a": ' * 100_000]
)
def test_metadata_that_is_none(saved: Path, text: str) -> None:
    rewrite(saved, metadata=text)
    assert "has unreadable metadata" in refusal(saved)


@pytest.mark.parametrize("name", ["alexnet", None, 3, ["reference"], {}])
def test_a_model_that_we_do_not_know(saved: Path, name: Any) -> None:
    rewrite(saved, model=name)
    assert "expected one of reference" in refusal(saved)


@pytest.mark.parametrize("name", ["model", "arguments", "classes", "mean", "std", "input_size"])
def test_metadata_that_lacks_something(saved: Path, name: str) -> None:
    values = described(saved)
    del values[name]
    rewrite(saved, metadata=json.dumps(values))
    assert name in refusal(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"arguments": {"depth": 3}},
        {"arguments": ["num_classes"]},
        {"arguments": {"num_classes": "three"}},
        {"arguments": {"num_classes": -3}},
        {"arguments": {"num_classes": 3, "dropout": 7}},
        {"arguments": {"num_classes": 3, "dropout": True}},
        {"arguments": {"num_classes": 3.0}},
        {"arguments": {"num_classes": 3, "in_channels": 10**9}},
        {"arguments": {"num_classes": 10**9}, "classes": ["cat"] * 3},
        {"classes": None},
        {"classes": ["cat", "dog"]},
        {"classes": ["cat", "dog", "fish", "bird"]},
        {"classes": "abc"},
        {"classes": {"a": 1, "b": 2, "c": 3}},
        {"classes": ["cat", "dog", 3]},
        {"classes": ["cat", "dog", "x" * 1001]},
        {"mean": [0.5, 0.5]},
        {"mean": 0.5},
        {"mean": ["a", "b", "c"]},
        {"mean": "abc"},
        {"mean": [0.5, 0.5, 1e300]},
        {"mean": [0.5, 0.5, float("nan")]},
        {"std": [0.5, 0.5, float("inf")]},
        {"mean": [True, False, True]},
        {"mean": {"0": 0.5, "1": 0.5, "2": 0.5}},
        {"std": [0.5, 0.5, 0.5, 0.5]},
        {"std": [0.5, 0.5, 0.0]},
        {"std": [0.5, 0.5, -1.0]},
        {"std": [0.5, 0.5, 1e-300]},
        {"input_size": [32, 32]},
        {"input_size": [3, "a", 32]},
        {"input_size": [3, 0, 32]},
        {"input_size": [1, 32, 32]},
        {"input_size": [3, 20000, 20000]},
        {"input_size": [3, 32, 1025]},
        {"input_size": [3, 32, 2**62]},
        {"input_size": [3, -32, -32]},
        {"input_size": [3, 32.5, 32]},
        {"input_size": [3, True, 32]},
        {"input_size": "332"},
        {"input_size": [2, 32, 32]},
        {"input_size": [4, 32, 32]},
        {"input_size": [True, 32, 32]},
        {"input_size": [1, 24, 16]},  # with three means
        {"input_size": [1, 24, 16], "mean": [0.5]},
        {"input_size": [1, 24, 16], "mean": [0.5, 0.5], "std": [0.5, 0.5]},
        {"mean": [0.5], "std": [0.5]},
        {"fit": "stretch"},
        {"fit": "Crop"},
        {"fit": ""},
        {"fit": None},
        {"fit": ["crop"]},
        {"fit": {"crop": 1}},
        {"fit": 0},
        {"fit": True},
        {"fit": "crop" * 10_000},
        {"depth": 255},
        {"depth": "0 255"},
        {"depth": []},
        {"depth": [255]},
        {"depth": [0, 1, 2]},
        {"depth": [255, 0]},
        {"depth": [7, 7]},
        {"depth": [0, True]},
        {"depth": ["0", "255"]},
        {"depth": [None, 255]},
        {"depth": [0, float("nan")]},
        {"depth": [float("-inf"), 0]},
        {"depth": [0, 1e300]},
        {"depth": [-1e30, 0]},
        {"depth": [0, 1e-310]},
        {"depth": {"0": 0, "1": 255}},
    ],
)
def test_metadata_that_cannot_be(saved: Path, change: dict[str, Any]) -> None:
    assert load_weights(saved)[0].input_size == (3, 24, 16)
    rewrite(saved, **change)
    assert "does not describe its model correctly" in refusal(saved)


def test_a_file_from_before_there_was_a_fit_crops(saved: Path) -> None:
    values = described(saved)
    del values["fit"], values["depth"]
    rewrite(saved, metadata=json.dumps(values))
    model, _ = load_weights(saved)
    assert (model.fit, model.depth) == ("crop", None)


def test_the_weights_of_another_number_of_channels(saved: Path) -> None:
    rewrite(saved, input_size=[1, 24, 16], mean=[0.5], std=[0.5])
    assert "c1.0.weight is torch.float32 (16, 3, 3, 3), expected torch.float32 (16, 1, 3, 3)" in refusal(saved)


def test_a_missing_tensor(saved: Path) -> None:
    tensors = safetensors.torch.load_file(saved)
    del tensors["c4.3.weight"]
    rewrite(saved, tensors)
    assert "lacks the tensor c4.3.weight: expected all " in refusal(saved)


def test_an_extra_tensor(saved: Path) -> None:
    rewrite(saved, {**safetensors.torch.load_file(saved), "c5.0.weight": torch.zeros(1)})
    assert "holds 1 tensors that the model lacks, such as c5.0.weight" in refusal(saved)


def test_a_tensor_of_another_shape(saved: Path) -> None:
    """That it could be broadcast, or has as many values, makes it no better."""
    tensors = safetensors.torch.load_file(saved)
    rewrite(saved, {**tensors, "output.1.weight": tensors["output.1.weight"].view(64, 3, 1, 1)})
    assert "output.1.weight is torch.float32 (64, 3, 1, 1), expected torch.float32 (3, 64, 1, 1)" in refusal(saved)
    rewrite(saved, {**tensors, "c1.1.bias": torch.zeros(1)})
    assert "c1.1.bias is torch.float32 (1,), expected torch.float32 (16,)" in refusal(saved)


def test_a_tensor_of_another_type(saved: Path) -> None:
    tensors = safetensors.torch.load_file(saved)
    rewrite(saved, {**tensors, "c1.1.bias": torch.zeros(16, dtype=torch.int64)})
    assert "c1.1.bias is torch.int64 (16,), expected torch.float32 (16,)" in refusal(saved)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8, torch.bool, torch.int16])
def test_a_tensor_of_a_type_that_thimble_never_writes(saved: Path, dtype: torch.dtype) -> None:
    tensors = safetensors.torch.load_file(saved)
    rewrite(saved, {**tensors, "c1.1.bias": torch.zeros(16).to(dtype)})
    assert "tensor c1.1.bias has type" in refusal(saved)
    rewrite(saved, {**tensors, "c1.1.bias": tensors["c1.1.bias"].double()})
    assert load_weights(saved)[0].get_parameter("c1.1.bias").dtype is torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_that_is_not_finite(saved: Path, value: float) -> None:
    tensors = safetensors.torch.load_file(saved)
    tensors["c1.1.running_var"][3] = value
    rewrite(saved, tensors)
    assert "c1.1.running_var holds values that are not finite" in refusal(saved)


def test_a_forged_network_takes_no_memory_of_note(saved: Path) -> None:
    """Every claim of a file is bounded before it costs anything; a head of as many classes as can be is still small."""
    names = [str(number) for number in range(10_000)]
    rewrite(saved, model="teacher-10m", classes=names, arguments={"num_classes": len(names)})
    tracemalloc.start()
    assert "lacks the tensor stem.0.weight" in refusal(saved)
    rewrite(saved, classes=[""] * 10_001, arguments={"num_classes": 10_001})
    assert "10,001 classes, expected 1 to 10,000" in refusal(saved)
    assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    tracemalloc.stop()


def test_a_header_of_a_hundred_megabytes_is_never_parsed(tmp_path: Path) -> None:
    path = tmp_path / "header"
    with path.open("wb") as file:
        file.write((90 * 2**20).to_bytes(8, "little") + b"{")
        file.truncate(91 * 2**20)
    assert "has a header of 94,371,840 bytes: expected a file that Thimble saved" in refusal(path)
    with path.open("wb") as file:
        file.truncate(2**31)
    assert "has 2,147,483,648 bytes: expected at most 1,073,741,824" in refusal(path)


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "/dev/null", "/proc/self/environ"])
def test_what_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    """Neither waits for ever nor fills the memory; a file of the kernel's has no whole network in it."""
    run = tmp_path / "run"
    run.mkdir()
    for path in (tmp_path / "weights", run / "model.safetensors"):
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(kind)
        refusal(path)
        with pytest.raises(UserError):
            load_model(path)
    with pytest.raises(UserError):
        load_model(run)
