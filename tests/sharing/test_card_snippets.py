"""The code that a model card shows runs, and makes Thimble's pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from card_runs import drawn, run
from onnx_snippets import check_pixels
from PIL import Image

from thimble.data.pixels import Fitting, to_input
from thimble.measuring.prediction import predict
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.sharing.card import model_card

__all__ = ["drawn", "run"]


def test_its_python_is_python(run: Path) -> None:
    for card in (model_card("reference"), model_card(run), model_card(run, repo="me/mine")):
        blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        assert len(blocks) == 3
        for block in blocks:
            compile(block, "card", "exec")


def fitted(fitting: Fitting) -> Classifier:
    """A network whose images are fitted so."""
    model = build_model("tiny", num_classes=2, in_channels=fitting.channels, input_size=fitting.size)
    model.fit, model.depth = fitting.fit, fitting.depth
    return model


FITTINGS = [
    *(Fitting((32, 32), channels, fit) for channels in (3, 1) for fit in ("crop", "pad", "squash")),
    Fitting((24, 31), 1, "pad", (100.0, 40_000.0)),
    Fitting((31, 24), 3, "crop", (0.0, 4095.0)),
]


@pytest.mark.parametrize("source", ["reference", *FITTINGS], ids=str)
def test_its_pixels_without_pytorch_are_thimbles(
    source: str | Fitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Turned by EXIF, transparent in every way, grey of 16 bits: what the snippet hands to the session."""
    fitting = source if isinstance(source, Fitting) else Fitting((32, 32))
    model = fitted(source) if isinstance(source, Fitting) else source
    text = model_card(model)
    (snippet,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "onnxruntime" in block)
    check_pixels(snippet, {"classes": ["a", "b"]}, fitting, tmp_path, monkeypatch, capsys)


def test_the_card_says_how_images_are_fitted() -> None:
    card = model_card(fitted(Fitting((24, 31), 1, "pad", (100.0, 40_000.0))))
    assert "A classifier of 31x24 grey images into 2 classes" in card
    assert "| input | grey, one channel, 31x24 (width x height)" in card
    assert "whole, with grey (128) at the borders; resized bicubically |" in card
    assert "| grey of more than 8 bits | values from 100 to 40000 become 0 to 255 |" in card
    assert "squashed to the input's shape" in model_card(fitted(Fitting((32, 32), 3, "squash")))
    assert "grey of more than 8 bits |" not in model_card("reference")


@pytest.mark.parametrize("fitting", [Fitting((32, 32)), Fitting((24, 31), 1, "pad")], ids=str)
def test_its_pixels_with_torch_hub_are_thimbles(
    fitting: Fitting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted(fitting)
    (snippet,) = (
        block for block in re.findall(r"```python\n(.*?)```", model_card(model), re.DOTALL) if "torch.hub" in block
    )
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 77, 4), np.uint8))
    image.save("photo.jpg", format="PNG")
    monkeypatch.setattr(torch.hub, "load", lambda *_: model.eval())
    found: dict[str, Any] = {}
    exec(snippet, found)
    assert predict("photo.jpg", model)[0].top[0][0] == found["model"].classes[found["logits"][0].argmax()]
    assert torch.equal((found["pixels"][0] * 255).round().to(torch.uint8), to_input(image, fitting))
