"""No dependency reports on the user: not from the library, not from what stands beside it."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from thimble.system import telemetry

_VARIABLE = "ORT_DISABLE_TELEMETRY"


def test_onnxruntime_leaves_nothing_in_a_fresh_home(tmp_path: Path) -> None:
    """Whatever is imported first of ours: the package comes before its modules."""
    home = tmp_path / "home"
    home.mkdir()
    # Without what tells onnxruntime that this is no user's machine.
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-c", "import thimble.version, onnxruntime"]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert not list(home.rglob("*"))


@pytest.mark.parametrize("name", telemetry.SWITCHES)
def test_each_switch_is_off_unless_the_user_wants_it_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for found, expected in ((None, telemetry.SWITCHES[name]), ("", telemetry.SWITCHES[name]), ("0", "0")):
        if found is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, found)
        telemetry.switch_off()
        assert os.environ[name] == expected


def _first(source: str, wanted: str) -> int:
    found = re.search(wanted, source, re.MULTILINE)
    return found.start() if found else len(source)


def _programs() -> list[tuple[str, str]]:
    """All Python outside the package, and what its pages give people to run, by name."""
    files = [ROOT / "hubconf.py", *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "scripts").glob("*.py")]
    programs = [(path.name, path.read_text(encoding="utf-8")) for path in files]
    cells = json.loads((ROOT / "notebooks" / "thimble_cifar10.ipynb").read_text(encoding="utf-8"))["cells"]
    notebook = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    pages = [
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "README.md",
        ROOT / "src" / "thimble" / "sharing" / "card.md.j2",
    ]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        programs += [(page.name, found) for found in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    return [*programs, ("notebook", notebook)]


@pytest.mark.parametrize(("name", "source"), _programs())
def test_programs_that_import_onnxruntime_switch_it_off_before(name: str, source: str) -> None:
    """By the variable itself, or by importing thimble."""
    imported = _first(source, r"^ *(import|from) onnxruntime")
    switched = min(_first(source, _VARIABLE), _first(source, r"^(import|from) thimble\b"))
    assert imported == len(source) or switched < imported


def test_there_are_such_programs() -> None:
    names = {name for name, source in _programs() if "import onnxruntime" in source}
    assert {"card.md.j2", "export.md", "inference_worker.py", "notebook"} <= names


def test_the_package_switches_it_off_before_it_imports_anything_else() -> None:
    """Nothing of ours that is imported before imports any dependency."""
    tree = ast.parse((ROOT / "src" / "thimble" / "__init__.py").read_text(encoding="utf-8"))
    statements = [ast.unparse(node) for node in tree.body]
    before = statements[: statements.index("telemetry.switch_off()")]
    ours = [line for line in before if line.startswith("from .")]
    assert ours[1:] == ["from .system import telemetry", "from .version import __version__"]
    for module in ("errors", "version", "system/__init__", "system/telemetry"):
        source = (ROOT / "src" / "thimble" / f"{module}.py").read_text(encoding="utf-8")
        roots = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(source))
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [])
        }
        assert roots <= set(sys.stdlib_module_names), module
