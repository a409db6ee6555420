"""A package that is missing, one that is damaged, and what pyproject.toml says brings it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

from thimble.errors import RunError, UserError
from thimble.exporting.formats import FORMATS
from thimble.system.extras import PackageMissing, needed, require

DISTRIBUTIONS = {"yaml": "pyyaml", "ai_edge_litert": "ai-edge-litert"}  # of packages that are imported by another name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where packages can be imported from, which are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("thimble_ink", None)


def test_a_missing_package_is_told_in_one_line_that_names_the_extra() -> None:
    expected = "the map needs thimble_ink, which is not installed: pip install 'thimble-nets[map]'"
    with pytest.raises(PackageMissing) as caught, needed("thimble_ink", by="the map", extra="map"):
        import thimble_ink.pens  # type: ignore[import-not-found]  # noqa: F401
    assert str(caught.value) == expected
    assert isinstance(caught.value, UserError)
    with pytest.raises(PackageMissing, match=re.escape(expected)):
        require("torch", "thimble_ink", by="the map", extra="map")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import thimble_paper", "No module named 'thimble_paper'"),  # what the package needs itself
        ("from math import colour", "cannot import name 'colour' from 'math'"),
        ("raise ImportError('libink.so:\\n  no such file')", "libink.so: no such file"),
    ],
)
def test_a_damaged_package_is_not_called_missing(folder: Path, source: str, reason: str) -> None:
    (folder / "thimble_ink.py").write_text(source)
    with pytest.raises(RunError) as caught:
        require("thimble_ink", by="the map", extra="map")
    text = str(caught.value)
    assert text.startswith(f"the map needs thimble_ink, which is installed but cannot be imported ({reason}")
    assert text.endswith("pip install --force-reinstall thimble_ink")
    assert "\n" not in text


def test_a_part_that_an_old_version_lacks_is_not_called_missing(folder: Path) -> None:
    (folder / "thimble_ink.py").write_text("")
    with (
        pytest.raises(RunError, match="installed but cannot be imported"),
        needed("thimble_ink", by="the map", extra="map"),
    ):
        import thimble_ink.pens  # noqa: F401


def test_what_is_there_is_imported_and_other_errors_pass(folder: Path) -> None:
    (folder / "thimble_ink.py").write_text("COLOUR = 'blue'")
    with needed("thimble_ink", by="the map", extra="map"):
        from thimble_ink import COLOUR
    assert COLOUR == "blue"
    with pytest.raises(ValueError, match="of ours"), needed("thimble_ink", by="the map", extra="map"):
        raise ValueError("of ours")


def brought_by(extra: str) -> set[str]:
    """The distributions of an extra, and of those that it names."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found: set[str] = set()
    for entry in extras[extra]:
        name, _, inner = re.split(r"[<>=]", entry)[0].partition("[")
        found |= set().union(*map(brought_by, inner.rstrip("]").split(","))) if inner else {name}
    return found


EXTRAS = ("report", "export", "tflite", "executorch", "hub", "demo", "tensorboard", "datasets")


def test_each_extra_brings_what_the_line_says_it_brings() -> None:
    asked = [(package, row.extra) for row in FORMATS.values() for package in row.packages]
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("needed", "require"):
                extras = [ast.unparse(word.value).strip("'") for word in node.keywords if word.arg == "extra"]
                packages = [one.value for one in node.args if isinstance(one, ast.Constant)]
                asked += [(str(package), extra) for package in packages for extra in extras]
    assert {extra for _, extra in asked} == set(EXTRAS)
    for package, extra in asked:
        assert DISTRIBUTIONS.get(package, package) in brought_by(extra), (package, extra)


def test_all_is_all_and_the_developers_lack_executorch_alone() -> None:
    everything = set().union(*map(brought_by, EXTRAS))
    assert brought_by("all") == everything
    assert everything - brought_by("dev") == {"executorch"}
