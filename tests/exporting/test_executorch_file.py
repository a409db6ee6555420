"""The ExecuTorch file, where ExecuTorch is installed; and what is said where it is not."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from exports_shared import seasoned, stand_in

from thimble.checkpoint import load_pretrained
from thimble.config import UserError
from thimble.exporting import executorch_file
from thimble.exporting.network import deploy

needs_executorch = pytest.mark.skipif(importlib.util.find_spec("executorch") is None, reason="no ExecuTorch")


def test_without_executorch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "executorch", None)
    message = r"pip install 'thimble-nets\[executorch\]', or choose --format onnx"
    with pytest.raises(UserError, match=message):
        executorch_file.build(deploy(seasoned(), calibration=stand_in().images[:10]))
    with pytest.raises(UserError, match=message):
        executorch_file.load(tmp_path / "model.pte")


def test_int8_without_training_images_is_refused() -> None:
    with pytest.raises(ValueError, match="no calibration images"):
        executorch_file.build(deploy(seasoned()))


@needs_executorch
def test_it_answers_like_the_network_for_any_number_of_images(tmp_path: Path) -> None:
    deployment = deploy(load_pretrained("reference"), metadata={"a": 1}, calibration=stand_in().images[:100])
    (tmp_path / "model.pte").write_bytes(executorch_file.build(deployment))
    run = executorch_file.load(tmp_path / "model.pte")
    inputs = deployment.inputs(stand_in().images[:100])
    expected = deployment.network(inputs).argmax(1)
    assert (run(inputs).argmax(1) == expected).float().mean() >= 0.97
    assert run(inputs[:1]).argmax(1) == expected[:1]
