"""The code that a model card shows runs, and makes Thimble's pixels."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from card_runs import drawn, run
from PIL import Image

from thimble.data.image_files import read_image
from thimble.data.pixels import Fitting, to_input
from thimble.measuring.prediction import predict
from thimble.sharing.card import model_card
from thimble.storage.find import load_pretrained

__all__ = ["drawn", "run"]


def test_its_python_is_python(run: Path) -> None:
    for card in (model_card("reference"), model_card(run), model_card(run, repo="me/mine")):
        blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        assert len(blocks) == 3
        for block in blocks:
            compile(block, "card", "exec")


def test_its_pixels_without_pytorch_are_thimbles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Turned by EXIF, transparent in every way, grey of 16 bits: what the snippet hands to the session."""
    text = model_card("reference")
    (snippet,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "onnxruntime" in block)
    seen: list[Any] = []

    class Session:
        def __init__(self, path: str) -> None:
            assert path.endswith(".onnx")

        def get_modelmeta(self) -> SimpleNamespace:
            return SimpleNamespace(custom_metadata_map={"thimble": json.dumps({"classes": ["a", "b"]})})

        def run(self, outputs: list[str] | None, inputs: dict[str, Any]) -> list[Any]:
            seen.append(inputs["images"])
            return [np.array([[0.0, 1.0]])]

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    monkeypatch.chdir(tmp_path)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 77, 4), np.uint8))
    deep = Image.fromarray(np.random.default_rng(0).integers(0, 65_536, (50, 77), np.uint16))
    palette = noise.convert("RGB").quantize(16)
    images: list[tuple[Image.Image, dict[str, Any]]] = [
        *((noise.convert(mode), {}) for mode in ("RGBA", "LA", "RGB", "L", "1", "P")),
        (deep, {}),
        (palette, {"transparency": bytes(range(0, 256, 16))}),
        (noise.convert("RGB"), {"transparency": (1, 2, 3)}),
    ]
    for number, (image, options) in enumerate(images):
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        image.save("photo.jpg", format="PNG", exif=exif, **options)
        exec(snippet, {})
        assert capsys.readouterr().out == "b\n"
        assert seen[-1].dtype == np.uint8
        assert np.array_equal(seen[-1][0], to_input(read_image("photo.jpg"), Fitting((32, 32))).permute(1, 2, 0))
    assert len(seen) == 9


def test_its_pixels_with_torch_hub_are_thimbles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", model_card("reference"), re.DOTALL)
        if "torch.hub" in block
    )
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 77, 4), np.uint8))
    image.save("photo.jpg", format="PNG")
    monkeypatch.setattr(torch.hub, "load", lambda *_: load_pretrained("reference"))
    found: dict[str, Any] = {}
    exec(snippet, found)
    assert predict("photo.jpg")[0].top[0][0] == found["model"].classes[found["logits"][0].argmax()]
    assert torch.equal((found["pixels"][0] * 255).round().to(torch.uint8), to_input(image, Fitting((32, 32))))
