"""Read the rows of a manifest, CSV or TSV, in whatever encoding and with whatever separator it was saved."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from thimble.errors import UserError
from thimble.system.files import MEBIBYTE
from thimble.system.names import shown

MOST_BYTES = 1024 * MEBIBYTE
_SEPARATORS = (",", "\t", ";", "|")
_BLANK = ' "' + "".join(_SEPARATORS)
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
        raise UserError(
            f"{shown(name)} is no text in UTF-8, nor in UTF-16 with a byte order mark: expected a table such as CSV,"
            " with column names in its first row"
        )
    first = next((line for line in text.splitlines() if line.strip(_BLANK)), "")
    separator = max(_SEPARATORS, key=lambda each: len(_row(first, each)))
    rows = _rows(text, separator, shown(name))
    _, header = next(rows, (0, []))
    columns = tuple(column.strip() for column in header)
    named = [column for column in columns if column]
    if len(named) < 2:
        found = f"has one column, {shown(named[0][:60])!r}" if named else "is empty"
        raise UserError(
            f"{shown(name)} {found}: expected at least two, an image's path and its label, with column names in the"
            " first row"
        )
    return Table(columns, list(_fitted(rows, separator, len(columns), shown(name))), notes)


def _fitted(rows: Iterator[tuple[int, list[str]]], separator: str, width: int, name: str) -> Iterator[list[str]]:
    """The rows, with a value for each column."""
    for line, row in rows:
        if len(row) > width and any(value.strip() for value in row[width:]):
            raise UserError(
                f"{name}, line {line:,}: {len(row)} values, but {width} column names; expected values with a"
                f" {separator!r} inside to be in quotation marks"
            )
        yield [*row[:width], *[""] * (width - len(row))]


def _rows(text: str, separator: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """All rows that have a value, with the number of the line where they end."""
    # Without strict, a quotation mark that is never closed would swallow the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if any(value.strip() for value in row):
                yield reader.line_num, row
    except csv.Error as error:
        problem = "a quotation mark is not closed" if "end of data" in str(error) else shown(str(error))
        raise UserError(f"{name}, line {reader.line_num:,}: {problem}; expected a table such as CSV") from error


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
            raise UserError(f"{shown(name)} is damaged: expected {encoding} text, as its first bytes say") from error
    return content.decode("cp1252", "replace"), (f"{shown(name)} is not UTF-8: read as Windows-1252.",)
