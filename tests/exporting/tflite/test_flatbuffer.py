"""FlatBuffers written by the number of a field, read back by FlatBuffers' own package."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from thimble.exporting.tflite.flatbuffer import Number, Table, write

flatbuffers = pytest.importorskip("flatbuffers")


def root(content: bytes) -> Any:
    from flatbuffers import encode, number_types
    from flatbuffers.table import Table as Reader

    return Reader(bytearray(content), encode.Get(number_types.UOffsetTFlags.packer_type, content, 0))


def place(table: Any, field: int) -> int:
    offset = table.Offset(4 + 2 * field)
    return int(table.Pos + offset) if offset else 0


def test_values_come_back_under_their_numbers() -> None:
    from flatbuffers import number_types as types

    content = write(
        Table({1: Number("Int32", -7), 4: "é", 2: np.array([3, 4], dtype=np.int64), 0: Number("Bool", 1)}), b"TEST"
    )
    assert content[4:8] == b"TEST"
    table = root(content)
    assert table.Get(types.Int32Flags, place(table, 1)) == -7
    assert table.Get(types.BoolFlags, place(table, 0))
    assert table.String(place(table, 4)).decode() == "é"
    assert place(table, 3) == 0  # not given
    vector = table.Vector(place(table, 2) - table.Pos)
    assert [table.Get(types.Int64Flags, vector + 8 * at) for at in range(2)] == [3, 4]


def test_a_default_is_not_stored() -> None:
    table = root(write(Table({0: Number("Int32", 1, 1), 1: Number("Int32", 0), 2: Number("Int32", 0, 1)}), b"TEST"))
    assert (place(table, 0), place(table, 1)) == (0, 0)
    assert place(table, 2) > 0


def test_bytes_are_aligned_wherever_they_lie() -> None:
    for length in range(40):
        content = write(
            Table({0: "x" * length, 1: [Table({0: bytes(range(1, 20))}), Table({0: b"ab" * length})]}), b"TEST"
        )
        assert content.index(bytes(range(1, 20))) % 16 == 0


def test_an_empty_table_is_a_table() -> None:
    content = write(Table({0: [Table()]}), b"TEST")
    assert root(content).VectorLen(place(root(content), 0) - root(content).Pos) == 1
