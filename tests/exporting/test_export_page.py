"""The code in docs/export.md runs a file without Thimble, and gives it Thimble's pixels, whatever the network's fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from onnx_snippets import check_pixels
from places import ROOT

from thimble.data.pixels import Fitting
from thimble.exporting.export import describe
from thimble.models import build_model


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
    about = describe(model, {}, "0" * 64, preprocess=True, softmax=False)
    check_pixels(snippet, about, Fitting.of(model), tmp_path, monkeypatch, capsys)
