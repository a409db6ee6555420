"""The parts of a ``.tflite`` network: tensors and operators, as tables of the schema.

Numbers of fields, operators and options are those of ``schema.fbs`` in github.com/tensorflow/tflite-micro.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .flatbuffer import Number, Table

Array = NDArray[Any]


class Type(IntEnum):
    """The type of a tensor's values."""

    FLOAT32 = 0
    INT32 = 2
    UINT8 = 3
    INT8 = 9


class Operator(IntEnum):
    """The operators that the networks need."""

    ADD = 0
    CONV_2D = 3
    DEPTHWISE_CONV_2D = 4
    DEQUANTIZE = 6
    MAX_POOL_2D = 17
    RESHAPE = 22
    PAD = 34
    MEAN = 40
    PADV2 = 60
    QUANTIZE = 114


_VERSIONS = {
    Operator.ADD: 2,
    Operator.CONV_2D: 3,
    Operator.DEPTHWISE_CONV_2D: 3,
    Operator.DEQUANTIZE: 2,
    Operator.MAX_POOL_2D: 2,
    Operator.PAD: 2,
    Operator.MEAN: 2,
    Operator.PADV2: 2,
}
"""The first version of each operator that computes with int8; 1 for the others."""
_GROUPED_VERSION = 6
"""Of CONV_2D with groups."""
_OPTIONS = {
    Operator.CONV_2D: 1,
    Operator.DEPTHWISE_CONV_2D: 2,
    Operator.MAX_POOL_2D: 5,
    Operator.ADD: 11,
    Operator.RESHAPE: 17,
    Operator.MEAN: 27,
}
"""By operator: the number of its options in the union ``BuiltinOptions``; the others have none."""
_TYPES = {Type.FLOAT32: np.float32, Type.INT32: np.int32, Type.UINT8: np.uint8, Type.INT8: np.int8}


@dataclass
class Network:
    """The parts of a file's network, as tables of the schema.

    Attributes:
        tensors, operators, codes, buffers: see the schema's ``SubGraph`` and ``Model``. Buffer 0 is empty.
        inputs, outputs: the numbers of the tensors.
    """

    tensors: list[Table] = field(default_factory=list)
    operators: list[Table] = field(default_factory=list)
    codes: list[Table] = field(default_factory=list)
    buffers: list[Table] = field(default_factory=lambda: [Table()])
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(self, name: str, kind: Type, shape: tuple[int, ...], quantization: Table | None = None) -> int:
        """Add a tensor that is computed; return its number."""
        self.tensors.append(_tensor(name, kind, shape, 0, quantization))
        return len(self.tensors) - 1

    def constant(self, name: str, kind: Type, values: Array, quantization: Table | None = None) -> int:
        """Add a constant tensor; return its number."""
        self.buffers.append(Table({0: np.ascontiguousarray(values, dtype=_TYPES[kind]).tobytes()}))
        self.tensors.append(_tensor(name, kind, values.shape, len(self.buffers) - 1, quantization))
        return len(self.tensors) - 1

    def operator(
        self, code: Operator, inputs: list[int], output: int, options: Table | None = None, *, grouped: bool = False
    ) -> int:
        """Add an operator; return the number of its output."""
        version = _GROUPED_VERSION if grouped else _VERSIONS.get(code, 1)
        table = Table({0: _unsigned(self._code(code, version)), 1: _integers(inputs), 2: _integers([output])})
        if options is not None:
            table |= {3: Number("Uint8", _OPTIONS[code]), 4: options}
        self.operators.append(Table(table))
        return output

    def _code(self, code: Operator, version: int) -> int:
        # Readers older than the wider field of 2020 look into the first one.
        row = Table({0: Number("Int8", code), 2: Number("Int32", version, 1), 3: Number("Int32", code)})
        if row not in self.codes:
            self.codes.append(row)
        return self.codes.index(row)


def _tensor(name: str, kind: Type, shape: tuple[int, ...], buffer: int, quantization: Table | None) -> Table:
    table = Table({0: _integers(shape), 1: Number("Int8", kind), 2: _unsigned(buffer), 3: name})
    if quantization is not None:
        table[4] = quantization
    return table


def quantization(scales: Any, zero_points: Any, dimension: int = 0) -> Table:
    """How integers stand for reals, scale * (integer - zero_point); with several scales, one for each index."""
    return Table(
        {
            2: np.asarray(scales, dtype=np.float32),
            3: np.asarray(zero_points, dtype=np.int64),
            6: Number("Int32", dimension),
        }
    )


def scales_along(scales: Array, dimension: int) -> Table:
    """The same for a constant with one scale for each channel, whose index is along ``dimension``."""
    return quantization(scales, np.zeros(len(scales)), dimension)


def _integers(values: Any) -> Array:
    return np.asarray(values, dtype=np.int32)


def _unsigned(value: int) -> Number:
    return Number("Uint32", value)
