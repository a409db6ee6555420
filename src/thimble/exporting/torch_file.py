"""Build torch.export files: ``.pt2``, PyTorch's own format, which runs without Thimble's code.

See https://docs.pytorch.org/docs/stable/export.html. The file is a zip archive (its layout:
https://docs.pytorch.org/docs/stable/export/pt2_archive.html) with the graph as JSON, each weight as raw bytes, and the
metadata in ``extra/thimble.json``. It contains no pickle: PyTorch would pickle example inputs, which are removed, and
custom objects and tensor subclasses, which our networks do not have.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from .deployment import Deployment
from .onnx_file import _quiet

METADATA_FILE = "thimble.json"


def build(deployment: Deployment) -> bytes:
    """Build a float32 ``.pt2`` file for any number of images.

    With one version of PyTorch, the same network gives the same bytes on every machine.
    """
    with _quiet():
        program = torch.export.export(
            deployment.network,
            (deployment.example(),),  # two images: torch.export would treat a batch size of 1 as a constant
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
        program.example_inputs = None
        _strip_traces(program)
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={METADATA_FILE: json.dumps(deployment.metadata)})
    return file.getvalue()


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Load a file as a function from its inputs to its outputs, float32 (N, classes).

    Load only a file that ``build`` has just built: from another file, PyTorch would unpickle objects and evaluate
    expressions for shapes.
    """
    with _quiet():
        module = torch.export.load(path).module()

    def run(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            outputs: Tensor = module(inputs)
        return outputs

    return run


def _strip_traces(program: torch.export.ExportedProgram) -> None:
    """Remove the source locations of each value, which contain paths on this machine."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in ("stack_trace", "torch_fn"):
                    node.meta.pop(key, None)
