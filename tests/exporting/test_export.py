"""From MODEL to a file: checked, whole, or not there at all; and the verb."""

from __future__ import annotations

import errno
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from exports_shared import StandIn, deployments_of_int8, seasoned, stand_in

import thimble
from thimble.cli import main as cli
from thimble.data.cifar10 import CLASSES, Cifar10
from thimble.data.shapes10 import shapes10
from thimble.data.sources import SOURCES
from thimble.errors import RunError, UserError
from thimble.exporting import onnx_file
from thimble.exporting.deployment import Deployment
from thimble.exporting.export import export
from thimble.exporting.exported import open_exported
from thimble.storage.find import load_described
from thimble.storage.weights import save_weights


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CIFAR-10 is on disk, and is the stand-in; the current folder is the test's."""
    monkeypatch.setitem(SOURCES, "cifar10", "exports_shared:StandIn")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THIMBLE_DATA", str(tmp_path / "empty"))
    monkeypatch.chdir(tmp_path)


def test_onnx_is_compared_and_measured_on_the_test_set(data: None) -> None:
    result = thimble.export("reference")
    assert result.output == Path("reference.onnx")
    assert result.output.stat().st_size == result.num_bytes
    parity = result.parity
    assert (parity.images, parity.num_images, parity.test_images) == ("cifar10", 400, 400)
    assert parity.max_difference <= 1e-4
    assert (parity.agreement, parity.accuracy, parity.pytorch_accuracy) == (1, 1, 1)
    assert parity.twin_agreement is None


@pytest.mark.slow
def test_what_a_file_says_of_itself(data: None, tmp_path: Path) -> None:
    _, metadata, sha256 = load_described("reference")
    export("reference", output=tmp_path / "some" / "model.onnx", softmax=True)
    proto = onnx.load(tmp_path / "some" / "model.onnx")
    said = json.loads(proto.metadata_props[0].value)
    assert said["classes"] == list(CLASSES)
    assert (said["mean"], said["std"]) == (metadata["mean"], metadata["std"])
    assert said["input"]["shape"] == ["batch", 32, 32, 3]
    assert said["input"]["type"] == "uint8"
    assert said["output"] == "probabilities"
    assert said["licence"] == "MIT"
    assert said["weights_sha256"] == sha256
    assert said["test"]["accuracy"] == metadata["metrics"]["test"]["accuracy"]


@pytest.mark.slow
def test_int8_is_calibrated_on_training_images_and_smaller(data: None) -> None:
    result = export("reference", "onnx-int8")
    assert result.output == Path("reference-int8.onnx")
    assert result.num_bytes <= 220_000
    assert result.parity.agreement >= 0.99
    assert result.parity.max_difference > 1e-4
    assert result.parity.drop == pytest.approx(0, abs=0.005)


@pytest.mark.slow
def test_calibration_never_sees_a_test_image(monkeypatch: pytest.MonkeyPatch, data: None) -> None:
    seen = deployments_of_int8(monkeypatch)
    export("reference", "onnx-int8")
    rows = {image.numpy().tobytes() for image in StandIn().load("train").images}
    images = seen[-1].calibration
    assert images is not None
    assert len(images) == 600
    assert {image.numpy().tobytes() for image in images} == rows


@pytest.mark.slow
def test_without_the_data_drawings_are_compared_and_no_accuracy_is_told(no_data: None) -> None:
    result = export("reference")
    parity = result.parity
    assert (parity.images, parity.num_images) == ("shapes10", 1_000)
    assert result.untested == "CIFAR-10 is not on this disk"
    assert (parity.accuracy, parity.pytorch_accuracy, parity.drop) == (None, None, None)


@pytest.mark.slow
def test_a_network_of_other_classes_and_size(no_data: None, tmp_path: Path) -> None:
    model = seasoned(num_classes=3)
    model.classes, model.input_size = ("salt", "pepper", "mustard"), (3, 24, 16)
    save_weights(tmp_path / "spices.safetensors", model, {"metrics": "none"})
    result = export(tmp_path / "spices.safetensors", preprocess=False)
    assert result.metadata["input"]["shape"] == ["batch", 3, 24, 16]
    assert result.metadata["licence"] == "not stated"
    assert result.metadata["test"] is None
    assert result.untested is not None
    assert "records no dataset" in result.untested
    assert open_exported(result.output).input_size == (3, 24, 16)
    with pytest.raises(UserError, match=r"spices\.safetensors records no dataset: name its data with --data"):
        export(tmp_path / "spices.safetensors", "onnx-int8")


@pytest.mark.slow
def test_a_network_of_the_drawings_is_measured_on_them(no_data: None, tmp_path: Path) -> None:
    model, drawings = seasoned("tiny"), shapes10(1)
    model.classes, model.mean, model.std = drawings.classes, drawings.mean, drawings.std
    save_weights(tmp_path / "shapes.safetensors", model, {"data": {"name": "shapes10"}})
    assert export(tmp_path / "shapes.safetensors").parity.test_images == 2_000


