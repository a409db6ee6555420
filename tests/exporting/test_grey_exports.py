"""Exports of networks for one channel, other sizes and other fits; and the names of the classes beside every export."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from exports_shared import deployments_of_int8, fitted, seasoned
from torch import Tensor

from thimble.cli import main as cli
from thimble.data.dataset import ImageDataset
from thimble.data.instructions import instructions
from thimble.data.pixels import Fitting
from thimble.data.rows import Rows, rows_of
from thimble.data.shapes10 import shapes10
from thimble.errors import RunError
from thimble.exporting import onnx_file
from thimble.exporting.deployment import Deployment
from thimble.exporting.export import CALIBRATION_IMAGES, export, labels_of
from thimble.exporting.exported import open_exported
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.weights import WEIGHTS_FILE, save_weights

FORMATS = ["onnx", "onnx-int8", "torch", "c", "executorch", "tflite"]


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def grey_data(model: Classifier, count: int, seed: int) -> ImageDataset:
    drawings = shapes10(count, seed=seed)
    images = fitted(drawings.images, model)
    return ImageDataset("grey", images, drawings.labels % 2, model.classes, model.mean, model.std)


def grey_model(name: str = "tiny", size: tuple[int, int] = (28, 20)) -> Classifier:
    model = seasoned(name, num_classes=2, in_channels=1, input_size=size)
    model.classes, model.fit, model.depth = ("left", "right"), "pad", (0.0, 4095.0)
    return model


def needs(format: str) -> None:
    if format == "c" and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler")
    if format == "executorch" and importlib.util.find_spec("executorch") is None:
        pytest.skip("no ExecuTorch")
    if format == "tflite" and importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("no LiteRT")


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_takes_grey_images(format: str) -> None:
    needs(format)
    model = grey_model()
    pair = (grey_data(model, 60, 1), grey_data(model, 40, 2))
    result = export(model, format, data=pair)
    said = result.metadata
    assert said["input"]["shape"] == ["batch", 28, 20, 1]
    assert said["input"]["values"] == "grey, 0..255"
    assert (said["fit"], said["depth"]) == ("pad", [0.0, 4095.0])
    assert said["fitting"] == instructions(Fitting.of(model))
    assert (said["mean"], said["std"]) == (list(model.mean), list(model.std))
    assert result.parity.test_images == 40
    assert result.parity.accuracy is not None
    assert result.labels.read_text() == "left\nright\n"


@pytest.mark.slow
def test_without_preprocessing_the_input_is_float32_of_one_channel() -> None:
    model = grey_model()
    result = export(model, preprocess=False, data=grey_data(model, 40, 2))
    assert result.metadata["input"]["shape"] == ["batch", 1, 28, 20]
    assert result.metadata["input"]["values"] == "grey, (pixel / 255 - mean) / std"
    assert result.parity.max_difference <= 1e-4
    found = open_exported(result.output)
    assert (found.input_size, found.fit, found.depth) == ((1, 28, 20), "pad", (0.0, 4095.0))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(8, 8), (96, 40), (128, 128)])
@pytest.mark.parametrize("channels", [1, 3])
def test_without_its_data_it_is_compared_on_drawings_of_its_size_and_channels(
    size: tuple[int, int], channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thimble.exporting.export.NUM_IMAGES", 60)
    model = seasoned("thimble-78k", num_classes=3, in_channels=channels, input_size=size)
    parity = export(model).parity
    assert (parity.images, parity.num_images, parity.test_images) == ("shapes10", 60, None)
    assert parity.max_difference <= 1e-4
    assert parity.agreement == 1


class Counted(Rows):
    """Notes which rows are read."""

    def __init__(self, base: Tensor, rows: Tensor) -> None:
        super().__init__(base, rows)
        self.read: list[Tensor] = []

    def __getitem__(self, index: Any) -> Tensor:
        self.read.append(torch.arange(len(self))[index])
        return super().__getitem__(index)


def test_of_images_on_disk_only_those_to_calibrate_with_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = deployments_of_int8(monkeypatch)
    model = grey_model()
    test = grey_data(model, 40, 2)
    few = grey_data(model, 20, 1)
    images = Counted(few.images, torch.arange(3_000) % 20)
    labels = few.labels[torch.arange(3_000) % 20]
    train = ImageDataset("grey", images, labels, model.classes, model.mean, model.std)  # type: ignore[arg-type]
    mapped = ImageDataset(
        "grey", rows_of(test.images, torch.arange(40)), test.labels, model.classes, model.mean, model.std
    )
    result = export(model, "onnx-int8", data=(train, mapped))
    assert result.parity.test_images == 40
    assert seen[0].calibration is not None
    assert seen[0].calibration.shape == (CALIBRATION_IMAGES, 1, 28, 20)
    (read,) = images.read
    assert len(read) == len(set(read.tolist())) == CALIBRATION_IMAGES
    assert torch.equal(seen[0].calibration, few.images[read % 20])


def test_calibration_images_of_another_size_are_fitted_as_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of a model that is exported with other data than its own."""
    seen = deployments_of_int8(monkeypatch)
    model = grey_model()
    drawings = shapes10(12, seed=1)
    train = ImageDataset("drawn", drawings.images, drawings.labels % 2, model.classes, drawings.mean, drawings.std)
    test = grey_data(model, 40, 2)

    class Mixed:
        def load(self, part: str, *, progress: bool = False) -> ImageDataset:
            return train if part == "train" else test

        def is_here(self) -> bool:
            return True

    monkeypatch.setattr("thimble.exporting.export.source_for", lambda *_: Mixed())
    export(model, "onnx-int8")
    assert seen[0].calibration is not None
    assert {image.numpy().tobytes() for image in seen[0].calibration} == {
        image.numpy().tobytes() for image in fitted(train.images, model)
    }
    assert (seen[0].calibration[:, :, :3] == 128).all()  # the borders of padding


