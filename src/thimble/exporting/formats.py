"""List the export formats, one row each; ``docs/extending/export_format.md`` explains how to add one.

Nothing heavy is imported here, because ``thimble export --help`` reads the table. A format's module is imported when
the format is used.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thimble.system import extras

from .opset import INT8_NEEDS, NEEDS

if TYPE_CHECKING:
    from .deployment import Deployment
    from .parity import Run


@dataclass(frozen=True)
class Format:
    """An export format: how to build and load its files, and which options it supports.

    Attributes:
        module: its module in this package. The module's ``build`` turns a ``Deployment`` into a file's bytes; its
            ``load`` turns a file into a function from ``Deployment.inputs`` to float32 (N, classes); its optional
            ``require`` raises UserError if something is missing that no package provides, such as a compiler.
        ending: the ending of the default file name.
        help: a short description for ``thimble export --help``.
        exact: True for float32; False for int8, which needs training images for calibration.
        bare: whether it supports ``--no-preprocess`` and ``--softmax``.
        extra: Thimble's extra that installs ``packages``; empty if the core suffices.
        packages: what building a file imports in addition to the core, by top-level names.
        needs: metadata about the runtime that the files need; added to the metadata about the model.
        builder: the name of the function that builds a file, if a module has more than one format.
        folder: whether its product is a folder of files: ``build`` returns their bytes by their paths in it, ``load``
            takes the folder, and the names of the classes are in its ``labels.txt``.
        twin: the least fraction of images, 0..1, for which it must predict what the ONNX int8 file predicts, of whose
            graph it is made; 0 if it is not made of it.
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
    folder: bool = False
    twin: float = 0.0

    def require(self, by: str) -> None:
        """Check, before any work, that everything the format needs is installed.

        Args:
            by: what needs the format; the error message starts with it.

        Raises:
            UserError: a package, a compiler or the like is missing.
        """
        extras.require(*self.packages, by=by, extra=self.extra)
        check = getattr(self._module(), "require", None)
        if check is not None:
            check()

    def build(self, deployment: Deployment) -> bytes | dict[str, bytes]:
        """Build a file; return its bytes, or those of a folder's files by their paths in it."""
        content: bytes | dict[str, bytes] = getattr(self._module(), self.builder)(deployment)
        return content

    def load(self, path: Path) -> Run:
        """Load a file that ``build`` has just built, as a function."""
        run: Run = self._module().load(path)
        return run

    def _module(self) -> Any:
        return import_module(f"{__package__}.{self.module}")


TWIN = 0.99
"""Of what computes as onnxruntime does, but for ties; TensorFlow Lite rounds otherwise, and its logits are coarse."""
_ONNX = ("onnx", "onnxscript", "onnxruntime")


def _project(name: str, meaning: str) -> Format:
    """A folder with the C file that a platform's own tools build and flash."""
    return Format(
        "projects.project",
        f"-{name.replace('_', '-')}",
        f"{meaning}: a folder with the C file, an example, a self-test",
        exact=False,
        bare=False,
        extra="export",
        packages=(*_ONNX, "jinja2"),
        builder=f"build_{name}",
        folder=True,
        twin=TWIN,
    )


# fmt: off
FORMATS: dict[str, Format] = {
    "onnx": Format("onnx_file", ".onnx", "float32, for onnxruntime and other ONNX runtimes", exact=True,
                   extra="export", packages=_ONNX, needs=NEEDS, builder="build_float"),
    "onnx-int8": Format("onnx_file", "-int8.onnx", "int8, for onnxruntime and other ONNX runtimes", exact=False,
                        extra="export", packages=_ONNX, needs=INT8_NEEDS, builder="build_int8"),
    "torch": Format("torch_file", ".pt2", "float32, a torch.export file for PyTorch", exact=True),
    "executorch": Format("executorch_file", ".pte", "int8, for phones and boards, with XNNPACK", exact=False,
                         extra="executorch", packages=("executorch",)),
    "tflite": Format("tflite.file", ".tflite", "int8, for LiteRT on phones and boards, and microcontrollers",
                     exact=False, bare=False, extra="tflite",
                     packages=(*_ONNX, "ai_edge_litert", "flatbuffers"), twin=0.95),
    "c": Format("c.source", ".c", "int8, one C99 file for a microcontroller; the check needs a C compiler", exact=False,
                bare=False, extra="export", packages=(*_ONNX, "jinja2"), twin=TWIN),
    "arduino": _project("arduino", "a library for the Arduino IDE"),
    "esp-idf": _project("esp_idf", "a project for Espressif's ESP-IDF"),
    "zephyr": _project("zephyr", "an application for Zephyr"),
    "cmake": _project("cmake", "a CMake project, for this computer and for a Cortex-M"),
}
# fmt: on

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = Literal[tuple(FORMATS)]


def describe_formats() -> str:
    """Describe the formats for ``thimble export --help``, with the extra that each needs."""
    rows = []
    for name, row in FORMATS.items():
        needed = f" (needs thimble-nets[{row.extra}])" if row.extra else ""
        rows.append(f"{name}: {row.help}{needed}")
    return "; ".join(rows)
