"""Weights and states on disk: there and back, and the bad days of a file."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from thimble.checkpoint import (
    list_pretrained,
    load_model,
    load_pretrained,
    load_state,
    load_weights,
    save_state,
    save_weights,
    write_atomically,
)
from thimble.config import RunError, UserError
from thimble.models import Classifier, build_model


class Bomb:
    """Unpickled, it makes a folder: what a pickle from outside could do, and worse."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def model_of_three() -> Classifier:
    """With statistics and metadata that no fresh model has."""
    torch.manual_seed(0)
    model = build_model("reference", num_classes=3, dropout=0.25)
    model.train()(torch.randn(8, 3, 16, 16))
    model.classes = ("cat", "dog", "écureuil")
    model.mean, model.std, model.input_size = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (3, 24, 16)
    return model.eval()


@pytest.fixture
def model() -> Classifier:
    return model_of_three()


@pytest.fixture
def saved(tmp_path: Path, model: Classifier) -> Path:
    path = tmp_path / "saved.safetensors"
    save_weights(path, model, {"recipe": {"epochs": 24}, "accuracy": 0.85})
    return path


def described(path: Path) -> dict[str, Any]:
    with safetensors.safe_open(path, framework="pt") as file:
        result: dict[str, Any] = json.loads(file.metadata()["thimble"])
    return result


def rewrite(path: Path, tensors: dict[str, Tensor] | None = None, metadata: Any = None, **changes: Any) -> None:
    """Write a file again with other tensors, or other metadata."""
    text = json.dumps({**described(path), **changes}) if metadata is None else metadata
    tensors = safetensors.torch.load_file(path) if tensors is None else tensors
    safetensors.torch.save_file(tensors, path, {"thimble": text})


def refusal(path: Path) -> str:
    """The one line that refuses a weights file."""
    with pytest.raises(UserError) as caught:
        load_weights(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_weights_there_and_back(tmp_path: Path, model: Classifier, memory_format: torch.memory_format) -> None:
    model = model.to(memory_format=memory_format)  # type: ignore[call-overload]
    images = torch.randn(4, 3, 24, 16)
    path = tmp_path / "new" / "folder" / "model.safetensors"
    save_weights(path, model, {"recipe": {"epochs": 24}, "accuracy": 0.85})
    back, metadata = load_weights(path)

    expected = model.state_dict()
    assert expected.keys() == back.state_dict().keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in back.state_dict().items())
    with torch.no_grad():
        again = back.to(memory_format=memory_format)  # type: ignore[call-overload]
        assert torch.equal(again(images), model(images))
    assert (back.name, back.arguments) == ("reference", {"num_classes": 3, "dropout": 0.25})
    assert (back.classes, back.mean, back.std) == (model.classes, model.mean, model.std)
    assert back.input_size == (3, 24, 16)
    assert not any(module.training for module in back.modules())
    assert metadata["num_parameters"] == model.num_parameters == back.num_parameters
    assert (metadata["recipe"], metadata["accuracy"]) == ({"epochs": 24}, 0.85)
    assert "torch" in metadata["versions"]


def test_saving_leaves_the_model_as_it_was(tmp_path: Path, model: Classifier) -> None:
    model.train()
    save_weights(tmp_path / "a.safetensors", model, {})
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_any_reader_of_safetensors_can_read_it(saved: Path) -> None:
    with safetensors.safe_open(saved, framework="pt") as file:
        assert file.metadata()["format"] == "pt"
        assert "c1.0.weight" in file.keys()  # noqa: SIM118 - it is no dict


