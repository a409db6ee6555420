"""Export a model to a ``.tflite`` file: int8, for LiteRT on phones and boards, and for microcontrollers.

It is written directly from the integer network that the ONNX int8 file and the C file share, without TensorFlow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thimble.errors import RunError, UserError
from thimble.exporting import onnx_file
from thimble.exporting.deployment import Deployment
from thimble.exporting.integer_graph import Array, read
from thimble.system.extras import needed
from thimble.system.names import one_a_line

from . import layers, metadata
from .flatbuffer import Number, Table, write
from .schema import Network

METADATA_NAME = "thimble"
"""The name of Thimble's metadata, JSON, in the file."""
_IDENTIFIER, _SCHEMA_VERSION = b"TFL3", 3
_BATCH = 32


def build(deployment: Deployment) -> bytes:
    """Build the file: always the same bytes for the same deployment.

    Raises:
        UserError: the network has something that the integer network does not support.
    """
    if not deployment.preprocess or deployment.softmax:
        found = "softmax" if deployment.softmax else "preprocess=False"
        raise UserError(f"a .tflite file with {found}: expected pixels as input and logits as output; use onnx instead")
    graph = read(onnx_file.build_int8(deployment))
    std, mean = np.asarray(deployment.std), np.asarray(deployment.mean)
    logits = layers.Range.of(calibrated_logits(deployment))
    network = layers.build(graph, 1 / (255 * std), -mean / std, logits, pixels=deployment.pixels)
    names = [str(name) for name in deployment.metadata.get("classes", ())]
    return _write(network, deployment) + metadata.archive(one_a_line(names))


def calibrated_logits(deployment: Deployment) -> Array:
    """The float32 network's logits for the calibration images, float32 (N, classes)."""
    assert deployment.calibration is not None
    with torch.inference_mode():
        parts = torch.split(deployment.calibration, _BATCH)
        logits = torch.cat([deployment.network(deployment.inputs(part)) for part in parts])
    return logits.numpy()


def _write(network: Network, deployment: Deployment) -> bytes:
    about = {
        METADATA_NAME: json.dumps(deployment.metadata).encode(),
        "TFLITE_METADATA": metadata.describe(deployment.metadata, deployment.input_size),
    }
    entries = []
    for name, content in about.items():
        network.buffers.append(Table({0: content}))
        entries.append(Table({0: name, 1: Number("Uint32", len(network.buffers) - 1)}))
    names = [
        [Table({0: name, 1: Number("Uint32", tensor)}) for tensor in tensors]
        for name, tensors in (("images", network.inputs), ("logits", network.outputs))
    ]
    graph = Table(
        {
            0: network.tensors,
            1: np.asarray(network.inputs, dtype=np.int32),
            2: np.asarray(network.outputs, dtype=np.int32),
            3: network.operators,
            4: "main",
        }
    )
    model = Table(
        {
            0: Number("Uint32", _SCHEMA_VERSION),
            1: network.codes,
            2: [graph],
            3: f"{deployment.metadata.get('model', 'network')}, made by Thimble",
            4: network.buffers,
            6: entries,
            7: [Table({0: names[0], 1: names[1], 2: "serving_default"})],
        }
    )
    return write(model, _IDENTIFIER)


def load(path: Path) -> Callable[[Tensor], Tensor]:
    """Load a file as a function from uint8 (N, height, width, channels) to logits, float32 (N, classes).

    Raises:
        PackageMissing: LiteRT is not installed.
        RunError: it does not take the file.
    """
    with needed("ai_edge_litert", by="checking a .tflite file", extra="tflite"):
        from ai_edge_litert.interpreter import Interpreter
    try:
        with _quiet():
            interpreter = Interpreter(model_content=path.read_bytes(), num_threads=1)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise RunError(f"{path} is not a .tflite file that LiteRT takes: {' '.join(str(error).split())}") from error
    (images,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = logits["quantization"]

    def run(inputs: Tensor) -> Tensor:
        pixels: Any = inputs.numpy()
        if images["dtype"] is np.int8:
            pixels = (pixels.astype(np.int16) - 128).astype(np.int8)
        if tuple(interpreter.get_input_details()[0]["shape"]) != pixels.shape:
            interpreter.resize_tensor_input(images["index"], list(pixels.shape))
            interpreter.allocate_tensors()
        interpreter.set_tensor(images["index"], pixels)
        interpreter.invoke()
        found = interpreter.get_tensor(logits["index"])
        if logits["dtype"] is np.int8:
            found = (found.astype(np.float32) - zero_point) * np.float32(scale)
        return torch.from_numpy(found.copy())

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the line about its delegate that LiteRT writes to the process's stderr, past Python."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
