"""The .tflite file: the integer network in LiteRT and on TensorFlow Lite for Microcontrollers, and what it says."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exports_shared import fitted, season, seasoned
from torch import Tensor, nn

from thimble.data.shapes10 import shapes10
from thimble.errors import RunError, UserError
from thimble.exporting import onnx_file
from thimble.exporting.deployment import Deployment, deploy
from thimble.exporting.export import export
from thimble.exporting.integer_graph import read
from thimble.exporting.tflite import file as tflite_file
from thimble.exporting.tflite.layers import Range
from thimble.models.classifier import Classifier
from thimble.storage.find import load_pretrained

needs_litert = pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="no LiteRT")
needs_tflm = pytest.mark.skipif(importlib.util.find_spec("tflite_micro") is None, reason="no tflite-micro")
NAMES = ("a cat", "Ä\nb", *"cdefghij")


def windows() -> Classifier:
    """A network with every kind of window: padded on one side, grouped, dilated, pooled, even."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = {
            "stem": nn.Sequential(nn.Conv2d(3, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            "twice": nn.Sequential(nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            "groups": nn.Sequential(
                nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4), nn.BatchNorm2d(16), nn.ReLU()
            ),
            "pool": nn.Sequential(nn.MaxPool2d(3, 2, padding=1), nn.Conv2d(16, 12, 2), nn.BatchNorm2d(12)),
            "wide": nn.Sequential(nn.Conv2d(12, 12, (1, 5), padding=(0, 2)), nn.MaxPool2d(2)),
            "head": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 10, 1)),
        }
        model = Classifier(layers, name="windows", arguments={"num_classes": 10}, input_size=(3, 32, 32))
        season(model)
    return model.eval()


MODELS = {
    "reference": lambda: load_pretrained("reference"),
    "thimble-78k": lambda: load_pretrained("thimble-78k"),
    "sprint": lambda: seasoned("sprint"),
    "grey": lambda: seasoned("thimble-78k", in_channels=1, input_size=(28, 20)),
    "stem": lambda: seasoned("thimble-97k", input_size=(96, 96)),
    "windows": windows,
}


@cache
def deployed(name: str, pixels: str = "uint8") -> Deployment:
    model = MODELS[name]()
    images = fitted(shapes10(40, seed=8).images, model)
    return deploy(model, metadata={"model": name, "classes": NAMES}, calibration=images, pixels=pixels)


@cache
def content(name: str, pixels: str = "uint8") -> bytes:
    return tflite_file.build(deployed(name, pixels))


def written(folder: Path, name: str, pixels: str = "uint8") -> Path:
    path = folder / f"{name}-{pixels}.tflite"
    path.write_bytes(content(name, pixels))
    return path


def images_of(name: str, count: int = 40) -> Tensor:
    deployment = deployed(name)
    return deployment.inputs(fitted(shapes10(count, seed=9).images, MODELS[name]()))


def onnx_logits(name: str, folder: Path, inputs: Tensor) -> Tensor:
    path = folder / "twin.onnx"
    path.write_bytes(onnx_file.build_int8(deployed(name)))
    return onnx_file.load(path)(inputs)


@needs_litert
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_its_logits_are_onnxruntimes_rounded_to_int8(name: str, tmp_path: Path) -> None:
    inputs = images_of(name)
    found, expected = tflite_file.load(written(tmp_path, name))(inputs), onnx_logits(name, tmp_path, inputs)
    step = Range.of(tflite_file.calibrated_logits(deployed(name))).scale
    assert found.dtype == torch.float32
    # Rounding is up to half a step; what a layer rounds otherwise, now and then, may be another few.
    difference = (found - expected.clamp(float(found.min()), float(found.max()))).abs()
    assert float(difference.quantile(0.9)) <= step
    assert float(difference.max()) <= 5 * step
    assert len({tuple(row) for row in found.tolist()}) > 1


@needs_litert
@pytest.mark.slow
@pytest.mark.parametrize("name", ["reference", "grey"])
def test_int8_pixels_give_the_same_answers(name: str, tmp_path: Path) -> None:
    inputs = images_of(name)
    assert inputs.dtype == torch.uint8
    one, other = (tflite_file.load(written(tmp_path, name, pixels)) for pixels in ("uint8", "int8"))
    assert torch.equal(one(inputs), other(inputs))
    assert torch.equal(one(inputs[:1]), one(inputs)[:1])


@needs_litert
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
def test_the_pixels_that_it_normalises_are_those_of_the_integer_network(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for name in ("reference", "grey"):
        deployment = deployed(name)
        graph = read(onnx_file.build_int8(deployment))
        *_, height, width, channels = deployment.example(1).shape
        pixels = np.resize(np.arange(256, dtype=np.uint8), height * width).reshape(1, height, width, 1)
        interpreter = Interpreter(model_content=content(name), experimental_preserve_all_tensors=True)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels.repeat(channels, 3))
        interpreter.invoke()
        (tensor,) = (one for one in interpreter.get_tensor_details() if one["name"] == graph.image.name)
        found = interpreter.get_tensor(tensor["index"]).reshape(-1, channels)[:256].astype(np.int16) + 128
        assert abs(found.T - graph.table).max() <= (0 if name == "reference" else 1)  # a tie may round otherwise


