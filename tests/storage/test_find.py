"""Weights and states on disk: there and back, and the bad days of a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from thimble.errors import RunError, UserError
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.find import load_model, load_pretrained
from thimble.storage.shipped import list_pretrained
from thimble.storage.state import load_state, save_state
from thimble.storage.weights import load_weights, save_weights


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
    monkeypatch.setattr("thimble.storage.shipped.resources.files", lambda name: package)
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
    monkeypatch.setattr("thimble.storage.shipped.resources.files", lambda name: tmp_path)
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
