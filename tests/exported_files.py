"""Exported ONNX files, changed: how to change one, and how a changed one is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from thimble.errors import UserError
from thimble.exporting.exported import open_exported

Change = Callable[[Any, dict[str, Any]], None]


def rewrite(path: Path, target: Path, change: Change) -> Path:
    """Write an ONNX file again, its graph or its metadata changed."""
    proto = onnx.load(path)
    metadata = json.loads(proto.metadata_props[0].value)
    change(proto, metadata)
    if proto.metadata_props:
        proto.metadata_props[0].value = json.dumps(metadata)
    target.write_bytes(proto.SerializeToString())
    return target


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        open_exported(path)
    assert "\n" not in str(error.value)
    return str(error.value)
