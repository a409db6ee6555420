"""The house rules that a reader can check in the source: what may be imported, who may print, how long a file is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from places import ROOT as REPOSITORY

import thimble

ROOT = Path(thimble.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
IDS = [path.relative_to(ROOT).as_posix() for path in FILES]

# What imports by name: verbs, sources and formats, each a table of modules of its own room, and packages of extras.
BY_NAME = ("cli/verbs/__init__.py", "data/sources.py", "exporting/formats.py", "system/extras.py")


def home(path: Path) -> str:
    """The module, or the package, that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST, package: tuple[str, ...]) -> list[str]:
    """All that a file imports, as absolute dotted names: inside functions and under TYPE_CHECKING too.

    Args:
        tree: the parsed file.
        package: the dotted name of the package that it is in, split.
    """
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            names += [".".join([*base, alias.name]) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names.append("importlib." + ast.unparse(node))  # only BY_NAME have reason to
    return names


def imports_of(path: Path) -> list[str]:
    return imported(ast.parse(path.read_text()), ("thimble", *path.relative_to(ROOT).parts[:-1]))


def ours(path: Path) -> set[str]:
    """Our own modules, and packages, that a file imports from."""
    found = {name.split(".")[1] for name in imports_of(path) if name.split(".")[0] == "thimble" and name != "thimble"}
    return found | ({"thimble itself"} if "thimble" in imports_of(path) else set())


def test_the_reader_of_imports_sees_them_all() -> None:
    source = """
import a.b, thimble.c
from . import d
from .e import f
from ..g import h
from thimble import i
if TYPE_CHECKING:
    from .j import k
def lazy():
    from .. import l
    importlib.import_module(name)
"""
    assert sorted(imported(ast.parse(source), ("thimble", "sub"))) == [
        "a.b",
        "importlib.importlib.import_module(name)",
        "thimble.c",
        "thimble.g.h",
        "thimble.i",
        "thimble.l",
        "thimble.sub.d",
        "thimble.sub.e.f",
        "thimble.sub.j.k",
    ]


def test_the_package_has_rooms_and_nothing_beside_them() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "errors.py", "version.py"}


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_only_public_names_cross_into_another_room(path: Path) -> None:
    """Which room may import from which is for import-linter: see pyproject.toml."""
    foreign = [name for name in imports_of(path) if name.startswith("thimble.") and name.split(".")[1] != home(path)]
    assert not [name for name in foreign if re.search(r"\._[a-z]", name)]
    by_name = any(name.startswith("importlib.import") for name in imports_of(path))
    assert not by_name or path.relative_to(ROOT).as_posix() in BY_NAME


def test_models_are_torch_and_nothing_of_ours() -> None:
    files = [path for path in FILES if home(path) == "models"]
    assert len(files) >= 3
    for path in files:
        assert ours(path) <= {"models"}, path
        outside = {name.split(".")[0] for name in imports_of(path)} - {"thimble"}
        assert outside <= {"torch", "collections", "dataclasses", "functools", "typing", "math", "__future__"}, path
    assert "torch.nn" in imports_of(ROOT / "models" / "reference.py")


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_only_the_command_line_prints(path: Path) -> None:
    tree = ast.parse(path.read_text())
    prints = any(isinstance(node, ast.Name) and node.id == "print" for node in ast.walk(tree))
    writes = any(ast.unparse(node) in ("sys.stdout", "sys.stderr") for node in ast.walk(tree))
    uses_rich = any(name.split(".")[0] == "rich" for name in imports_of(path))
    if home(path) != "cli":
        assert not prints
        assert not writes
        assert not uses_rich


@pytest.mark.parametrize("path", [ROOT / "__init__.py", *FILES], ids=["__init__.py", *IDS])
def test_a_module_is_short_and_has_a_name_and_a_docstring(path: Path) -> None:
    source = path.read_text()
    assert "utils" not in path.stem
    assert source.count("\n") <= 300
    assert ast.get_docstring(ast.parse(source))


def test_no_file_beside_the_package_is_long_either() -> None:
    files = [path for folder in ("tests", "benchmarks", "scripts") for path in (REPOSITORY / folder).rglob("*.py")]
    assert len(files) > 100
    assert [path for path in files if path.read_text(encoding="utf-8").count("\n") > 300] == []


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_nothing_is_unpickled_and_torchvision_stays_out(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert not roots & {"torchvision", "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"}
    called = {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert not called & {"torch.load", "np.load", "numpy.load", "pd.read_pickle"}
    assert "torch.load" not in imports_of(path)
