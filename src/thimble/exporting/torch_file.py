"""PyTorch's own format: the program of torch.export, a ``.pt2`` file, which runs without Thimble's source.

See https://docs.pytorch.org/docs/stable/export.html. The file is a zip archive, of the layout that
https://docs.pytorch.org/docs/stable/export/pt2_archive.html describes: the graph as JSON, each weight as its raw bytes,
and the metadata in ``extra/thimble.json``. There is no pickle in it: PyTorch would write one for example inputs, which
are left out, and for custom objects and subclasses of tensors, of which our networks have none.
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
    """The network as a ``.pt2`` file of float32, for any number of images from 1 up.

    The same network gives the same bytes with the same version of PyTorch, wherever that is installed.
    """
    with _quiet():
        program = torch.export.export(
            deployment.network,
            (deployment.example(),),  # two images: a single one would be taken for a constant
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        )
        program.example_inputs = None
        _strip_traces(program)
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={METADATA_FILE: json.dumps(deployment.metadata)})
    return file.getvalue()


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """A function from what the file takes to what it gives, float32 (N, classes).

    Only for a file that ``build`` has just made: PyTorch unpickles what another one may contain, and evaluates its
    expressions of shapes.
    """
    with _quiet():
        module = torch.export.load(path).module()

    def run(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            outputs: Tensor = module(inputs)
        return outputs

    return run


def _strip_traces(program: torch.export.ExportedProgram) -> None:
    """Take out which line of whose source each value comes from: folders of the machine that wrote the file."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                for key in ("stack_trace", "torch_fn"):
                    node.meta.pop(key, None)
