"""Text files are UTF-8, whatever the locale is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from places import ROOT

FILES = sorted(
    path
    for part in ("src", "benchmarks", "scripts")
    for path in (ROOT / part).rglob("*.py")
    if "egg-info" not in str(path)
)


def unnamed(source: str) -> list[str]:
    """The calls in a program that read or write text in the encoding of the locale."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).split(".")[-1]
        words = [ast.unparse(value) for value in node.args]
        options = {each.arg: ast.unparse(each.value) for each in node.keywords}
        modes = [*words, options.get("mode", "")]
        binary = any(mode.strip("'\"") in ("rb", "wb", "ab", "xb", "r+b") or mode.startswith("os.O_") for mode in modes)
        opens = (
            name == "open"
            and not binary
            and ast.unparse(node.func).split(".")[0] not in ("Image", "os", "tarfile", "gzip", "bz2", "lzma", "self")
        )
        texts = (name == "read_text" and not words) or (name == "write_text" and len(words) == 1)
        runs = options.get("text") == "True" or options.get("universal_newlines") == "True"
        if (opens or texts or runs) and "encoding" not in options:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_has_its_encoding(path: Path) -> None:
    assert not unnamed(path.read_text(encoding="utf-8"))


def test_the_reader_finds_them() -> None:
    assert len(unnamed("open('x'); p.open(newline=''); p.read_text(); p.write_text('x'); run(c, text=True)")) == 5
    assert not unnamed("open('x', 'rb'); Image.open(p); p.read_text('utf-8'); p.write_text('x', 'utf-8'); p.open('wb')")
    assert not unnamed("run(c, text=True, encoding='utf-8'); p.read_text(encoding='utf-8'); os.open(p, os.O_RDONLY)")