@needs_tflm
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_microcontrollers_interpreter_answers_alike(name: str, tmp_path: Path) -> None:
    from tflite_micro.python.tflite_micro import runtime

    inputs = images_of(name, 20)
    expected = onnx_logits(name, tmp_path, inputs)
    step = Range.of(tflite_file.calibrated_logits(deployed(name))).scale
    interpreter = runtime.Interpreter.from_bytes(content(name, "int8"), arena_size=2_000_000)
    rows = []
    for image in inputs.numpy():
        interpreter.set_input((image.astype(np.int16) - 128).astype(np.int8)[None], 0)
        interpreter.invoke()
        rows.append(interpreter.get_output(0)[0])
    details: dict[str, Any] = interpreter.get_output_details(0)
    scale, zero_point = (
        details["quantization_parameters"]["scales"][0],
        details["quantization_parameters"]["zero_points"][0],
    )
    assert scale == pytest.approx(step)
    found = (np.array(rows, dtype=np.float32) - zero_point) * scale
    bounded = expected.numpy().clip(found.min(), found.max())
    assert np.quantile(abs(found - bounded), 0.9) <= 3 * step


@pytest.mark.slow
def test_the_same_network_makes_the_same_file() -> None:
    assert tflite_file.build(deployed("reference")) == content("reference")
    assert content("reference") != content("reference", "int8")
    assert len(content("reference")) < 180_000


@pytest.mark.slow
def test_the_names_of_the_classes_are_in_it_as_tools_expect_them(tmp_path: Path) -> None:
    with zipfile.ZipFile(written(tmp_path, "reference")) as archive:
        assert archive.namelist() == ["labels.txt"]
        lines = archive.read("labels.txt").decode().split("\n")
    assert lines == ["a cat", "Ä\\nb", *"cdefghij", ""]


@needs_litert
@pytest.mark.slow
def test_its_metadata_are_in_it(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content("reference"), 0)
    buffers = {entry.name.decode(): bytes(model.buffers[entry.buffer].data) for entry in model.metadata}
    assert json.loads(buffers["thimble"])["classes"] == list(NAMES)
    assert buffers["TFLITE_METADATA"][4:8] == b"M001"
    assert b"labels.txt" in buffers["TFLITE_METADATA"]
    assert model.description == b"reference, made by Thimble"
    assert [code.builtinCode for code in model.operatorCodes] == [
        code.deprecatedBuiltinCode for code in model.operatorCodes
    ]
    (signature,) = model.signatureDefs
    assert [one.name for one in (*signature.inputs, *signature.outputs)] == [b"images", b"logits"]


@needs_litert
@pytest.mark.slow
def test_it_is_exported_with_its_check(tmp_path: Path) -> None:
    result = export("reference", "tflite", tmp_path / "a.tflite", pixels="int8", data=_drawings())
    assert result.parity.twin_agreement is not None
    assert result.parity.twin_agreement >= 0.99
    assert result.metadata["input"]["type"] == "int8"
    assert "less 128" in result.metadata["input"]["values"]
    assert (tmp_path / "a.tflite").stat().st_size == result.num_bytes


def _drawings() -> Any:
    model, drawings = load_pretrained("reference"), shapes10(100, seed=3)
    from thimble.data.dataset import ImageDataset

    data = ImageDataset("drawings", drawings.images, drawings.labels, model.classes, model.mean, model.std)
    return data, data


def test_bad_wishes_are_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--format c always takes uint8 pixels: use --pixels with --format tflite"):
        export("reference", "c", pixels="int8")
    with pytest.raises(UserError, match="pixels"):
        export("reference", "tflite", pixels="float")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--format tflite always takes pixels and returns logits: drop --softmax"):
        export("reference", "tflite", softmax=True)
    with pytest.raises(UserError, match="use onnx instead"):
        tflite_file.build(deploy(seasoned(), softmax=True))


@needs_litert
def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for number, bytes_ in enumerate((b"", b"nothing of the kind", b"\x1c\0\0\0TFL3" + bytes(100))):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(bytes_)
        with pytest.raises(RunError, match=r"is not a \.tflite file that LiteRT takes"):
            tflite_file.load(path)


def test_without_litert_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    message = r"ai_edge_litert, which is not installed: pip install 'thimble-nets\[tflite\]'"
    with pytest.raises(UserError, match=message):
        tflite_file.load(tmp_path / "model.tflite")
    with pytest.raises(UserError, match=message):
        export("reference", "tflite")


def test_the_range_of_the_logits_holds_them_and_zero() -> None:
    for logits in (np.array([[-3.0, 9.0]]), np.array([[2.0, 5.0]]), np.array([[-5.0, -1.0]]), np.zeros((1, 2))):
        found = Range.of(logits)
        ends = (np.array([-128, 127]) - found.zero_point) * found.scale
        assert -128 <= found.zero_point <= 127
        assert ends[0] <= logits.min() + found.scale
        assert ends[1] >= logits.max() - found.scale
