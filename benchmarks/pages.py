"""A benchmark's result as its two files: OUTPUT.json for programs and OUTPUT.md for people.

A script measures, and says in its own words and tables what it found. What every result has to say is added here: the
date, the command, the machine, the versions, and how often it was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypedDict

from thimble.errors import RunError, UserError
from thimble.system.files import check_output, write_atomically
from thimble.system.machine import processor, versions

ENDINGS = (".json", ".md")
_NUMBER = re.compile(r"(\*\*)?[-+]?\d")


class Spread(TypedDict):
    """How values of the same quantity differ, ready for JSON."""

    n: int
    mean: float
    standard_deviation: float | None
    median: float
    least: float
    greatest: float


def spread(values: Sequence[float]) -> Spread:
    """Mean, sample standard deviation (None of a single value), median and range of at least one value."""
    return {
        "n": len(values),
        "mean": statistics.mean(values),
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
        "median": statistics.median(values),
        "least": min(values),
        "greatest": max(values),
    }


def mean_percent(values: Spread) -> str:
    """The mean of shares in 0..1, with their standard deviation in points if there are several: 85.66% ± 0.19."""
    deviation = values["standard_deviation"]
    return f"{values['mean']:.2%}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table. A column whose cells all begin with a number is aligned right.

    Args:
        header: the columns' titles.
        rows: a cell for each column. Integers get separators of thousands, None is an empty cell, and a bar or a line
            feed in a text is kept from ending its cell.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    columns = [[cell for cell in column if cell] for column in zip(*cells, strict=True)] or [[]] * len(header)
    rules = ["---:" if column and all(map(_NUMBER.match, column)) else "---" for column in columns]
    lines = [[_cell(title) for title in header], rules, *cells]
    # A rule has no spaces, as in every table of this repository.
    return "\n".join(f"|{'|'.join(line)}|" if line is rules else f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def output_stem(text: str) -> Path:
    """The path of a result without its ending, if both files can be written there.

    Raises:
        argparse.ArgumentTypeError: they cannot. This is found out before hours of measuring, not after them.
    """
    path = Path(text)
    stem = path.with_suffix("") if path.suffix in ENDINGS else path
    try:
        for ending in ENDINGS:
            check_output(_file(stem, ending))
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return stem


def add_output(parser: argparse.ArgumentParser, default: str = "it is only printed") -> None:
    """Add ``--output``, the same for every benchmark; ``default`` says what happens without it."""
    parser.add_argument(
        "--output", type=output_stem, help=f"path of the result, without .md and .json; default: {default}"
    )


def publish(
    output: Path | None,
    title: str,
    paragraphs: Sequence[str],
    result: Mapping[str, Any],
    *,
    n: int,
    repeated: str,
    show: bool = True,
) -> None:
    """Print a result's page and write both of its files, each whole or not at all.

    Args:
        output: path of the result, without an ending; None writes no file.
        title: of the page.
        paragraphs: of the page, in Markdown: sentences and tables.
        result: what the JSON file is to hold, beside what every result holds: date, command, processor, cores, torch,
            packages (their versions), n and repeated.
        n: how often it was measured.
        repeated: what there are ``n`` of, to be read behind the number: "rounds of all networks in turn".
        show: whether the page is printed.

    Raises:
        ValueError: ``result`` has a key that every result has.
        RunError: a file could not be written.
    """
    made = _circumstances(n, repeated)
    if shared := made.keys() & result.keys():
        raise ValueError(f"the result has {', '.join(sorted(shared))}: expected other keys than every result has")
    text = _page(title, paragraphs, made)
    if output is not None:
        write_atomically(_file(output, ".json"), json.dumps({**made, **result}, indent=2) + "\n")
        write_atomically(_file(output, ".md"), text)
    if show:
        print(text)


def _file(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)  # with_suffix would take the end of thimble-0.1 for an ending


def _circumstances(n: int, repeated: str) -> dict[str, Any]:
    packages = versions()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch": packages["torch"],
        "packages": packages,
        "n": n,
        "repeated": repeated,
    }


def _page(title: str, paragraphs: Sequence[str], made: Mapping[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in made["packages"].items())
    last = (
        f"n = {made['n']} {made['repeated']}. Machine: {made['processor']}, {made['cores']} cores, {made['date']}."
        f" Versions: {packages}."
    )
    return "\n\n".join([f"# {title}", *paragraphs, last, f"Made by `{made['command']}`."]) + "\n"


def run_script(main: Callable[[], int]) -> NoReturn:
    """Run a script, and end it as ``thimble`` ends: with one line for what went wrong, and with its exit code.

    2 for the user's mistake, 1 for a failure, 130 after Ctrl-C. What a script has started has said itself what went
    wrong, and its code is passed on.
    """
    try:
        sys.exit(main())
    except (UserError, RunError) as error:
        _fail(str(error), 2 if isinstance(error, UserError) else 1)
    except subprocess.CalledProcessError as error:
        _fail(f"{shlex.join(map(str, error.cmd))} ended with exit code {error.returncode}", max(1, error.returncode))
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _fail(message: str, code: int) -> NoReturn:
    print(f"{Path(sys.argv[0]).stem}: {message}", file=sys.stderr)
    sys.exit(code)
