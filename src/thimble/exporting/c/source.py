"""Generate one C99 file from the int8 network, for microcontrollers: static memory, integer arithmetic, no library.

It comes from the graph that ``onnx_file.build_int8`` builds, so that both files agree. ``docs/c_file.md`` explains how
to use it.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thimble.errors import RunError, UserError
from thimble.exporting import onnx_file
from thimble.exporting.deployment import Deployment
from thimble.exporting.integer_graph import read
from thimble.system.scratch import temporary_folder

from .fit import fit_of
from .tables import Tables, tabulate
from .text import lines_of

STACK_BYTES = 512
"""An upper bound, which the tests check with gcc; the caller's own buffers are not included."""

_KINDS = {
    "convolution": "sums of products over a window",
    "depthwise": "the same for each channel separately",
    "average": "the mean over all pixels",
    "maximum": "the maximum over a window",
    "sum": "the sum of two features, pixel by pixel",
}
_INSTALL = "install one (apt install gcc, xcode-select --install) or set CC"


def build(deployment: Deployment) -> bytes:
    """Build the C file: ASCII, always the same bytes for the same deployment.

    Raises:
        UserError: the network has something that the C file does not support.
    """
    if not deployment.preprocess or deployment.softmax:
        found = "softmax" if deployment.softmax else "preprocess=False"
        raise UserError(f"a C file with {found}: expected uint8 pixels as input and logits as output; use onnx instead")
    tables = tabulate(read(onnx_file.build_int8(deployment)))
    return _render(tables, deployment.metadata).encode("ascii")


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Compile the file for this computer.

    Returns:
        A function from uint8 (N, height, width, channels) to logits, float32 (N, classes).

    Raises:
        UserError: there is no C compiler, or ``build`` did not write the file.
        RunError: the file does not compile.
    """
    source = path.read_text(encoding="ascii", errors="replace")
    try:
        prefix, sizes = sizes_of(source)
    except ValueError as error:
        raise UserError(f"{path} is not a network's C file: expected one that thimble export wrote") from error
    shape = (sizes["HEIGHT"], sizes["WIDTH"], sizes["CHANNELS"])
    call = _compile(path)[f"{prefix}_logits"]
    call.restype, call.argtypes = None, [ctypes.c_void_p, ctypes.c_void_p]

    def run(inputs: Tensor) -> Tensor:
        if inputs.dtype != torch.uint8 or inputs.shape[1:] != shape:
            raise ValueError(f"inputs are {inputs.dtype} {tuple(inputs.shape)}: expected uint8 (N, *{shape})")
        inputs = inputs.cpu().contiguous()
        logits = torch.empty(len(inputs), sizes["CLASSES"], dtype=torch.float32)
        for image, row in zip(inputs, logits, strict=True):
            call(image.data_ptr(), row.data_ptr())
        return logits

    return run


def sizes_of(source: str) -> tuple[str, dict[str, int]]:
    """What the names in a C file begin with, and its sizes by name: HEIGHT, WIDTH, CHANNELS, CLASSES, RAM_BYTES.

    Raises:
        ValueError: ``build`` did not write it.
    """
    found = re.search(r"^void (\w+)_logits\(const uint8_t image\[", source, re.MULTILINE)
    if found is None:
        raise ValueError("no network's C file")
    prefix = found[1]
    sizes = re.findall(rf"^#define {prefix.upper()}_(\w+) (\d+)$", source, re.MULTILINE)
    return prefix, {name: int(number) for name, number in sizes}


def require() -> None:
    """Raise UserError if there is no C compiler to check the file with."""
    compiler()


def compiler() -> list[str]:
    """The command of the C compiler: ``$CC``, which may have arguments, or the first of cc, gcc and clang.

    Raises:
        UserError: there is none.
    """
    chosen = shlex.split(os.environ.get("CC", ""))
    for command in [chosen] if chosen else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]):
            return command
    found = f"CC={shlex.join(chosen)} is not installed" if chosen else "no C compiler found (cc, gcc, clang)"
    raise UserError(f"{found}: the check of the C file compiles it; {_INSTALL}")


def _compile(path: Path) -> ctypes.CDLL:
    """Compile to a shared library and load it; it stays loaded after its file is deleted."""
    command = compiler()
    with temporary_folder() as folder:
        library = folder / "network.so"
        for options in (["-march=native"], []):  # not every compiler has -march; integer results do not depend on it
            arguments = ["-std=c99", "-O2", *options, "-shared", "-fPIC", "-o", str(library), "-x", "c", str(path)]
            try:
                done = subprocess.run(
                    [*command, *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False
                )
                if done.returncode == 0:
                    return ctypes.CDLL(str(library))
            except OSError as error:
                raise RunError(f"{path}, compiled by {shlex.join(command)}, cannot be loaded: {error}") from error
        lines = done.stderr.splitlines()
        reason = next(
            (line for line in lines if "error" in line), lines[0] if lines else f"exit code {done.returncode}"
        )
        raise RunError(f"{path} does not compile with {shlex.join(command)}: {reason.strip()}")


def _render(tables: Tables, metadata: dict[str, Any]) -> str:
    import jinja2

    here = resources.files("thimble.exporting.c")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (here / name).read_text(encoding="utf-8")),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("network.c.j2")
    graph = tables.graph
    prefix = _identifier(str(metadata.get("model", "network")))
    num_classes = len(graph.layers[-1].weights if graph.layers[-1].weights is not None else ())
    return template.render(
        title=plain(str(metadata.get("model", "a network"))),
        metadata=_described(metadata),
        fitting="fitting" in metadata,
        fit=fit_of(metadata, graph.image),
        file=f"{prefix}.c",
        prefix=prefix,
        PREFIX=prefix.upper(),
        height=graph.image.height,
        width=graph.image.width,
        channels=graph.image.channels,
        colours="red, green, blue" if graph.image.channels == 3 else "grey",
        per_pixel="three bytes per pixel" if graph.image.channels == 3 else "one byte per pixel",
        num_inputs=graph.table.shape[0] * graph.image.height * graph.image.width,
        num_classes=num_classes,
        class_names=[c_string(name) for name in _classes(metadata, num_classes)],
        flash=tables.flash_bytes,
        ram=tables.ram_bytes,
        stack=STACK_BYTES,
        tables=tables,
        table=[lines_of((str(value) for value in row), "        ") for row in graph.table],
        kinds={kind: text for kind, text in _KINDS.items() if kind in tables.kinds},
        image_offset=tables.image_offset,
    )


def _classes(metadata: dict[str, Any], num_classes: int) -> list[str]:
    names = [str(name) for name in metadata.get("classes", ())]
    return names if len(names) == num_classes else [str(index) for index in range(num_classes)]


def _identifier(name: str) -> str:
    """Turn a name into a valid C identifier."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if plain[:1].isalpha() else f"network_{plain}".rstrip("_")


def c_string(text: str) -> str:
    """Write a text as a C string literal: UTF-8 bytes, escaped to ASCII, without trigraphs."""
    plain = set(range(32, 127)) - set(b'"\\?')
    return (
        '"'
        + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode("utf-8", "backslashreplace"))
        + '"'
    )


def plain(text: str) -> str:
    """Make a text safe in a C comment: ASCII, one line, no comment marks, no trigraphs."""
    text = " ".join(text.encode("ascii", "backslashreplace").decode().split())
    for mark in ("*/", "/*", "??"):
        while mark in text:
            text = text.replace(mark, f"{mark[0]} {mark[1]}")
    return text.rstrip("\\")


def _described(metadata: dict[str, Any]) -> list[str]:
    """The metadata as comment lines, one or more for each entry."""
    lines = []
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        lines += textwrap.wrap(plain(f"{key}: {text}"), 110, subsequent_indent="    ")
    return [line.rstrip("\\") for line in lines]
