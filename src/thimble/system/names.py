"""Names that come from outside, such as those of files and classes, as they can be shown to a person."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""The Unicode categories that a terminal obeys instead of showing, or cannot show: control characters, marks that turn
the direction of writing, halves of surrogate pairs, line separators."""

_JOINERS = frozenset("\u200c\u200d")
"""Two of them that only join or part their neighbours, as Persian and emoji need."""


def shown(value: str | Path) -> str:
    r"""A name in one line, with whatever a terminal would not show escaped: ``"a\x1b[2Jb"`` becomes ``"a\\x1b[2Jb"``.

    A byte of a file name that is no UTF-8, which Python holds as half of a surrogate pair, becomes ``\xff``. All
    printable characters, backslashes and brackets among them, stay as they are.
    """
    return "".join(_escaped(character) for character in str(value))


def shortened(value: str | Path, length: int) -> str:
    """``shown``, but without its middle if it is longer than that many characters, as names differ at their ends."""
    name, half = shown(value), (length - 1) // 2
    return name if len(name) <= length else f"{name[: length - 1 - half]}…{name[len(name) - half :]}"


def markdown(text: object) -> str:
    """Any text so that Markdown shows it as it is, on one line, in a sentence or in a cell of a table."""
    line = re.sub(r"([\\`*_\[\]<>|~&$#@])", r"\\\1", one_line(str(text)))
    line = re.sub(r":(?=[a-z0-9_+-]+:)", r"\\:", line)  # emoji have names between colons
    return re.sub(r"^(\d*)(?=[-+=.)])", r"\1\\", line)  # what would begin a list


def one_line(text: str) -> str:
    """Text on one line, with a question mark for what UTF-8 cannot hold: names come from files, which hold anything."""
    return "".join(letter if letter.isprintable() else " " for letter in text.encode(errors="replace").decode())


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # an undecodable byte, see os.fsdecode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
