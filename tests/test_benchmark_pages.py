"""Every benchmark's result says when, where, by what and how often it was measured, and its files are whole."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

from thimble.errors import RunError, UserError
from thimble.system.machine import processor

RESULTS = ROOT / "benchmarks" / "results"
CASES: dict[str, Callable[[Any, Any], list[str]]] = {
    "exports": lambda script, result: script.paragraphs(result["rows"]),
    "intervals": lambda script, result: script.paragraphs(result["rows"]),
    "large_dataset": lambda script, result: script.paragraphs(result["rows"]),
    "latency": lambda script, result: script.paragraphs(result["networks"]),
    "microcontroller": lambda script, result: script.paragraphs(result["rows"], result["versions"]),
    "own_images": lambda script, result: script.paragraphs(result["datasets"]),
    "own_checks": lambda script, result: script.paragraphs(result["rows"]),
    "scan": lambda script, result: script.paragraphs(result["rows"], result["processes"]),
    "step_family": lambda script, result: script.paragraphs(result),
    "time_to_accuracy": lambda script, result: script.paragraphs(
        script.summarise(result["runs"]), result["runs"], result["fraction"]
    ),
}
CASES["time_to_accuracy_90"] = CASES["time_to_accuracy"]


@pytest.fixture(autouse=True)
def _benchmarks_import_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture
def pages() -> Any:
    return importlib.import_module("pages")


def _rows(page: str) -> list[str]:
    """The rows of a page's tables, without the rules below their titles."""
    return [line for line in page.splitlines() if line.startswith("|") and set(line) - set("|-: ")]


def test_numbers_are_aligned_right_and_no_text_ends_its_cell(pages: Any) -> None:
    rows = [("one", 1_234, "1.5 ms", None, "-"), ("a|b\nc", 5, "**94.5%** ± 0.2", "7", "3")]
    assert pages.table(("name", "n", "time", "if any", "mixed"), rows).splitlines() == [
        "| name | n | time | if any | mixed |",
        "|---|---:|---:|---:|---|",
        "| one | 1,234 | 1.5 ms |  | - |",
        "| a\\|b c | 5 | **94.5%** ± 0.2 | 7 | 3 |",
    ]


def test_a_table_without_rows_is_its_titles(pages: Any) -> None:
    assert pages.table(("a", "b"), []) == "| a | b |\n|---|---|"


def test_a_spread_has_n_and_a_deviation_if_there_are_several(pages: Any) -> None:
    several = pages.spread([0.90, 0.92, 0.94])
    assert several == {
        "n": 3,
        "mean": pytest.approx(0.92),
        "standard_deviation": pytest.approx(0.02),
        "median": 0.92,
        "least": 0.90,
        "greatest": 0.94,
    }
    assert pages.mean_percent(several) == "92.00% ± 2.00"
    assert pages.mean_percent(pages.spread([0.9])) == "90.00%"


def test_both_files_say_when_where_by_what_and_how_often(
    pages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/elsewhere/benchmarks/step.py", "--output", "a folder/x", "--steps", "3"])
    output = tmp_path / "new" / "thimble-0.1"  # no ending is cut off
    pages.publish(output, "A title", ["Words.", "More."], {"speeds": [1, 2]}, n=2, repeated="rounds in turn")
    result = json.loads((tmp_path / "new" / "thimble-0.1.json").read_text())
    text = (tmp_path / "new" / "thimble-0.1.md").read_text()
    command = "python benchmarks/step.py --output 'a folder/x' --steps 3"
    assert result["command"] == command
    assert result["speeds"] == [1, 2]
    assert (result["n"], result["repeated"]) == (2, "rounds in turn")
    assert result["processor"] == processor()
    assert result["torch"] == result["packages"]["torch"]
    assert text.startswith("# A title\n\nWords.\n\nMore.\n\nn = 2 rounds in turn. Machine: ")
    assert text.endswith(f"\n\nMade by `{command}`.\n")
    for part in (processor(), f"{result['cores']} cores", result["date"], f"torch {result['torch']}"):
        assert part in text
    assert capsys.readouterr().out == text + "\n"


def test_a_result_hides_nothing_that_every_result_has(pages: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the result has date, torch"):
        pages.publish(tmp_path / "x", "A title", [], {"torch": "2", "date": "today"}, n=1, repeated="run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["result", "result.md", "result.json"])
def test_the_output_is_named_with_an_ending_or_without(pages: Any, name: str, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    pages.add_output(parser)
    assert parser.parse_args(["--output", str(tmp_path / name)]).output == tmp_path / "result"
    assert parser.parse_args([]).output is None


def test_that_it_cannot_be_written_is_found_before_it_is_measured(
    pages: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "result.md").mkdir()
    parser = argparse.ArgumentParser()
    pages.add_output(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--output", str(tmp_path / "result")])
    assert "it is a folder; expected the name of a file" in capsys.readouterr().err


@pytest.mark.parametrize("name", CASES)
def test_a_published_result_still_makes_its_published_tables(name: str) -> None:
    """The figures were measured once; a change of a script's words must not change what they say."""
    result = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    made = "\n\n".join(CASES[name](importlib.import_module(name.removesuffix("_90").removesuffix("_family")), result))
    assert _rows(made) == _rows((RESULTS / f"{name}.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (UserError("no folder"), 2, "x: no folder"),
        (RunError("the disk is full"), 1, "x: the disk is full"),
        (subprocess.CalledProcessError(2, ["thimble", "a b"]), 2, "x: thimble 'a b' ended with exit code 2"),
        (subprocess.CalledProcessError(-9, ["thimble"]), 1, "x: thimble ended with exit code -9"),
        (KeyboardInterrupt(), 130, "x: interrupted"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(
    pages: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    line: str,
) -> None:
    def main() -> int:
        raise raised

    monkeypatch.setattr(sys, "argv", ["benchmarks/x.py"])
    with pytest.raises(SystemExit) as ended:
        pages.run_script(main)
    assert (ended.value.code, capsys.readouterr().err) == (code, line + "\n")


def test_every_script_ends_so() -> None:
    scripts = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "from pages import" in path.read_text()]
    assert len(scripts) > 10
    for path in scripts:
        if "def main()" in (text := path.read_text(encoding="utf-8")):
            assert text.rstrip().endswith("run_script(main)"), path.name
            assert "sys.exit(main())" not in text, path.name


def test_a_table_of_own_images_goes_on_from_an_earlier_one(tmp_path: Path) -> None:
    own_images, path = importlib.import_module("own_images"), RESULTS / "own_images.json"
    datasets = json.loads(path.read_text(encoding="utf-8"))["datasets"]
    assert own_images.collect(own_images.TASKS, 3, tmp_path, own_images.read_earlier(path)) == datasets
    assert own_images.read_earlier(None) == {}
    assert own_images.collect(own_images.TASKS, 3, tmp_path, {}) == []


@pytest.mark.parametrize(
    "text", [None, "", '{"datasets": [{"data', "[]", '{"datasets": 5}', '{"datasets": [{}]}', "\x00"]
)
def test_what_is_no_earlier_table_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "table.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="expected the JSON file of a table by this script") as caught:
        importlib.import_module("own_images").read_earlier(path)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no VmHWM here")
def test_an_image_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    large_images = importlib.import_module("large_images")
    image = tmp_path / "a.png"
    large_images.drawn(image, "RGB", 64)
    answer, peak = large_images.measure([image])
    assert answer == "answered"
    assert 50 < peak < large_images.LIMIT_MIB
