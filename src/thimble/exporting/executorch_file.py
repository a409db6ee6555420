"""Build ExecuTorch files: int8 ``.pte`` files for phones and boards, with the XNNPACK backend for their CPUs.

The graph is quantised after training with fixed ranges (PT2E): weights are int8, symmetric, with a scale per output
channel; activations are int8 with a scale and a zero point per tensor, from histograms over training images. The
normalisation, the mean over the image and the head stay in float32: there rounding costs most accuracy and float32
costs least time. See https://docs.pytorch.org/executorch/stable/backends/xnnpack/xnnpack-quantization.html.

The batch size may be anything from 1 to ``MAX_BATCH``. ExecuTorch plans memory for the largest batch; a single image is
as fast as in a file made for single images.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from thimble.errors import UserError
from thimble.system.extras import needed

from .deployment import Deployment
from .onnx_file import METADATA_KEY, _quiet

MAX_BATCH = 64


def build(deployment: Deployment) -> bytes:
    """Build an int8 ``.pte`` file for 1 to ``MAX_BATCH`` images.

    Its method ``forward`` takes what ``deployment.inputs`` returns; its method ``thimble`` gives the metadata as JSON.

    Raises:
        UserError: ExecuTorch is not installed, or lacks one of the network's operators.
        ValueError: there are no calibration images.
    """
    if deployment.calibration is None or not len(deployment.calibration):
        raise ValueError("no calibration images: an int8 file needs training images")
    with _quiet(), _clean_root_logger():
        with _needed():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower
        from torch._export.verifier import SpecViolationError

        with _free_batch():
            program = _quantize(deployment, deployment.calibration)
            try:
                edge = to_edge_transform_and_lower(
                    program,
                    partitioner=[XnnpackPartitioner()],
                    constant_methods={METADATA_KEY: json.dumps(deployment.metadata)},
                )
            except SpecViolationError as error:
                found = re.search(r"aten\.\w+", str(error))
                raise UserError(
                    f"ExecuTorch has no {found[0] if found else 'kernel'} for one of this network's layers: use"
                    " --format onnx-int8"
                ) from error
            # For grey images, symbols that the file does not use are left over; their sizes have no bounds.
            if any(sizes.upper < MAX_BATCH for sizes in edge.exported_program().range_constraints.values()):
                raise RuntimeError(f"ExecuTorch bounded the batch below {MAX_BATCH}")
            return bytes(edge.to_executorch().buffer)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Load a file as a function from its inputs, any number of images, to its outputs, float32 (N, classes).

    Raises:
        UserError: ExecuTorch is not installed.
    """
    with _quiet(), _needed():
        from executorch.runtime import Runtime
    with _silent():
        program = Runtime.get().load_program(path)
        method = program.load_method("forward")

    def run(inputs: Tensor) -> Tensor:
        _ = program  # keep it alive: the method reads its memory but holds no reference to it
        return torch.cat([method.execute([batch.contiguous()])[0] for batch in torch.split(inputs, MAX_BATCH)])

    return run


def _needed() -> AbstractContextManager[None]:
    return needed("executorch", by="the ExecuTorch file", extra="executorch")


def _quantize(deployment: Deployment, images: Tensor) -> torch.export.ExportedProgram:
    """Insert pairs of quantise and dequantise operations, which XNNPACK fuses into integer kernels."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation

    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True))
    quantizer.set_filter_function(_is_quantized)
    module = _export(deployment.network, deployment).module()
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.mean.dim):
        # Do not quantise the mean: it would get its input's scale, which is too coarse for its small values.
        node.meta["quantization_annotation"] = QuantizationAnnotation(_annotated=True)
    prepared = prepare_pt2e(module, quantizer)
    with torch.no_grad():
        for batch in torch.split(images, MAX_BATCH):
            prepared(deployment.inputs(batch))
    return _export(convert_pt2e(prepared), deployment)


def _export(module: torch.nn.Module, deployment: Deployment) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    return torch.export.export(module, (deployment.example(),), dynamic_shapes=({0: batch},))


def _is_quantized(node: torch.fx.Node) -> bool:
    """Whether to quantise an operation: not the head, and not the normalisation, which has constant operands."""
    if node.target in (torch.ops.aten.mul.Tensor, torch.ops.aten.add.Tensor):
        return all(operand.op != "get_attr" for operand in node.all_input_nodes)
    return node.target is not torch.ops.aten.linear.default


@contextmanager
def _free_batch() -> Iterator[None]:
    """Turn off MKL-DNN and NNPACK: PyTorch decides by batch size whether to use them, which would limit it to 15."""
    with torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False):
        yield


@contextmanager
def _clean_root_logger() -> Iterator[None]:
    """Remove the handler that the import of ExecuTorch adds to the root logger."""
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        yield
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)


@contextmanager
def _silent() -> Iterator[None]:
    """Hide what the C++ runtime writes about the processor to file descriptor 2."""
    with tempfile.TemporaryFile() as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