def test_a_model_by_file_by_folder_and_by_name(
    tmp_path: Path, saved: Path, model: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    save_weights(run / "model.safetensors", model, {})
    for name in (saved, str(saved), run, str(run)):
        assert load_model(name).classes == model.classes

    package = tmp_path / "package"
    (package / "weights").mkdir(parents=True)
    (package / "weights" / "README.md").write_text("not a model")
    monkeypatch.setattr("thimble.checkpoint.resources.files", lambda name: package)
    assert list_pretrained() == []
    other = build_model("reference")
    save_weights(package / "weights" / "zoo.safetensors", model, {})
    save_weights(package / "weights" / "reference.safetensors", other, {})
    assert list_pretrained() == ["reference", "zoo"]
    assert load_pretrained("zoo").classes == load_model("zoo").classes == model.classes
    assert len(load_pretrained().classes) == 10
    assert not load_pretrained().training

    # A shipped name wins over a file of the same name; ./ names the file.
    monkeypatch.chdir(tmp_path)
    save_weights(tmp_path / "reference", model, {})
    assert len(load_model("reference").classes) == 10
    assert load_model("./reference").classes == model.classes
    assert load_model(Path("reference")).classes == model.classes

    with pytest.raises(UserError, match=r"^no shipped model 'zebra': expected a shipped model \(reference, zoo\)$"):
        load_pretrained("zebra")
    with pytest.raises(UserError, match=r"^no model 'zebra': expected a weights file, .*\(reference, zoo\)$"):
        load_model("zebra")


def test_what_is_shipped_can_be_loaded() -> None:
    """Whatever lies in the package: each of them, whole."""
    for name in list_pretrained():
        model = load_pretrained(name)
        assert not model.training
        assert model.num_parameters <= 160_000


def test_where_nothing_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr("thimble.checkpoint.resources.files", lambda name: tmp_path)
    with pytest.raises(UserError, match="there are none yet"):
        load_pretrained()


@pytest.mark.parametrize("name", ["no-such-model", "no/such/file.safetensors", "", "x" * 5000, "a\0b"])
def test_no_such_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        load_model(name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no model\.safetensors: expected the folder of a finished run$"):
        load_model(tmp_path)
    save_state(tmp_path, {"a": torch.zeros(1)}, {})
    with pytest.raises(UserError, match=rf"thimble train --resume {tmp_path} finishes it$"):
        load_model(str(tmp_path))


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert "is empty: expected a whole safetensors file" in refusal(path)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 10, 100, 5_000, 100_000, -1])
def test_a_file_cut_short(saved: Path, length: int) -> None:
    content = saved.read_bytes()
    assert len(content) > 600_000
    saved.write_bytes(content[:length])
    message = refusal(saved)
    assert ("cut short or damaged" if length >= 9 or length < 0 else "no weights file") in message


def test_a_file_that_goes_on_too_long(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"more")
    assert "cut short or damaged" in refusal(saved)


def test_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" * 50)
    assert "is no weights file" in refusal(path)


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
    refusal(path)
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        load_model(tmp_path)


def test_a_file_that_may_not_be_read(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("thimble.checkpoint.safetensors.safe_open", refuse)
    assert "Permission denied" in refusal(saved)


def test_safetensors_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(build_model("reference").state_dict(), path)
    assert "is a safetensors file of another program" in refusal(path)
    safetensors.torch.save_file(build_model("reference").state_dict(), path, {"format": "pt"})
    assert "is a safetensors file of another program" in refusal(path)


@pytest.mark.parametrize("text", ["", "{", "no json", "[]", "null", "3", '"reference"', "[" * 100_000])
def test_metadata_that_is_none(saved: Path, text: str) -> None:
    rewrite(saved, metadata=text)
    assert "expected a weights file that Thimble saved" in refusal(saved)


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
        {"classes": None},
        {"classes": ["cat", "dog"]},
        {"classes": ["cat", "dog", "fish", "bird"]},
        {"mean": [0.5, 0.5]},
        {"mean": 0.5},
        {"mean": ["a", "b", "c"]},
        {"mean": [0.5, 0.5, float("nan")]},
        {"std": [0.5, 0.5, 0.5, 0.5]},
        {"std": [0.5, 0.5, 0.0]},
        {"std": [0.5, 0.5, -1.0]},
        {"input_size": [32, 32]},
        {"input_size": [3, "a", 32]},
        {"input_size": [3, 0, 32]},
        {"input_size": [1, 32, 32]},
    ],
)
def test_metadata_that_cannot_be(saved: Path, change: dict[str, Any]) -> None:
    assert load_weights(saved)[0].input_size == (3, 24, 16)
    rewrite(saved, **change)
    assert "describes its model incompletely" in refusal(saved)


def test_a_missing_tensor(saved: Path) -> None:
    tensors = safetensors.torch.load_file(saved)
    del tensors["c4.3.weight"]
    rewrite(saved, tensors)
    assert "lacks the tensor c4.3.weight: expected all " in refusal(saved)


