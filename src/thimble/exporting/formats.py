"""The table of export formats, a row to a format: ``docs/extending/export_format.md`` adds one.

Nothing heavy is imported here: ``thimble export --help`` reads the table, and a format's module is for its use alone.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thimble.system import extras

from .opset import NEEDS

if TYPE_CHECKING:
    from .deployment import Deployment
    from .parity import Run


@dataclass(frozen=True)
class Format:
    """A format: how its files are made and used, and what may be asked of it.

    Attributes:
        module: of this room. Its ``build`` makes a file's bytes of a ``Deployment``; its ``load`` makes a file a
            function from ``Deployment.inputs`` to float32 (N, classes); its ``require``, where there is one, raises
            UserError if something is missing that no package brings.
        ending: of the default name of its files.
        help: what it is, in a few words for ``thimble export --help``.
        exact: whether it is of float32; else it is of int8, and needs training images.
        bare: whether it can go without preprocessing, or with softmax.
        extra: of Thimble's, which brings ``packages``; none where the core is enough.
        packages: what making a file imports beyond the core, by top-level names.
        needs: what its files say of what they run with, beside what they say of the model.
        builder: another name for ``build``, where a module makes two formats.
    """

    module: str
    ending: str
    help: str
    exact: bool
    bare: bool = True
    extra: str = ""
    packages: tuple[str, ...] = ()
    needs: dict[str, Any] = dataclasses.field(default_factory=dict)
    builder: str = "build"

    def require(self, by: str) -> None:
        """Find out before the work what is missing.

        Args:
            by: what needs the format, as the line begins.

        Raises:
            UserError: a package, a compiler or the like.
        """
        extras.require(*self.packages, by=by, extra=self.extra)
        check = getattr(self._module(), "require", None)
        if check is not None:
            check()

    def build(self, deployment: Deployment) -> bytes:
        """Make a file; returns its bytes."""
        content: bytes = getattr(self._module(), self.builder)(deployment)
        return content

    def load(self, path: Path) -> Run:
        """Make a file that ``build`` has just made a function."""
        run: Run = self._module().load(path)
        return run

    def _module(self) -> Any:
        return import_module(f"{__package__}.{self.module}")


_ONNX = ("onnx", "onnxscript", "onnxruntime")
# fmt: off
FORMATS: dict[str, Format] = {
    "onnx": Format("onnx_file", ".onnx", "float32, for onnxruntime and whatever reads ONNX", exact=True,
                   extra="export", packages=_ONNX, needs=NEEDS, builder="build_float"),
    "onnx-int8": Format("onnx_file", "-int8.onnx", "the same as int8", exact=False,
                        extra="export", packages=_ONNX, needs=NEEDS, builder="build_int8"),
    "torch": Format("torch_file", ".pt2", "float32, for PyTorch alone", exact=True),
    "executorch": Format("executorch_file", ".pte", "int8, for phones and boards, by XNNPACK", exact=False,
                         extra="executorch", packages=("executorch",)),
    "c": Format("c.source", ".c", "int8, one C99 file for a microcontroller; its check takes a C compiler", exact=False,
                bare=False, extra="export", packages=(*_ONNX, "jinja2")),
}
# fmt: on

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = Literal[tuple(FORMATS)]


def describe_formats() -> str:
    """The table for ``thimble export --help``: what each format is, and the extra that it takes."""
    rows = []
    for name, row in FORMATS.items():
        needed = f" (needs thimble-nets[{row.extra}])" if row.extra else ""
        rows.append(f"{name}: {row.help}{needed}")
    return "; ".join(rows)
