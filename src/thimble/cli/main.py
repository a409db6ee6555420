"""Run one verb: find it, parse its arguments, report its errors and return its exit code.

Exit codes: 0 success, 1 failure, 2 the user's mistake (one line, no traceback), 130 interrupted. A verb finishes its
work even if nobody reads its output: when a pipe is closed or a terminal is gone, the output is dropped.
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
    """Expand ``~`` in every path: the shell does not do it in ``--runs=~/x``."""
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
        argv: the arguments. Default: this process's own; then its signals and streams are set up too.
    """
    os.environ["MPLBACKEND"] = "Agg"  # draw to files only, even if Jupyter or Colab set another backend
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal's encoding may lack a letter of a name
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
    """Run the verb that the arguments name; turn an exception into one line and an exit code."""
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
    except OSError as error:  # a disk or file error that no message of ours covers
        return fail(str(error), 1)


def _parse(arguments: list[str]) -> Callable[[], int]:
    """Parse the arguments and return the verb that they name, ready to run.

    Raises:
        UserError: there is no such verb, or an option is wrong.
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
    """Wrap the verb so that it only stores its arguments: tyro calls the function as soon as it has parsed them."""

    @functools.wraps(verb)
    def note(*arguments: Any, **options: Any) -> Callable[[], int]:
        return functools.partial(verb, *arguments, **options)

    return note


def _unboxed(complaint: str) -> str:
    """Reduce tyro's error box to one line: the text between the title and the advice."""
    # If the terminal cannot draw a frame, the title stands above a line of dashes.
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
    """Treat the signals that stop a process like Ctrl-C, and make printing unable to stop it."""
    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    if os.name != "posix":
        return
    for descriptor in range(3):  # else a file opened later gets a closed stream's number and its output
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:  # None: closed before we started
            setattr(sys, name, enduring(stream))


def _interrupt(number: int, frame: FrameType | None) -> None:
    # The training loop has a gentler handler of its own.
    raise KeyboardInterrupt
