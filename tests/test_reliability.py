"""The page of promises: the tests that it names exist."""

from __future__ import annotations

import re

from places import ROOT

PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_exists() -> None:
    named, file = [], ""
    for path, name in re.findall(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`", PAGE):
        file = path or file  # a name alone is of the file named before it
        named.append((file, name))
    assert len(named) > 40
    missing = [
        f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_every_promise_names_a_test() -> None:
    rows = re.search(r"\| promise \| held by \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE)
    assert rows is not None
    assert all("::test_" in row for row in rows[1].splitlines())
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    without = [section.partition("\n")[0] for section in sections if not re.search(r"(`|::)test_", section)]
    assert without == ["Decided otherwise"]
