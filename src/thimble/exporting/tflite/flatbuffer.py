"""Write FlatBuffers, the binary format of ``.tflite`` files, from tables whose fields go by their number.

A schema numbers the fields of a table in their order; a file stores only these numbers. So a table is a dictionary from
numbers to values, and no code generated from a schema is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_ALIGNMENT = 16
"""Of bytes, as the schemas of TensorFlow Lite ask for in weights."""


@dataclass(frozen=True)
class Number:
    """A number inside a table.

    Attributes:
        kind: "Bool", "Int8", "Uint8", "Int32" or "Uint32".
        value: the number.
        default: the schema's default, which is not stored.
    """

    kind: str
    value: int
    default: int = 0


Value: TypeAlias = "Number | str | bytes | NDArray[Any] | Table | list[Table]"


class Table(dict[int, Value]):
    """A table: values by the number of their field. An array is a vector of its dtype, bytes are a vector of bytes."""


def write(root: Table, identifier: bytes) -> bytes:
    """Write a file with a root table.

    Args:
        root: the table.
        identifier: the schema's four bytes.
    """
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_table(builder, root), file_identifier=identifier)
    return bytes(builder.Output())


def _table(builder: Any, table: Table) -> int:
    """Write a table after what it refers to; return its place."""
    places = {field: _place(builder, value) for field, value in table.items() if not isinstance(value, Number)}
    builder.StartObject(max(table, default=-1) + 1)
    for field, value in table.items():
        if isinstance(value, Number):
            getattr(builder, f"Prepend{value.kind}Slot")(field, value.value, value.default)
        else:
            builder.PrependUOffsetTRelativeSlot(field, places[field], 0)
    return int(builder.EndObject())


def _place(builder: Any, value: Value) -> int:
    """Write a value that lies outside its table; return its place."""
    if isinstance(value, Table):
        return _table(builder, value)
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, bytes):
        return _bytes(builder, value)
    if isinstance(value, list):
        places = [_table(builder, item) for item in value]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return int(builder.EndVector())
    assert isinstance(value, np.ndarray)
    return int(builder.CreateNumpyVector(value))


def _bytes(builder: Any, value: bytes) -> int:
    """Like the builder's CreateByteVector, but aligned."""
    builder.StartVector(1, len(value), _ALIGNMENT)
    builder.head = builder.Head() - len(value)
    builder.Bytes[builder.Head() : builder.Head() + len(value)] = value
    return int(builder.EndVector())
