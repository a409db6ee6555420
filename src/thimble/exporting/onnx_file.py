"""Build ONNX files: in float32, and in int8 by static post-training quantisation.

The expensive operations are quantised: convolutions, matrix products and the sums of residual blocks. Weights are int8,
symmetric, with a scale per output channel. Activations are uint8 with a scale and a zero point per tensor, from the
minimum and maximum over training images. The graph has pairs of QuantizeLinear and DequantizeLinear (QDQ), which a
runtime fuses into integer kernels. See
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thimble.system.scratch import temporary_folder

from .deployment import Deployment
from .opset import EXACT, IR_VERSION, TRACED_OPSET, lower

METADATA_KEY = "thimble"
_BATCH = 100
_QUANTIZED = ["Conv", "Gemm", "Add", "Relu", "MaxPool"]


def build_float(deployment: Deployment) -> bytes:
    """Build a float32 ONNX file: input ``images``, output ``logits`` or ``probabilities``."""
    import onnx

    proto = _traced(deployment)
    _describe(proto, deployment.metadata)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def _traced(deployment: Deployment) -> Any:
    """Trace the network to a graph in the file's opset, without metadata. This takes about a second."""
    with _quiet():
        program = torch.onnx.export(
            deployment.network,
            (deployment.example(),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["probabilities" if deployment.softmax else "logits"],
            opset_version=TRACED_OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    proto = program.model_proto
    lower(proto)
    _strip_traces(proto)
    return proto


def build_int8(deployment: Deployment) -> bytes:
    """Build an int8 ONNX file like ``build_float``'s; ``deployment.calibration`` sets the activations' ranges."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    if deployment.calibration is None:
        raise ValueError("no calibration images: an int8 file needs training images")
    batches = iter(
        [{"images": deployment.inputs(batch).numpy()} for batch in torch.split(deployment.calibration, _BATCH)]
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(batches, None)

    proto = onnx.load_from_string(build_float(deployment))
    normalisation = [
        node.name for node in proto.graph.node if node.op_type in ("Mul", "Add") and _constant(proto, node)
    ]
    with temporary_folder() as folder, _quiet():
        path = folder / "int8.onnx"
        quantize_static(
            proto,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            op_types_to_quantize=_QUANTIZED,
            nodes_to_exclude=normalisation,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},  # rounded logits would often be equal
        )
        proto = onnx.load(path)
    proto.ir_version = IR_VERSION
    _strip_traces(proto)
    _describe(proto, deployment.metadata)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def load(path: Path, *, threads: int = 0) -> Callable[[Tensor], Tensor]:
    """Load a file as a function from its inputs to its outputs, float32 (N, classes); 0 threads: one per core."""
    import onnxruntime

    options = session_options()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(inputs: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: inputs.numpy()})[0])

    return run


def session_options() -> Any:
    """New options for a session that computes int8 exactly on every processor.

    On an x86 processor without VNNI, onnxruntime by default adds two products of uint8 and int8 in 16 bits, which
    overflow: an int8 file's logits come out wrong. This entry, which other processors ignore, makes it use 32 bits.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    for name, value in EXACT.items():
        options.add_session_config_entry(name, value)
    return options


def _constant(proto: Any, node: Any) -> bool:
    """Whether a node has a constant input: true for the normalisation, false for a residual block's sum."""
    return any(initializer.name in node.input for initializer in proto.graph.initializer)


def _describe(proto: Any, metadata: dict[str, Any]) -> None:
    from thimble.version import __version__

    proto.producer_name, proto.producer_version = "thimble", __version__
    proto.graph.name = str(metadata.get("model", "thimble"))
    del proto.metadata_props[:]
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata)


def _strip_traces(proto: Any) -> None:
    """Remove the source locations that PyTorch stores for each value: a third of such a small file."""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        if hasattr(part, "metadata_props"):
            del part.metadata_props[:]
        part.doc_string = ""
    del graph.value_info[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the exporters' warnings about their own dependencies, which do not help the user."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
