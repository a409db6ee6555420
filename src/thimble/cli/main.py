"""The command line: how a verb is found, its mistakes told, and its exit code. With ``verbs``, all that prints.

Exit codes: 0 done, 1 failed, 2 the user's mistake (one line, no traceback), 130 interrupted. A verb does what it was
asked for whether or not anybody reads its output: where a pipe is closed or a terminal gone, the output is dropped.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import tyro

from thimble.errors import Interrupted, RunError, UserError
from thimble.system.arguments import expanded
from thimble.system.output import enduring, failure_of
from thimble.version import __version__

from .options import fail
from .verbs import find_verbs

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
    """Run one verb and return its exit code. After --help, tyro raises SystemExit(0) itself.

    Args:
        argv: the arguments; by default this process's own, whose signals and streams are then set up too.
    """
    os.environ["MPLBACKEND"] = "Agg"  # draws to files only, whatever Jupyter or Colab have in the environment
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal's encoding has every letter of a name
            stream.reconfigure(errors="backslashreplace")
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
    verbs = find_verbs(arguments)
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
