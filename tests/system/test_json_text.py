"""JSON from outside: what Python would read and no program wrote is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thimble.errors import UserError
from thimble.system.json_text import parse_object, read_object


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (b'{"a": [1, -2.5, 1e300, null, true, "\xc3\xa9"]}', {"a": [1, -2.5, 1e300, None, True, "é"]}),
        ('{"a": 9223372036854775807, "b": -9223372036854775808}', {"a": 2**63 - 1, "b": -(2**63)}),
        ('{"a": [NaN, Infinity, -Infinity, 1e999, -1e999]}', {"a": [None] * 5}),
        ('{"a": ' * 31 + "{}" + "}" * 31, None),
        ('{"name": "a\\udcff"}', {"name": "a\udcff"}),  # what Python makes of a file name that is no UTF-8
    ],
)
def test_what_thimble_writes_is_read(text: str | bytes, value: object) -> None:
    assert parse_object(text) == value or value is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[]", "not a JSON object"),
        ("3", "not a JSON object"),
        (b"\xff{}", "can't decode byte"),
        ('{"a": 9223372036854775808}', "is too large"),
        ('{"a": ' + "9" * 1_000_000 + "}", "is too large"),
        ('{"a": 1, "b": {"a": 2, "a": 3}}', "the key 'a' appears twice"),
        ('{"a": ' * 33 + "{}" + "}" * 33, "more than 32 deep"),
        ("[" * 200_000, "more than 32 deep"),
        ('{"a": ' * 200_000, "more than 32 deep"),
    ],
)
def test_anything_else_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_object(text)


def test_a_file_is_named_with_its_fault(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b'{"a": \xff}')
    with pytest.raises(UserError, match=r"^cannot read .*config\.json: 'utf-8' codec .*; expected the JSON object"):
        read_object(path)
    path.write_bytes(b"[" * 200_000)
    with pytest.raises(UserError, match=r"^cannot read .*config\.json: its values are nested more than 32 deep"):
        read_object(path)
    with path.open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(UserError, match="has 1,000,000,000 bytes: expected at most 1,048,576"):
        read_object(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="is a named pipe"):
        read_object(path)
