"""Plot the training curves of several runs in one figure.

Figures are made without pyplot: no window, no global state.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thimble.errors import UserError
from thimble.storage.logs import Row
from thimble.system.arguments import expanded
from thimble.system.extras import require
from thimble.system.files import check_output, write_atomically
from thimble.system.names import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of Okabe and Ito (2008), safe for colour-blind readers; grey replaces their yellow, too pale on white.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
_SHAPES = ("o", "s", "^", "D")
_NAME_LENGTH = 64


def draw(curves: Mapping[str, Sequence[Row]]) -> Figure:
    """Plot loss, accuracy and learning rate by epoch, one colour per run; training solid, validation dashed.

    Args:
        curves: the name of each run, and its epochs as ``run_folder.read_metrics`` gives them.

    Raises:
        ValueError: there is no run, or a run has no epoch.
    """
    if not curves or not all(curves.values()):
        raise ValueError("no curves to draw: expected at least one run, and at least one epoch in each")
    from matplotlib.figure import Figure  # takes half a second
    from matplotlib.lines import Line2D

    names = [shortened(name, _NAME_LENGTH) for name in curves]
    columns = max(1, min(len(names), int(11.5 / (0.8 + max(map(_inches, names))))))  # as many as fit side by side
    figure = Figure(figsize=(12, 3.8 + 0.2 * math.ceil(len(names) / columns)), layout="constrained", facecolor="white")
    panels = add_panels(figure)
    handles = []
    for number, history in enumerate(curves.values()):
        color, mark = _COLORS[number % len(_COLORS)], _mark(number, len(history))
        draw_run(panels, history, color, mark)
        handles.append(Line2D([], [], color=color, marker=mark, linewidth=2))
    panels[2].set_ylim(bottom=0)
    legend = figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may hold dollar signs
    if any(row["validation_loss"] is not None for history in curves.values() for row in history):
        parts = [Line2D([], [], color="#444444", linestyle=style) for style in ("-", "--")]
        panels[0].legend(parts, ["training", "validation"], frameon=False, fontsize=9)
    return figure


def add_panels(figure: Figure) -> list[Axes]:
    """Add three panels to a figure, for loss, accuracy and learning rate by epoch."""
    from matplotlib.ticker import MaxNLocator

    panels = [figure.add_subplot(1, 3, 1 + column) for column in range(3)]
    for panel, title in zip(panels, ("loss (nats)", "accuracy (%)", "learning rate"), strict=True):
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("epoch")
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    return panels


def draw_run(
    panels: Sequence[Axes], history: Sequence[Row], color: str, mark: str, validation_color: str | None = None
) -> None:
    """Draw a run into the panels of ``add_panels``: training solid; validation dashed, in its own colour if given."""
    epochs = [row["epoch"] for row in history]
    for panel, column, scale, style in (
        (panels[0], "train_loss", 1, "-"),
        (panels[0], "validation_loss", 1, "--"),
        (panels[1], "train_accuracy", 100, "-"),
        (panels[1], "validation_accuracy", 100, "--"),
        (panels[2], "learning_rate", 1, "-"),
    ):
        values = [math.nan if row[column] is None else scale * row[column] for row in history]
        if not all(map(math.isnan, values)):
            panel.plot(
                epochs,
                values,
                style,
                color=validation_color or color if style == "--" else color,
                linewidth=1.5,
                marker=mark,
                markevery=max(1, len(history) // 8),
                markerfacecolor="white" if style == "--" else color,  # tells validation's points from training's
                zorder=2 + 1 / len(history),  # short runs on top of long ones
            )


def _mark(number: int, epochs: int) -> str:
    """Choose a marker: for runs of one or two epochs, and from the ninth run on, when the colours repeat."""
    again = number // len(_COLORS)
    return _SHAPES[again % len(_SHAPES)] if again or epochs < 3 else ""


def _inches(name: str) -> float:
    """Estimate a name's width in the legend, generously: fonts cannot measure letters that they lack."""
    return sum(0.13 if letter in "MWmw@%" or letter > "~" else 0.09 if letter.isupper() else 0.078 for letter in name)


def check_drawing(path: Path) -> None:
    """Refuse, before the work begins, what ``save_drawing`` would refuse.

    Raises:
        UserError: the ending is neither .png nor .svg, the path is a folder, its folder does not exist or is not
            writable, or matplotlib is not installed.
    """
    require("matplotlib", by="drawing curves", extra="report")
    path = expanded(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise UserError(f"cannot write the drawing {path}: expected a name that ends in .png or .svg")
    if path.is_dir():
        raise UserError(f"cannot write the drawing {path}: it is a folder; expected the name of a file")
    if not os.path.isdir(path.parent):
        raise UserError(f"cannot write the drawing {path}: {path.parent} is not a folder; expected an existing folder")
    check_output(path)


def save_drawing(curves: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Write the figure of ``draw`` as PNG or SVG, by the name's ending.

    Raises:
        UserError: as ``check_drawing``.
        RunError: the file could not be written; an existing file is untouched.
        ValueError: as ``draw``.
    """
    path = expanded(path)
    check_drawing(path)
    written = io.BytesIO()
    with any_script():
        draw(curves).savefig(written, dpi=150, format=path.suffix[1:].lower())
    write_atomically(path, written.getvalue())


@contextlib.contextmanager
def any_script() -> Iterator[None]:
    """Silence matplotlib's warnings about letters that no font here has; it draws them as boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing|Matplotlib currently does not support")
        yield
