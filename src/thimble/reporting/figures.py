"""Draw the plots of a report as matplotlib Figures, readable on a light and on a dark background.

Figures are made without pyplot: no window, no global state. ``to_svg`` writes them. Class names are drawn literally: a
dollar sign does not start a formula.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from thimble.measuring.summary import Summary
from thimble.storage.logs import Row

from .curves import add_panels, any_script, draw_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1b1f24"
"""The colour of text, axes and outlines. A page may replace it with its own."""

# From the palette of Okabe and Ito (2008), safe for colour-blind readers.
BLUE, ORANGE = "#0072b2", "#d55e00"

LABEL_LENGTH = 24
"""Longer class names are shortened to this many characters, to leave room for the plot."""

_STYLE: Any = {
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text: searchable, readable by screen readers, small
    "svg.hashsalt": "thimble",  # equal plots have equal bytes
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def _style() -> AbstractContextManager[None]:
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def blank(width: float, height: float) -> Figure:
    """Make an empty transparent figure; the size is in inches."""
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    return figure


def one_panel(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a transparent figure with one panel; the size is in inches."""
    figure = blank(width, height)
    with _style():
        panel = figure.add_subplot()
    panel.patch.set_alpha(0)
    return figure, panel


def curves(history: Sequence[Row]) -> Figure:
    """Plot a run's loss, accuracy and learning rate by epoch."""
    figure = blank(10, 3)
    with _style():
        panels = add_panels(figure)
        marker = "o" if len(history) < 3 else ""  # a line of one point is invisible
        draw_run(panels, history, BLUE, marker, ORANGE)
        panels[2].set_ylim(bottom=0)
        if history[0]["validation_loss"] is not None:
            panels[0].legend(panels[0].get_lines(), ["training", "validation"], frameon=False)
    for panel in panels:
        panel.patch.set_alpha(0)
    return figure


def receptive_field(summary: Summary) -> Figure | None:
    """Plot how the middle unit's receptive field grows from layer to layer; None if no layer's field is known."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    grown: dict[int, str] = {}
    for layer in summary.layers:
        if layer.receptive_field is not None and layer.receptive_field > 1:
            grown.setdefault(layer.receptive_field, layer.name)
    if not grown:
        return None
    height, width = summary.input_size[1:]
    figure, panel = one_panel(5, 3.5)
    panel.add_patch(Rectangle((0, 0), width, height, facecolor=INK, alpha=0.15, label=f"{width}x{height}  image"))
    colors = colormaps["viridis"](np.linspace(0.25, 0.85, len(grown)))
    for color, (size, name) in zip(colors, grown.items(), strict=True):
        corner = (width / 2 - size / 2, height / 2 - size / 2)
        panel.add_patch(
            Rectangle(corner, size, size, fill=False, edgecolor=color, linewidth=1.6, label=f"{size}  {name}")
        )
    reach = max(max(grown) / 2, width / 2) + 3
    panel.set_xlim(width / 2 - reach, width / 2 + reach)
    panel.set_ylim(height / 2 + reach, height / 2 - reach)
    panel.set_aspect("equal")
    panel.axis("off")
    (image, *squares), (title, *names) = panel.get_legend_handles_labels()
    step = math.ceil(len(squares) / 15)  # a deep network has too many layers for the legend: show some, the last always
    legend = panel.legend(
        [image, *squares[::-step][::-1]],
        [title, *names[::-step][::-1]],
        frameon=False,
        fontsize=8,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        title="pixels, layer",
        title_fontsize=9,
        labelcolor=INK,
    )
    legend.get_title().set_color(INK)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def filters(weight: Tensor) -> Figure:
    """Draw the kernels of a first layer, (out_channels, 3 or 1, height, width), as pictures, each scaled separately."""
    count = len(weight)
    columns = min(count, 12)
    rows = math.ceil(count / columns)
    figure, panel = one_panel(columns * 0.55, rows * 0.55)
    side_y, side_x = weight.shape[2] + 1, weight.shape[3] + 1
    page = np.ones((rows * side_y - 1, columns * side_x - 1, 4))
    page[..., 3] = 0
    for number, kernel in enumerate(weight.detach().float().cpu()):
        scaled = 0.5 + 0.5 * kernel / kernel.abs().max().clamp_min(1e-12)
        top, left = number // columns * side_y, number % columns * side_x
        page[top : top + side_y - 1, left : left + side_x - 1, :3] = scaled.permute(
            1, 2, 0
        ).numpy()  # one channel is broadcast to grey
        page[top : top + side_y - 1, left : left + side_x - 1, 3] = 1
    panel.imshow(page, interpolation="nearest")
    panel.axis("off")
    return figure


def to_svg(figure: Figure) -> str:
    """Return the figure as SVG for a page or a file, without a date or an XML declaration."""
    written = io.StringIO()
    with _style(), any_script():
        figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    return text[text.index("<svg") :]
