"""Read the rows of a manifest, CSV or TSV, in whatever encoding and with whatever separator it was saved."""

from __future__ import annotations

import codecs
import csv
import io
from dataclasses import dataclass

from thimble.errors import UserError
from thimble.system.files import MEBIBYTE
from thimble.system.names import shown

MOST_BYTES = 1024 * MEBIBYTE
_SEPARATORS = (",", "\t", ";", "|")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Table:
    """A manifest's content.

    Attributes:
        columns: the names in its first row, without spaces around them.
        rows: the values of all other rows but empty ones, one for each column.
        notes: remarks for the user, each one sentence.
    """

    columns: tuple[str, ...]
    rows: list[list[str]]
    notes: tuple[str, ...] = ()


def read_table(content: bytes, name: str) -> Table:
    """Read a manifest from its bytes.

    UTF-8, and UTF-16 and UTF-32 with a byte order mark, are known by themselves; anything else is read as Windows-1252.
    The separator is the one of comma, tab, semicolon and bar that splits the first row into the most columns.

    Args:
        content: the file's bytes.
        name: its name for messages.

    Raises:
        UserError: it is not a table with a row of column names.
    """
    text, notes = _decoded(content, name)
    if "\0" in text:
        raise UserError(f"{name} is no text: expected a table such as CSV, with column names in its first row")
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(_SEPARATORS, key=lambda each: len(_row(first, each)))
    columns = tuple(column.strip() for column in _row(first, separator))
    if len(columns) < 2:
        raise UserError(
            f"{name} has one column, {shown(first[:60])!r}: expected at least two, an image's path and its label, with"
            " column names in the first row"
        )
    return Table(columns, _rows(text, separator, len(columns), name), notes)


def _rows(text: str, separator: str, width: int, name: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows: list[list[str]] = []
    seen_header = False
    try:
        for row in reader:
            if not any(value.strip() for value in row):
                continue
            if not seen_header:
                seen_header = True
                continue
            if len(row) > width and any(value.strip() for value in row[width:]):
                raise UserError(
                    f"{name}, line {reader.line_num}: {len(row)} values, but {width} column names; expected values with"
                    f" a {separator!r} inside to be in quotation marks"
                )
            rows.append([*row[:width], *[""] * (width - len(row))])
    except csv.Error as error:
        raise UserError(f"{name}, line {reader.line_num}: {error}; expected a table such as CSV") from error
    return rows


def _row(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:
        return []


def _decoded(content: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    encoding = next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding), ()
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise UserError(f"{name} is damaged: expected {encoding} text, as its first bytes say") from error
    return content.decode("cp1252", "replace"), (f"{name} is not UTF-8: read as Windows-1252.",)
