"""The ExecuTorch file, where ExecuTorch is installed; and what is said where it is not."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from exports_shared import fitted, seasoned, stand_in
from torch import nn

from thimble.data.shapes10 import shapes10
from thimble.errors import UserError
from thimble.exporting import executorch_file
from thimble.exporting.deployment import Deployment, deploy
from thimble.models.classifier import Classifier
from thimble.storage.find import load_pretrained

needs_executorch = pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason="no ExecuTorch")


def test_without_executorch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "executorch", None)
    message = r"executorch, which is not installed: pip install 'thimble-nets\[executorch\]'"
    with pytest.raises(UserError, match=message):
        executorch_file.build(deploy(seasoned(), calibration=stand_in().images[:10]))
    with pytest.raises(UserError, match=message):
        executorch_file.load(tmp_path / "model.pte")


def test_int8_without_training_images_is_refused() -> None:
    with pytest.raises(ValueError, match="no calibration images"):
        executorch_file.build(deploy(seasoned()))


def tiny(pool: nn.Module) -> Classifier:
    """A network that ExecuTorch is done with in a moment."""
    layers = {"convolution": nn.Conv2d(3, 8, 3, stride=2), "pool": pool, "logits": nn.Conv2d(8, 10, 1)}
    return Classifier(layers, name="tiny", arguments={"num_classes": 10}).eval()


@pytest.fixture(scope="module")
def shipped() -> Deployment:
    return deploy(load_pretrained("reference"), metadata={"a": "é"}, calibration=stand_in().images[:100])


@pytest.fixture(scope="module")
def file(shipped: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("executorch") / "model.pte"
    path.write_bytes(executorch_file.build(shipped))
    return path


@needs_executorch
def test_it_answers_like_the_network_for_any_number_of_images(shipped: Deployment, file: Path) -> None:
    run = executorch_file.load(file)
    inputs = shipped.inputs(stand_in().images[:100])  # more than go into it at a time
    expected = shipped.network(inputs)
    assert (run(inputs).argmax(1) == expected.argmax(1)).float().mean() >= 0.97
    for number in (1, 3, executorch_file.MAX_BATCH):
        torch.testing.assert_close(run(inputs[:number]), run(inputs)[:number], rtol=0, atol=1e-5)


@needs_executorch
def test_it_takes_any_number_of_grey_images_too(tmp_path: Path) -> None:
    model = seasoned("tiny", in_channels=1, input_size=(28, 20))
    images = fitted(shapes10(70).images, model)
    deployment = deploy(model, calibration=images)
    (tmp_path / "grey.pte").write_bytes(executorch_file.build(deployment))
    run, inputs = executorch_file.load(tmp_path / "grey.pte"), deployment.inputs(images)
    torch.testing.assert_close(run(inputs), deployment.network(inputs), rtol=0, atol=0.01)
    for number in (1, 3, executorch_file.MAX_BATCH):
        torch.testing.assert_close(run(inputs[:number]), run(inputs)[:number], rtol=0, atol=1e-5)


@needs_executorch
def test_it_is_small_and_says_what_it_is(file: Path) -> None:
    from executorch.runtime import Runtime

    assert file.stat().st_size < 220_000
    program = Runtime.get().load_program(file)
    (said,) = program.load_method("thimble").execute([])
    assert json.loads(said) == {"a": "é"}


@needs_executorch
def test_it_gives_probabilities_of_normalised_images_where_asked(tmp_path: Path) -> None:
    bare = deploy(tiny(nn.AdaptiveAvgPool2d(1)), preprocess=False, softmax=True, calibration=stand_in().images[:100])
    (tmp_path / "model.pte").write_bytes(executorch_file.build(bare))
    inputs = bare.inputs(stand_in().images[:5])
    probabilities = executorch_file.load(tmp_path / "model.pte")(inputs)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5))
    torch.testing.assert_close(probabilities, bare.network(inputs), rtol=0, atol=0.1)


ALL_OF_IT = """
import logging, pathlib, sys
from torch import nn
from thimble.data.shapes10 import shapes10
from thimble.exporting import executorch_file
from thimble.exporting.deployment import deploy
from thimble.models.classifier import Classifier

path = pathlib.Path(sys.argv[1])
layers = {"convolution": nn.Conv2d(3, 10, 3, stride=2), "pool": nn.AdaptiveAvgPool2d(1)}
model = Classifier(layers, name="tiny", arguments={"num_classes": 10}).eval()
deployment = deploy(model, calibration=shapes10(10).images)
path.write_bytes(executorch_file.build(deployment))
executorch_file.load(path)(deployment.example())
assert not logging.root.handlers and logging.root.level == logging.WARNING
"""


@needs_executorch
def test_nothing_is_said_and_nobodys_logs_change(tmp_path: Path) -> None:
    """In a process of its own: what importing says and does, and what the runtime says, is once a process."""
    command = [sys.executable, "-c", ALL_OF_IT, str(tmp_path / "model.pte")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@needs_executorch
def test_a_layer_that_executorch_lacks_is_refused_in_one_line() -> None:
    # A teacher ends so, and takes half a minute.
    model = tiny(nn.AdaptiveMaxPool2d(1))
    with pytest.raises(UserError, match=r"^ExecuTorch has no aten\.adaptive_max_pool2d for .*--format onnx-int8$"):
        executorch_file.build(deploy(model, calibration=stand_in().images[:4]))
