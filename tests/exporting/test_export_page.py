"""The code in docs/export.md runs a file without Thimble, and gives it Thimble's pixels, whatever the network's fit."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from places import ROOT

from thimble.data.image_files import read_image
from thimble.data.pixels import Fitting, to_input
from thimble.exporting.export import describe
from thimble.models import build_model


def photographs() -> list[tuple[Image.Image, dict[str, Any]]]:
    """Transparent in every way, grey, of 16 bits; with what they are to be saved with."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 77, 4), np.uint8))
    deep = Image.fromarray(np.random.default_rng(0).integers(0, 65_536, (50, 77), np.uint16))
    palette = noise.convert("RGB").quantize(16)
    return [
        *((noise.convert(mode), {}) for mode in ("RGBA", "LA", "RGB", "L", "1", "P")),
        (deep, {}),
        (palette, {"transparency": bytes(range(0, 256, 16))}),
        (noise.convert("RGB"), {"transparency": (1, 2, 3)}),
    ]


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize(
    ("size", "depth"), [((3, 32, 32), None), ((1, 28, 28), (100.0, 40_000.5)), ((1, 20, 35), None), ((3, 96, 64), None)]
)
def test_its_pixels_are_thimbles(
    size: tuple[int, int, int],
    depth: tuple[float, float] | None,
    fit: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs/export.md").read_text("utf-8")
    (snippet,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "onnxruntime" in block)
    model = build_model("tiny", num_classes=2, in_channels=size[0], input_size=size[1:])
    model.classes, model.fit, model.depth = ("a", "b"), fit, depth
    about = json.dumps(describe(model, {}, "0" * 64, preprocess=True, softmax=False))
    seen: list[Any] = []

    class Session:
        def __init__(self, path: str) -> None:
            assert path.endswith(".onnx")

        def get_modelmeta(self) -> SimpleNamespace:
            return SimpleNamespace(custom_metadata_map={"thimble": about})

        def run(self, outputs: list[str] | None, inputs: dict[str, Any]) -> list[Any]:
            seen.append(inputs["images"])
            return [np.array([[0.0, 1.0]])]

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    monkeypatch.chdir(tmp_path)
    fitting = Fitting.of(model)
    for number, (image, options) in enumerate(photographs()):
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        image.save("photo.jpg", format="PNG", exif=exif, **options)
        exec(snippet, {})
        assert capsys.readouterr().out == "b\n"
        assert seen[-1].dtype == np.uint8
        expected = to_input(read_image("photo.jpg", fitting), fitting).permute(1, 2, 0)
        assert np.array_equal(seen[-1][0], expected)
    assert len(seen) == 9