def test_an_extra_tensor(saved: Path) -> None:
    rewrite(saved, {**safetensors.torch.load_file(saved), "c5.0.weight": torch.zeros(1)})
    assert "holds 1 tensors that the model has not, c5.0.weight among them" in refusal(saved)


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


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_that_is_not_finite(saved: Path, value: float) -> None:
    tensors = safetensors.torch.load_file(saved)
    tensors["c1.1.running_var"][3] = value
    rewrite(saved, tensors)
    assert "c1.1.running_var holds values that are not finite" in refusal(saved)


def test_writing_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.txt"
    write_atomically(path, "first é")
    assert path.read_text(encoding="utf-8") == "first é"
    write_atomically(path, b"\x00second")
    assert path.read_bytes() == b"\x00second"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk(saved: Path, model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError) as caught:
        save_weights(saved, model, {"other": True})
    assert str(caught.value) == f"cannot write {saved}: No space left on device; free some space and try again"
    assert saved.read_bytes() == before
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_nothing_is_left_of_an_interruption(saved: Path, model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_weights(saved, model, {"other": True})
    assert saved.read_bytes() == before
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(RunError, match=r"^cannot write .*; check the folder and try again$"):
        write_atomically(tmp_path / "run" / "file.txt", "text")
    with pytest.raises(RunError, match=r"^cannot write .*; check the folder and try again$"):
        write_atomically(tmp_path / "run" / "deeper" / "file.txt", "text")
    assert (tmp_path / "run").read_text() == "in the way"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "file.txt").mkdir()
    with pytest.raises(RunError, match=r"^cannot write .*; check the folder and try again$"):
        write_atomically(tmp_path / "file.txt", "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_state_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {
        "weights": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "random": torch.get_rng_state(),
        "count": torch.tensor(7),
    }
    progress = {"step": 12, "loss_sum": 0.1 + 0.2, "history": [{"epoch": 1, "loss": None}]}
    save_state(tmp_path, {"old": torch.zeros(1)}, {"step": 1})
    save_state(tmp_path, tensors, progress)
    found, back = load_state(tmp_path)
    assert back == progress
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype is tensor.dtype
    assert [entry.name for entry in (tmp_path / "last.ckpt").iterdir()] == ["state.safetensors"]

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        save_state(tmp_path, {"new": torch.zeros(1)}, {"step": 13})
    assert load_state(tmp_path)[1] == progress


def test_a_state_that_is_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no last\.ckpt/state\.safetensors: expected the folder of a run"):
        load_state(tmp_path)
    save_state(tmp_path, {"weights": torch.zeros(100)}, {"step": 1})
    path = tmp_path / "last.ckpt" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(UserError, match=r"state\.safetensors is cut short or damaged"):
        load_state(tmp_path)


def test_half_precision_halves_the_parameters_and_comes_back_as_float32(tmp_path: Path) -> None:
    """BatchNorm's statistics stay whole: a variance of 1e-9 would be lost in float16."""
    model = build_model("thimble-78k").eval()
    norm = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    assert norm.running_var is not None
    norm.running_var.fill_(1e-9)
    for name, half in (("whole", False), ("half", True)):
        save_weights(tmp_path / name, model, {}, half=half)
    halved = load_weights(tmp_path / "half")[0]
    sizes = {name: (tmp_path / name).stat().st_size for name in ("whole", "half")}
    assert sizes["whole"] - sizes["half"] == pytest.approx(2 * model.num_parameters, abs=2000)
    for name, tensor in halved.state_dict().items():
        assert tensor.dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(tensor, model.state_dict()[name], rtol=1e-3, atol=1e-7)
    assert all(bool((buffer == model.get_buffer(name)).all()) for name, buffer in halved.named_buffers())
    assert next(model.parameters()).dtype == torch.float32


def test_a_parameter_too_large_for_half_precision_is_noticed_when_it_is_loaded(tmp_path: Path) -> None:
    model = build_model("thimble-78k")
    with torch.no_grad():
        next(model.parameters()).fill_(1e6)
    save_weights(tmp_path / "half", model, {}, half=True)
    with pytest.raises(UserError, match="holds values that are not finite"):
        load_weights(tmp_path / "half")