def exported_as(path: Path, classes: tuple[str, ...]) -> Path:
    model = seasoned("tiny", num_classes=len(classes))
    model.classes = classes
    return export(model, output=path).labels


@pytest.mark.slow
def test_each_export_has_labels_of_its_own_and_replaces_them_with_itself(tmp_path: Path) -> None:
    one = exported_as(tmp_path / "model.onnx", ("salt", "pepper"))
    other = exported_as(tmp_path / "model.pt2", ("b", "a", "c"))
    assert one == tmp_path / "model.onnx.labels.txt"
    assert one.read_text() == "salt\npepper\n"
    assert other.read_text() == "b\na\nc\n"
    assert exported_as(tmp_path / "model.onnx", ("new", "old")) == one
    assert one.read_text() == "new\nold\n"


@pytest.mark.slow
def test_a_file_of_a_run_is_named_after_the_run(tmp_path: Path) -> None:
    for run in ("mine", "yours"):
        (tmp_path / "runs" / run).mkdir(parents=True)
        save_weights(tmp_path / "runs" / run / WEIGHTS_FILE, grey_model(), {})
        assert export(tmp_path / "runs" / run).output == Path(f"{run}.onnx")
    assert sorted(path.name for path in tmp_path.glob("*.onnx")) == ["mine.onnx", "yours.onnx"]


def test_labels_are_one_a_line_whatever_they_are_called() -> None:
    model = build_model("tiny", num_classes=4)
    model.classes = ("two\nlines", "écureuil & hérisson", "\udcff", "a\r\u2028b\x1b[2J")
    text = labels_of(model)
    assert text.split("\n") == ["two\\nlines", "écureuil & hérisson", "\\xff", "a\\r\\u2028b\\x1b[2J", ""]
    assert len(text.splitlines()) == 4
    text.encode()


@pytest.mark.slow
def test_a_file_that_fails_its_check_leaves_the_old_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = exported_as(tmp_path / "model.onnx", ("salt", "pepper"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken(_: Deployment) -> bytes:
        return before["model.onnx"]

    monkeypatch.setattr(onnx_file, "build_float", broken)
    model = seasoned("tiny", num_classes=2, dropout=0.5)
    with torch.no_grad():
        model.get_parameter("output.1.weight").mul_(-1)
    with pytest.raises(RunError, match="nothing was written"):
        export(model, output=tmp_path / "model.onnx")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert labels.name in before


@pytest.mark.slow
def test_the_verb_names_the_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_weights(tmp_path / "grey.safetensors", grey_model(), {})
    assert cli.main(["export", "grey.safetensors", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["labels"] == "tiny.onnx.labels.txt"
    assert (tmp_path / result["labels"]).read_text() == "left\nright\n"
    assert cli.main(["export", "grey.safetensors"]) == 0
    assert "tiny.onnx.labels.txt" in capsys.readouterr().out
