"""The package from outside: its public names, how little it loads and how soon it answers."""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
import tomllib

import pytest
import yaml
from places import ROOT

import thimble

HEAVY = ("torch", "lightning_fabric", "albumentations", "cv2", "torchmetrics", "torchinfo", "safetensors", "pooch")
IMPORT = "import thimble"
WORK = "sum(number * number for number in range(3_000_000))"
WORK_SECONDS = 0.18  # one AMD EPYC core (Zen 4), CPython 3.11
HELP = """
from thimble.cli.main import main
try:
    main([{arguments}])
except SystemExit as error:
    assert error.code == 0
"""


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False, env=env
    )
    assert "Traceback" not in done.stderr
    return done


def loaded_by(code: str) -> set[str]:
    """The top-level modules that some code leaves in sys.modules."""
    done = run("-c", f"{code}\nimport sys\nprint(*['\\nloaded:', *sys.modules])")
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.rpartition("loaded:")[2].split()}


@pytest.mark.slow
def test_importing_it_loads_nothing_heavy() -> None:
    loaded = loaded_by(IMPORT)
    assert "thimble" in loaded
    assert not loaded & {*HEAVY, "numpy", "tyro", "rich", "PIL"}
    assert "torch" in loaded_by("import thimble; thimble.build_model")  # so it would have been seen


@pytest.mark.parametrize("arguments", ["'--help'", "'train', '--help'", "'train', '--recipe', 'record', '--help'"])
def test_help_loads_nothing_heavy(arguments: str) -> None:
    loaded = loaded_by(HELP.format(arguments=arguments))
    assert "tyro" in loaded
    assert not loaded & {*HEAVY, "numpy", "PIL"}


def processor_seconds(*arguments: str) -> float:
    """Of a Python process of its own, not watched by coverage, which would double them."""
    unwatched = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run(*arguments, env=unwatched).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.parametrize(
    "arguments",
    [("-c", IMPORT), ("-m", "thimble", "--help"), ("-m", "thimble", "train", "--help")],
    ids=["import", "help", "train"],
)
def test_it_answers_within_half_a_second(arguments: tuple[str, ...]) -> None:
    """On a machine that does WORK in WORK_SECONDS; on a slower or busier one, within as much more as WORK takes more.

    In processor time, both measured in turn, the least of several: the clock on the wall tells of others' work.
    """
    work = taken = float("inf")
    for _ in range(15):
        work = min(work, processor_seconds("-c", WORK))
        taken = min(taken, processor_seconds(*arguments))
        if taken < 0.5 * max(1.0, work / WORK_SECONDS):
            break
    assert 0.0 < taken < 0.5 * max(1.0, work / WORK_SECONDS)


def test_help_names_the_verbs() -> None:
    done = run("-m", "thimble", "--help")
    assert done.returncode == 0
    for verb in ("train", "evaluate", "predict", "summary", "data"):
        assert verb in done.stdout


def test_version() -> None:
    done = run("-m", "thimble", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"thimble {thimble.__version__}\n", "")
    assert thimble.__version__[0].isdigit()


def test_every_public_name_is_there() -> None:
    assert {"load_pretrained", "build_model", "list_models", "train", "evaluate", "predict"} <= set(thimble.__all__)
    assert list(thimble.__all__) == sorted(set(thimble.__all__))
    for name in thimble.__all__:
        value = getattr(thimble, name)
        assert name == "__version__" or callable(value)
        if callable(value):
            assert value.__doc__, name
    assert dir(thimble) == sorted([*thimble.__all__, "HubClassifier"])


def test_the_names_of_the_type_checker_are_those_of_the_runtime() -> None:
    for name, home in thimble._HOMES.items():
        module, _, attribute = home.partition(":")
        assert name in dir(thimble)
        assert getattr(thimble, name).__module__ == f"thimble.{module}"
        assert getattr(thimble, name).__name__ == attribute


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"^module 'thimble' has no attribute 'buildmodel'$"):
        _ = thimble.buildmodel
    assert not hasattr(thimble, "torch")


def test_the_command_is_declared_and_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"thimble": "thimble.cli.main:main"}
    assert callable(getattr(importlib.import_module("thimble.cli.main"), "main", None))


def test_the_citation_says_what_the_package_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == thimble.__version__
    assert citation["license"] == project["license"]
    assert citation["authors"] == project["authors"]
    assert citation["keywords"] == project["keywords"]
