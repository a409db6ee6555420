"""The command line: how a verb is found, its mistakes told, and its exit code. With ``verbs``, all that prints.

Exit codes: 0 done, 1 failed, 2 the user's mistake (one line, no traceback), 130 interrupted. A verb does what it was
asked for whether or not anybody reads its output: where a pipe is closed or a terminal gone, the output is dropped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import tyro

from .config import Interrupted, RunError, TrainConfig, UserError
from .recipes import DEFAULT_RECIPE, Recipe, find_recipe
from .system.lock import locked
from .system.output import enduring, failure_of
from .verbs import VERBS
from .verbs.options import Flat, fail
from .version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. After --help, tyro raises SystemExit(0) itself.

    Args:
        argv: the arguments; by default this process's own, whose signals and streams are then set up too.
    """
    os.environ["MPLBACKEND"] = "Agg"  # draws to files only, whatever Jupyter or Colab have in the environment
    if argv is not None:
        return _run(list(argv))
    _set_up_process()
    code = _run(sys.argv[1:])
    lost = failure_of(sys.stdout)
    if lost is not None and code == 0:
        return fail(f"cannot write to the standard output: {lost.strerror}; part of it is lost", 1)
    return code


def _run(arguments: list[str]) -> int:
    """Run the verb that the arguments name, and turn whatever it raises into a line and an exit code."""
    if arguments == ["--version"]:
        print(f"thimble {__version__}")
        return 0
    try:
        return _parse(arguments)()
    except UserError as error:
        return fail(str(error), 2)
    except RunError as error:
        return fail(str(error), 1)
    except Interrupted as error:
        return fail(str(error), 130)
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except OSError as error:  # a disk or a file that fails where no message of our own foresaw it
        return fail(str(error), 1)


def _parse(arguments: list[str]) -> Callable[[], int]:
    """The verb that the arguments name, ready to run.

    Raises:
        UserError: they name none, or one of its options wrongly.
    """
    verbs = {"train": _train_verb(arguments), **VERBS}
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            run: Callable[[], int] = tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(verb) for name, verb in verbs.items()},
                prog="thimble",
                description="Image classifiers that fit in a thimble. MODEL is a shipped model's name (reference), a"
                " weights file or a run folder.",
                args=arguments,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as stop:
        if stop.code != 2:
            raise
        verb = f" {arguments[0]}" if arguments and arguments[0] in verbs else ""
        raise UserError(f"{_unboxed(complaint.getvalue())}; see thimble{verb} --help") from None
    return run


def _deferred(verb: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """The verb as a function that only takes note of its arguments: tyro calls what it has parsed at once."""

    @functools.wraps(verb)
    def note(*arguments: Any, **options: Any) -> Callable[[], int]:
        return functools.partial(verb, *arguments, **options)

    return note


def _unboxed(complaint: str) -> str:
    """What tyro has to say, in one line: the part of its box between the title and the advice."""
    # Where the terminal knows no lines to draw, the title stands over a rule instead of in the frame.
    sections: list[list[str]] = [[]] if complaint.startswith("╭") else []
    for line in complaint.splitlines():
        text = line.strip("│ ")
        if line.startswith("╭"):
            continue
        if not text.strip("─-╰╯"):
            sections.append([])
        elif sections:
            sections[-1].append(text)
    return " ".join(sections[0]).rstrip(".") if sections else " ".join(complaint.split())


def _set_up_process() -> None:
    """Signals that stop a process are Ctrl-C by other means; nothing that is printed can stop it."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    if os.name != "posix":
        return
    for descriptor in range(3):  # else a file opened later would get a closed stream's number, and its output
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:  # closed before we began
            setattr(sys, name, enduring(stream))


def _interrupt(number: int, frame: FrameType | None) -> None:
    # The training loop has a gentler handler of its own.
    raise KeyboardInterrupt


def _train_verb(arguments: list[str]) -> Callable[..., int]:
    """The verb ``train``, whose defaults are those of the recipe that it names, or of the run that it resumes."""
    named, resumed = _option(arguments, "--recipe"), _option(arguments, "--resume")
    if arguments[:1] != ["train"]:
        named = resumed = None
    if named is not None and resumed is not None:
        raise UserError("--recipe beside --resume: a run keeps its recipe; expected one of them")
    defaults = find_recipe(named or DEFAULT_RECIPE)
    if resumed is not None:
        from .run_folder import read_config

        # Two flags that are asked for each time: a run that began with them does not go on with them.
        defaults = dataclasses.replace(read_config(Path(resumed)), fallback=False, overwrite=False)

    def train(
        config: Annotated[TrainConfig, Flat] = defaults,
        recipe: Recipe = DEFAULT_RECIPE,
        resume: Path | None = None,
        report: bool = True,
    ) -> int:
        """Train a model, test it once, and leave weights, logs and a report in a run folder.

        Args:
            recipe: Where the settings start from: every other option changes one of them. With --help, shows them.
            resume: Go on with an interrupted run: its folder. Its recipe stays as it is.
            report: Write report.html at the end: what the network learned, where it fails and why.
        """
        from .console import TrainingConsole
        from .runtime import launched
        from .training import train as train_model

        if launched().rank != 0:  # under torchrun, the first process speaks for all
            train_model(config, resume=resume)
            return 0
        with TrainingConsole() as observer:
            result = train_model(config, resume=resume, observer=observer)
            observer.finish(result)
        if report:
            _report(result.run, config.data_dir)
        return 0

    return train


def _report(run: Path, data_dir: Path | None) -> None:
    """Write the report of a run that is trained and saved."""
    from .reporting import write_report

    try:
        with locked(run):  # else a run that overwrites this one could get its report
            print(f"report: {write_report(run, data_dir=data_dir)}")
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: {run} is trained and saved; thimble report {run} writes its report") from None


def _option(arguments: list[str], name: str) -> str | None:
    """The value of an option before tyro reads it, because other options' defaults follow from it."""
    for index, argument in enumerate(arguments):
        found, _, value = argument.partition("=")
        if found == name:
            return value or next(iter(arguments[index + 1 : index + 2]), None)
    return None
