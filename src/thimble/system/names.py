"""Make file names, class names and other untrusted text safe to show, on a terminal or in Markdown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories that a terminal cannot show, or would obey: control characters, marks that change the direction
of writing, halves of surrogate pairs, line separators."""

_JOINERS = frozenset("\u200c\u200d")
"""The zero-width joiner and non-joiner, which Persian and emoji need: shown although their category is hidden."""


def shown(value: str | Path) -> str:
    r"""A name on one line, with unprintable characters escaped: ``"a\x1b[2Jb"`` becomes ``"a\\x1b[2Jb"``.

    A byte that is not UTF-8, which Python stores as half of a surrogate pair, becomes ``\xff``. All printable
    characters stay as they are, backslashes and brackets too.
    """
    return "".join(_escaped(character) for character in str(value))


def one_a_line(names: Iterable[str]) -> str:
    """Names as a text file, one a line, ``shown``, so that none breaks its line."""
    return "".join(f"{shown(name)}\n" for name in names)


def shortened(value: str | Path, length: int) -> str:
    """``shown``, cut in the middle to at most ``length`` characters, as names often differ only at their ends."""
    name, half = shown(value), (length - 1) // 2
    return name if len(name) <= length else f"{name[: length - 1 - half]}…{name[len(name) - half :]}"


def markdown(text: object) -> str:
    """Escape text so that Markdown shows it literally, on one line, in a sentence or a table cell."""
    line = re.sub(r"([\\`*_\[\]<>|~&$#@])", r"\\\1", one_line(str(text)))
    line = re.sub(r":(?=[a-z0-9_+-]+:)", r"\\:", line)  # emoji have names between colons
    return re.sub(r"^(\d*)(?=[-+=.)])", r"\1\\", line)  # these would begin a list


def one_line(text: str) -> str:
    """Put text on one line: a space for each unprintable character, a question mark for what UTF-8 cannot encode."""
    return "".join(letter if letter.isprintable() else " " for letter in text.encode(errors="replace").decode())


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # an undecodable byte, see os.fsdecode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
