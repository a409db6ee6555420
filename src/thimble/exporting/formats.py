"""The table of export formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from thimble.exporting.c import source as c_file

from . import executorch_file, onnx_file, torch_file
from .deployment import Deployment
from .parity import Run


@dataclass(frozen=True)
class Format:
    """A format: how its files are made and used, and what may be asked of it.

    Attributes:
        build: makes the file's bytes.
        load: makes a file a function from ``Deployment.inputs`` to float32 (N, classes).
        ending: of the default name of its files.
        exact: whether it is of float32; else it is of int8, and needs training images.
        bare: whether it can go without preprocessing, or with softmax.
        require: raises UserError where something is missing that it takes, before the data are read.
        needs: what its files say of what they run with, beside what they say of the model.
    """

    build: Callable[[Deployment], bytes]
    load: Callable[[Path], Run]
    ending: str
    exact: bool
    bare: bool = True
    require: Callable[[], object] | None = None
    needs: dict[str, Any] = dataclasses.field(default_factory=dict)


FormatName = Literal["onnx", "onnx-int8", "torch", "executorch", "c"]
FORMATS: dict[str, Format] = {
    "onnx": Format(onnx_file.build_float, onnx_file.load, ".onnx", exact=True, needs=onnx_file.NEEDS),
    "onnx-int8": Format(onnx_file.build_int8, onnx_file.load, "-int8.onnx", exact=False, needs=onnx_file.NEEDS),
    "torch": Format(torch_file.build, torch_file.load, ".pt2", exact=True),
    "executorch": Format(
        executorch_file.build, executorch_file.load, ".pte", exact=False, require=executorch_file.require
    ),
    "c": Format(c_file.build, c_file.load, ".c", exact=False, bare=False, require=c_file.compiler),
}
