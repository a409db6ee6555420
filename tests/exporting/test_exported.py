"""An ONNX file of somebody's: measured if it is what it says, refused in one line if not."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from exported_files import refusal, rewrite
from exports_shared import fitted, save_onnx, seasoned, stand_in
from onnx import TensorProto, helper

from thimble.cli import main as cli
from thimble.data.rows import rows_of
from thimble.data.shapes10 import shapes10
from thimble.errors import RunError
from thimble.exporting.exported import open_exported
from thimble.measuring.evaluation import evaluate
from thimble.measuring.inference import infer
from thimble.storage.find import load_pretrained
from thimble.storage.weights import save_weights


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"preprocess": False}, {"softmax": True}])
def test_it_is_measured_like_the_model_it_was_made_of(options: dict[str, bool], tmp_path: Path) -> None:
    model, drawings = seasoned(), shapes10(60, seed=8)
    model.classes = drawings.classes
    path = save_onnx(tmp_path / "model.onnx", model, **options)
    for flip in (False, True):
        expected = evaluate(model, drawings, flip=flip)
        found = open_exported(path).evaluate(drawings, flip=flip)
        assert found.confusion == expected.confusion
        if not options.get("softmax") or not flip:  # probabilities keep no common scale to average logits in
            assert found.nll == pytest.approx(expected.nll, rel=1e-4)


def test_the_verb_measures_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, drawings = seasoned("tiny"), shapes10(1)
    model.classes, model.data = drawings.classes, {"name": "shapes10"}
    save_weights(tmp_path / "weights.safetensors", model, {"data": model.data})
    path = save_onnx(tmp_path / "model.onnx", model)
    results = []
    for name in (path, tmp_path / "weights.safetensors"):
        assert cli.main(["evaluate", str(name), "--json"]) == 0
        results.append(json.loads(capsys.readouterr().out))
    assert results[0]["confusion"] == results[1]["confusion"]
    assert results[0]["model"] == str(path)


def test_logits_are_those_of_the_model(exported: Path) -> None:
    model = load_pretrained("reference")
    images = stand_in().images[:50]
    expected = infer(model, images, mean=model.mean, std=model.std)
    torch.testing.assert_close(open_exported(exported).infer(images), expected, rtol=1e-4, atol=1e-4)


def test_values_that_are_not_finite(exported: Path, tmp_path: Path) -> None:
    def spoil(proto: Any, _: dict[str, Any]) -> None:
        (scale,) = [one for one in proto.graph.initializer if one.name == "scale"]
        scale.CopyFrom(helper.make_tensor("scale", TensorProto.FLOAT, [3], [float("nan")] * 3))

    model = open_exported(rewrite(exported, tmp_path / "nan.onnx", spoil))
    with pytest.raises(RunError, match="nan or infinite"):
        model.infer(stand_in().images[:2])


@pytest.mark.parametrize("length", [0, 1, 100, 10_000, 300_000, -1])
def test_a_file_cut_short(exported: Path, tmp_path: Path, length: int) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(exported.read_bytes()[:length])
    assert "not a valid ONNX file" in refusal(cut) or "another program" in refusal(cut)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert "model.onnx does not exist: expected a file" in refusal(path)
    torch.save({"weights": torch.zeros(1)}, path)
    assert "not a valid ONNX file" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "is a folder: expected a regular file" in refusal(path)
    path.rmdir()
    os.mkfifo(path)
    assert "is a named pipe: expected a regular file" in refusal(path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(10**10)
    assert "has 10,000,000,000 bytes: expected at most" in refusal(path)


def test_an_onnx_file_of_another_program(exported: Path, tmp_path: Path) -> None:
    def anonymous(proto: Any, _: dict[str, Any]) -> None:
        del proto.metadata_props[:]

    message = refusal(rewrite(exported, tmp_path / "other.onnx", anonymous))
    assert "is an ONNX file from another program: expected a file that thimble export" in message


@pytest.mark.parametrize("key", ["classes", "mean", "std", "input", "output"])
def test_metadata_that_lack_something(exported: Path, tmp_path: Path, key: str) -> None:
    message = refusal(rewrite(exported, tmp_path / "model.onnx", lambda _, metadata: metadata.pop(key)))
    assert "has incomplete metadata" in message
    assert key in message


@pytest.mark.parametrize(
    "values",
    [
        {"classes": []},
        {"classes": 3},
        {"mean": [0.5]},
        {"std": [0.5, 0.5, 0]},
        {"std": "abc"},
        {"mean": [0, 0, float("nan")]},
        {"input": 3},
        {"input": {"type": "uint8", "shape": ["batch"]}},
        {"input": {"type": "uint8", "shape": None}},
        {"input": {"type": "uint8", "shape": ["batch", 20_000, 20_000, 3]}},
        {"input": {"type": "uint8", "shape": ["batch", "32", 32, 3]}},
        {"input": {"type": "uint8", "shape": {"1": 32}}},
        {"classes": "0123456789"},
        {"classes": [["a"]] * 10},
        {"mean": [10**9, 0, 0]},
        {"std": [1e-30, 1, 1]},
        {"fit": "zoom"},
        {"fit": 3},
        {"fit": None},
        {"depth": [255, 0]},
        {"depth": [0, float("inf")]},
        {"depth": "deep"},
        {"input": {"type": "uint8", "shape": ["batch", 32, 32, 1]}},  # with three means
        {"input": {"type": "uint8", "shape": ["batch", 32, 32, 2]}},
    ],
)
def test_metadata_that_cannot_be(exported: Path, tmp_path: Path, values: dict[str, Any]) -> None:
    path = rewrite(exported, tmp_path / "model.onnx", lambda _, metadata: metadata.update(values))
    assert "has incomplete metadata" in refusal(path)


def test_a_file_from_before_there_was_a_fit_crops(exported: Path, tmp_path: Path) -> None:
    def forget(_: Any, metadata: dict[str, Any]) -> None:
        for key in ("fit", "depth", "fitting"):
            del metadata[key]

    model = open_exported(rewrite(exported, tmp_path / "old.onnx", forget))
    assert (model.fit, model.depth) == ("crop", None)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"preprocess": False}, {"softmax": True}])
def test_a_file_of_grey_images_is_measured_like_its_model(
    options: dict[str, bool], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = seasoned("thimble-78k", num_classes=10, in_channels=1, input_size=(96, 64))
    model.classes, model.fit, model.depth = shapes10(1).classes, "squash", (5.0, 4095.0)
    path = save_onnx(tmp_path / "grey.onnx", model, **options)
    found = open_exported(path)
    assert (found.input_size, found.fit, found.depth) == ((1, 96, 64), "squash", (5.0, 4095.0))
    drawings = shapes10(30, seed=8)
    images = fitted(drawings.images, model)
    grey = dataclasses.replace(drawings, images=images, mean=model.mean, std=model.std)
    assert found.evaluate(grey).confusion == evaluate(model, grey).confusion
    logits = infer(model, images, mean=model.mean, std=model.std)
    if not options.get("softmax"):
        torch.testing.assert_close(found.infer(images), logits, rtol=1e-4, atol=1e-4)
    mapped = dataclasses.replace(grey, images=rows_of(images, torch.arange(len(images))))
    assert found.evaluate(mapped).confusion == found.evaluate(grey).confusion
    assert cli.main(["evaluate", str(path), "--data", "shapes10"]) == 2
    assert "(channels, height, width) = (1, 96, 64)" in capsys.readouterr().err


def test_metadata_of_another_network(exported: Path, tmp_path: Path) -> None:
    def three(_: Any, metadata: dict[str, Any]) -> None:
        metadata["classes"] = ["a", "b", "c"]

    def larger(_: Any, metadata: dict[str, Any]) -> None:
        metadata["input"]["shape"] = ["batch", 64, 64, 3]

    def bare(_: Any, metadata: dict[str, Any]) -> None:
        metadata["input"] = {"type": "float32", "shape": ["batch", 3, 32, 32]}

    path = tmp_path / "model.onnx"
    assert "returns tensor(float) ['batch', 10]: expected ['batch', 3]" in refusal(rewrite(exported, path, three))
    assert "takes tensor(uint8) ['batch', 32, 32, 3]: expected tensor(uint8) ['batch', 64, 64, 3]" in refusal(
        rewrite(exported, path, larger)
    )
    assert "expected tensor(float) ['batch', 3, 32, 32]" in refusal(rewrite(exported, path, bare))


@pytest.mark.slow
def test_a_network_of_another_input_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = seasoned()
    model.classes, model.input_size, model.data = shapes10(1).classes, (3, 48, 48), {"name": "shapes10"}
    path = save_onnx(tmp_path / "large.onnx", model)
    assert open_exported(path).batch == 227  # 64 channels of it, in 128 MB
    assert cli.main(["evaluate", str(path)]) == 2
    error = capsys.readouterr().err
    assert "shapes10 has images of (3, 32, 32)" in error
    assert "(channels, height, width) = (3, 48, 48)" in error
    assert error.count("\n") == 1


def test_other_verbs_say_that_it_is_no_weights_file(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("predict", "report", "summary"):
        options = ["photo.png", "--model", str(exported)] if verb == "predict" else [str(exported)]
        assert cli.main([verb, *options]) == 2
        assert "is not a weights file, but perhaps an exported model" in capsys.readouterr().err


def test_tensors_in_another_file_are_not_read(exported: Path, tmp_path: Path) -> None:
    """ONNX lets a file point to others, /etc/passwd among them."""
    (tmp_path / "secret").write_bytes(b"\0" * 12)

    def point(proto: Any, _: dict[str, Any]) -> None:
        (scale,) = [one for one in proto.graph.initializer if one.name == "scale"]
        scale.ClearField("raw_data")
        scale.data_location = TensorProto.EXTERNAL
        entry = scale.external_data.add()
        entry.key, entry.value = "location", str(tmp_path / "secret")

    assert "its tensor 'scale' is in another file" in refusal(rewrite(exported, tmp_path / "model.onnx", point))
