"""Show how far a verb is, on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Step = TypeVar("Step")

_MOST_AT_ONCE = 20
"""So few steps need no bar."""


@contextmanager
def counted(what: str, steps: Sequence[Step]) -> Iterator[Iterator[Step]]:
    """Show a progress bar during the block if stderr is a terminal; it disappears at the end.

    Args:
        what: the word before the bar.
        steps: what is to be done.

    Yields:
        the steps; the bar shows how many of them were taken.
    """
    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=not console.is_terminal or len(steps) <= _MOST_AT_ONCE,
    ) as bars:
        yield iter(bars.track(steps, description=what))
