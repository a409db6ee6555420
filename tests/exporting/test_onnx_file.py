"""ONNX files: what they take, give and say; small, whole, and of use without Thimble."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exports_shared import seasoned, stand_in
from onnx import numpy_helper

from thimble.data.shapes10 import shapes10
from thimble.exporting import onnx_file
from thimble.exporting.deployment import Deployment, deploy
from thimble.exporting.formats import FORMATS
from thimble.storage.find import load_pretrained

IMAGES = shapes10(20, seed=5).images


@pytest.fixture(scope="module")
def shipped() -> Deployment:
    model = load_pretrained("reference")
    metadata = {"model": "reference", "classes": list(model.classes)}
    return deploy(model, metadata=metadata, calibration=stand_in().images[:200])


@pytest.fixture(scope="module")
def int8(shipped: Deployment) -> bytes:
    return onnx_file.build_int8(shipped)


def run(content: bytes, deployment: Deployment, folder: Path) -> torch.Tensor:
    (folder / "model.onnx").write_bytes(content)
    return onnx_file.load(folder / "model.onnx", threads=1)(deployment.inputs(IMAGES))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reference", "thimble-78k", "teacher-2m"])
def test_every_model_gives_what_it_gives_in_pytorch(name: str, tmp_path: Path) -> None:
    deployment = deploy(seasoned(name))
    expected = deployment.network(deployment.inputs(IMAGES))
    content = onnx_file.build_float(deployment)
    assert onnx.load_from_string(content).opset_import[0].version == 13
    found = run(content, deployment, tmp_path)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(("preprocess", "softmax"), [(True, True), (False, False)])
def test_preprocessing_and_softmax_are_inside_or_not(preprocess: bool, softmax: bool, tmp_path: Path) -> None:
    deployment = deploy(seasoned(), preprocess=preprocess, softmax=softmax)
    content = onnx_file.build_float(deployment)
    graph = onnx.load_from_string(content).graph
    kind = graph.input[0].type.tensor_type
    assert kind.elem_type == (onnx.TensorProto.UINT8 if preprocess else onnx.TensorProto.FLOAT)
    sizes = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
    assert sizes == (["batch", 32, 32, 3] if preprocess else ["batch", 3, 32, 32])
    assert [one.name for one in graph.input] == ["images"]
    assert [one.name for one in graph.output] == ["probabilities" if softmax else "logits"]
    found = run(content, deployment, tmp_path)
    torch.testing.assert_close(found, deployment.network(deployment.inputs(IMAGES)), rtol=1e-4, atol=1e-5)


def test_the_files_are_whole_and_say_what_they_are(shipped: Deployment, int8: bytes) -> None:
    for content in (onnx_file.build_float(shipped), int8):
        proto = onnx.load_from_string(content)
        onnx.checker.check_model(proto, full_check=True)
        assert {entry.key: json.loads(entry.value) for entry in proto.metadata_props} == {"thimble": shipped.metadata}
        assert proto.producer_name == "thimble"
        assert (proto.ir_version, [(each.domain, each.version) for each in proto.opset_import]) == (7, [("", 13)])
        assert not any(node.doc_string or node.metadata_props for node in proto.graph.node)
        assert b"/src/thimble" not in content
        assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}


@pytest.mark.slow
def test_the_same_weights_make_the_same_file(shipped: Deployment, int8: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    content = onnx_file.build_float(shipped)
    monkeypatch.setattr(onnx_file, "_traced", vars(onnx_file)["_traced"].__wrapped__)  # anew, not from a folder
    assert onnx_file.build_float(shipped) == content
    assert onnx_file.build_int8(shipped) == int8


def test_an_int8_file_has_int8_weights_with_a_scale_per_channel(int8: bytes) -> None:
    assert len(int8) <= 220_000
    graph = onnx.load_from_string(int8).graph
    tensors = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    weights = {node.input[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    matrices = [name for name in weights if name in tensors and tensors[name].dtype == np.int8]
    assert len(matrices) == 16
    for name in matrices:
        assert tensors[weights[name].input[1]].shape in ((len(tensors[name]),), ())
        assert not tensors[weights[name].input[2]].any()  # symmetric
    parameters = load_pretrained("reference").parameters()
    assert sum(tensors[name].size for name in matrices) == sum(one.numel() for one in parameters if one.ndim > 1)
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) == 17
    # Normalisation stays in float32: in 256 steps it would be a second rounding.
    assert {node.op_type for node in graph.node} >= {"Mul", "Add", "Transpose"}


def test_an_int8_file_answers_like_the_network(shipped: Deployment, int8: bytes, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    path.write_bytes(int8)
    data = stand_in()
    inputs = shipped.inputs(data.images[200:400])
    found, expected = onnx_file.load(path)(inputs), shipped.network(inputs)
    assert (found.argmax(1) == expected.argmax(1)).float().mean() >= 0.99
    assert 0 < (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_the_ranges_are_those_of_the_calibration_images(shipped: Deployment, int8: bytes) -> None:
    grey = torch.full((10, 3, 32, 32), 128, dtype=torch.uint8)
    other = deploy(load_pretrained("reference"), metadata=shipped.metadata, calibration=grey)
    assert onnx_file.build_int8(other) != int8


def test_int8_without_training_images_is_refused() -> None:
    with pytest.raises(ValueError, match="no calibration images"):
        onnx_file.build_int8(deploy(seasoned()))


# What a product does: no Thimble, no PyTorch, pixels in, logits out.
PRODUCT = """
import json, sys
sys.modules["thimble"] = sys.modules["torch"] = None
import numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
metadata = json.loads(session.get_modelmeta().custom_metadata_map["thimble"])
(logits,) = session.run(None, {"images": numpy.load(sys.argv[2])})
print(json.dumps([metadata["classes"][row.argmax()] for row in logits]))
"""


def test_it_runs_in_a_fresh_process_without_thimble(shipped: Deployment, int8: bytes, tmp_path: Path) -> None:
    images = stand_in().images[:5]
    numpy_file = tmp_path / "images.npy"
    np.save(numpy_file, shipped.inputs(images).numpy())
    expected = [shipped.metadata["classes"][label] for label in stand_in().labels[:5]]
    for content in (onnx_file.build_float(shipped), int8):
        (tmp_path / "model.onnx").write_bytes(content)
        command = [sys.executable, "-c", PRODUCT, str(tmp_path / "model.onnx"), str(numpy_file)]
        result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert json.loads(result.stdout) == expected


def test_sessions_ask_for_exact_sums_where_they_might_overflow() -> None:
    """Whether they would depends on the processor; ``test_integer_graph`` fails on one without VNNI if they do."""
    (option,) = FORMATS["onnx-int8"].needs["onnx"]["session_config"].items()
    assert onnx_file.session_options().get_session_config_entry(option[0]) == option[1] == "1"
