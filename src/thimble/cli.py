"""The command line: how a verb is found, its mistakes told, and its exit code. With ``verbs``, all that prints.

Exit codes: 0 done, 1 failed, 2 the user's mistake (one line, no traceback), 130 interrupted.
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

from .arguments import expanded
from .config import Interrupted, RunError, TrainConfig, UserError
from .recipes import DEFAULT_RECIPE, Recipe, find_recipe
from .verbs import VERBS
from .verbs.options import Flat, fail, say
from .version import __version__

_REGISTRY = tyro.constructors.ConstructorRegistry()


@_REGISTRY.primitive_rule
def _path(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[Path] | None:
    """Every path is ``expanded``: where an option stands before it, as in ``--runs=~/x``, no shell does it."""
    if info.type is not Path:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: expanded(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda path: [str(path)],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. After --help, tyro raises SystemExit(0) itself."""
    if argv is None and signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal's encoding has every letter of a name
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
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
    except BrokenPipeError:
        # The reader, such as `head`, has had enough. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
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
                registry=_REGISTRY,
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


def _interrupt(number: int, frame: FrameType | None) -> None:
    # SIGTERM is Ctrl-C by other means. The training loop has a gentler handler of its own.
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
        defaults = dataclasses.replace(read_config(expanded(resumed)), fallback=False, overwrite=False)

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
        from .training import train as train_model

        if os.environ.get("RANK", "0") != "0":  # under torchrun, the first process speaks for all
            train_model(config, resume=resume)
            return 0
        with TrainingConsole() as observer:
            result = train_model(config, resume=resume, observer=observer)
            observer.finish(result)
        if report:
            from .reporting import write_report

            say(f"report: {write_report(result.run, data_dir=config.data_dir)}")
        return 0

    return train


def _option(arguments: list[str], name: str) -> str | None:
    """The value of an option before tyro reads it, because other options' defaults follow from it."""
    for index, argument in enumerate(arguments):
        found, _, value = argument.partition("=")
        if found == name:
            return value or next(iter(arguments[index + 1 : index + 2]), None)
    return None
