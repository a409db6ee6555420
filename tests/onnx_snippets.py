"""Run a snippet of code that shows how to use an exported ONNX file, and see the pixels that it hands over."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from thimble.data.image_files import read_image
from thimble.data.pixels import Fitting, to_input
from thimble.exporting.opset import EXACT


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


def check_pixels(
    snippet: str,
    about: dict[str, Any],
    fitting: Fitting,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Check that a snippet classifies photo.jpg, and gives the network Thimble's pixels, whatever photograph that is.

    Args:
        snippet: the code; it prints the class.
        about: the ONNX file's metadata under the key thimble, with the classes a and b.
        fitting: how Thimble fits the photographs.
        folder: an empty folder to run in.
    """
    seen: list[Any] = []

    class Session:
        def __init__(self, path: str, options: Any = None) -> None:
            assert path.endswith(".onnx")
            assert options is None or options.entries == EXACT

        def get_modelmeta(self) -> SimpleNamespace:
            return SimpleNamespace(custom_metadata_map={"thimble": json.dumps(about)})

        def run(self, outputs: list[str] | None, inputs: dict[str, Any]) -> list[Any]:
            seen.append(inputs["images"])
            return [np.array([[0.0, 1.0]])]

    class Options:
        def __init__(self) -> None:
            self.entries: dict[str, str] = {}

        def add_session_config_entry(self, name: str, value: str) -> None:
            self.entries[name] = value

    fake = SimpleNamespace(InferenceSession=Session, SessionOptions=Options)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.chdir(folder)
    for number, (image, options) in enumerate(photographs()):
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        image.save("photo.jpg", format="PNG", exif=exif, **options)
        exec(snippet, {})
        assert capsys.readouterr().out == "b\n"
        assert seen[-1].dtype == np.uint8
        expected = to_input(read_image("photo.jpg", fitting), fitting).permute(1, 2, 0)
        assert np.array_equal(seen[-1], expected[None])
    assert len(seen) == 9