def break_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``onnx`` give the logits of another network."""

    def build(_: Deployment) -> bytes:
        from thimble.exporting.deployment import deploy

        return of_a_network(deploy(seasoned()))

    of_a_network = onnx_file.build_float
    monkeypatch.setattr(onnx_file, "build_float", build)


@pytest.mark.slow
def test_a_file_that_fails_its_check_is_not_written(
    no_data: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_format(monkeypatch)
    with pytest.raises(RunError, match="nothing was written"):
        export("reference")
    (tmp_path / "old.onnx").write_text("old")
    assert cli.main(["export", "reference", "--output", "old.onnx"]) == 1
    assert capsys.readouterr().err.startswith("thimble: the exported file's outputs differ from PyTorch's by up to ")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old.onnx": "old"}


@pytest.mark.slow
def test_a_full_disk(no_data: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("thimble.system.files.os.fsync", full)
    with pytest.raises(RunError, match="No space left on device; free some space"):
        export("reference")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_a_project_is_a_folder_with_three_test_images(
    data: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = thimble.export("reference", "cmake")
    files = [path for path in result.output.rglob("*") if path.is_file()]
    assert result.output == Path("reference-cmake")
    assert result.num_bytes == sum(path.stat().st_size for path in files)
    assert result.labels in files
    assert result.labels.read_text() == "".join(f"{name}\n" for name in CLASSES)
    assert result.parity.twin_agreement is not None
    assert result.parity.twin_agreement >= 0.99
    text = (result.output / "src" / "reference_test.c").read_text()
    images, _, logits = text.partition("_test_logits[3][10] = ")
    pixels = [int(value) for value in re.findall(r"\d+(?=,)", images.partition("3072] = ")[2])]
    test = stand_in().subset(torch.arange(600, 1_000))
    found = [
        int((test.images.permute(0, 2, 3, 1).flatten(1) == torch.tensor(one)).all(1).nonzero()[0])
        for one in torch.tensor(pixels).reshape(3, 3_072).tolist()
    ]
    assert len({int(test.labels[index]) for index in found}) == 3  # test images of three classes
    rows = torch.tensor([float(value) for value in re.findall(r"(-?[\d.]+(?:e-?\d+)?)f,", logits)]).reshape(3, 10)
    assert rows.argmax(1).tolist() == [int(test.labels[index]) for index in found]
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["export", "reference", "--format", "cmake"]) == 2
    error = capsys.readouterr().err
    assert error == "thimble: cannot write reference-cmake: it is a folder with files; expected a new or an empty one\n"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["reference", "--format", "zephyr", "--output", "model.pt"],
            "it is a file; expected the name of a new folder",
        ),
        (["reference", "--format", "esp-idf", "--output", "model.pt/project"], "model.pt is not a folder"),
        (["reference", "--format", "cmake", "--softmax"], "--format cmake always takes pixels and returns logits"),
        (
            ["reference", "--format", "c", "--softmax"],
            "--format c always takes pixels and returns logits: drop --softmax",
        ),
        (["reference", "--format", "c", "--no-preprocess"], "drop --no-preprocess"),
        (["reference", "--format", "keras"], "invalid choice 'keras'"),
        (["reference", "--output", "."], "--output . is a folder: expected a file name, such as reference.onnx"),
        (["alexnet"], "no model 'alexnet'"),
        (["cut.safetensors"], "cut short or damaged"),
        (["model.pt"], "a pickled PyTorch file, which could run any code and is never loaded"),
        (["model.onnx"], "not a weights file, but perhaps an exported model"),
        (["other.safetensors"], "lacks the tensor c1.0.weight"),
    ],
)
def test_the_users_mistakes_are_one_line_and_exit_code_2(
    options: list[str], message: str, no_data: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_weights(tmp_path / "whole.safetensors", seasoned(), {})
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-100])
    torch.save({"weights": torch.zeros(1)}, tmp_path / "model.pt")
    (tmp_path / "model.onnx").write_bytes(b"\x08\n\x12\x07thimble")
    model = seasoned()
    model.get_submodule("c1").add_module("0", torch.nn.Identity())
    save_weights(tmp_path / "other.safetensors", model, {})
    before = sorted(tmp_path.iterdir())
    assert cli.main(["export", *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("thimble: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(tmp_path.iterdir()) == before


def test_int8_without_its_training_images_says_how_to_get_them(
    no_data: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("thimble.data.cifar10.SOURCES", ())
    assert cli.main(["export", "reference", "--format", "onnx-int8"]) == 2
    assert "go online and run again, or name a folder" in capsys.readouterr().err
    assert not (tmp_path / "reference-int8.onnx").exists()


def test_what_a_format_needs_is_asked_before_the_data(no_data: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cifar10, "load", None)  # whoever calls it fails
    monkeypatch.setitem(sys.modules, "executorch", None)
    with pytest.raises(UserError, match=r"^--format executorch needs executorch, .*'thimble-nets\[executorch\]'$"):
        export("reference", "executorch")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError, match="set CC"):
        export("reference", "c")


@pytest.mark.slow
def test_the_verb_prints_the_comparison(data: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "reference"]) == 0
    out = capsys.readouterr().out
    assert "reference.onnx: 605," in out
    assert "same predicted class" in out
    assert "100.00%" in out
    assert cli.main(["export", "reference", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["parity"]["agreement"] == 1
    assert result["metadata"]["model"] == "reference"
