"""Draw the plots of a model's results: confusion, accuracy of each class, ROC curve and calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thimble.data.image_paths import natural
from thimble.system.names import shortened

from .figures import BLUE, INK, LABEL_LENGTH, ORANGE, one_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Shares = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

MANY_CLASSES = 20
"""Beyond this number of classes, cells have no numbers, and only some classes their names."""

_NAMED_CLASSES = 25
_HEAT_MAP_INCHES = 9


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Plot the confusion matrix: true classes in rows, predicted classes in columns, in percent of each true class.

    Of many classes, the shares are colours without numbers, in natural order of the names, and only some are named.
    """
    from matplotlib.colors import LinearSegmentedColormap

    many = len(classes) > MANY_CLASSES
    order = sorted(range(len(classes)), key=lambda index: natural(classes[index])) if many else range(len(classes))
    table = np.asarray(counts, dtype=np.float64)[np.ix_(order, order)]
    shares = 100 * table / np.maximum(table.sum(1, keepdims=True), 1)
    size = _HEAT_MAP_INCHES if many else max(4.5, 0.62 * len(classes))
    figure, panel = one_panel(size + 0.8, size)
    # The square root makes mistakes of one percent visible beside 90% on the diagonal.
    depths = np.sqrt(shares / 100)
    if many:
        _paint(panel, depths)
    else:
        clear = LinearSegmentedColormap.from_list("clear", [(0.0, 0.45, 0.7, 0.0), (0.0, 0.45, 0.7, 1.0)])
        panel.pcolormesh(depths, cmap=clear, vmin=0, vmax=1, edgecolors=INK, linewidth=0.15)
        _write_shares(panel, shares)
    step = math.ceil(len(classes) / (_NAMED_CLASSES if many else len(classes)))
    places = np.arange(0, len(classes), step)
    labels = [shortened(classes[order[place]], LABEL_LENGTH) for place in places]
    panel.set_xticks(places + 0.5, labels, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    panel.set_yticks(places + 0.5, labels, parse_math=False)
    panel.set_xlabel("predicted class")
    panel.set_ylabel("true class")
    if not many:
        panel.invert_yaxis()
    panel.set_aspect("equal")
    panel.tick_params(length=3 if many else 0)
    panel.spines[:].set_visible(many)
    return figure


def _paint(panel: Axes, depths: Shares) -> None:
    """Draw the cells as one picture: of 242 classes, they would be 58,564 shapes. Mistakes are orange, to be found."""
    from matplotlib.colors import to_rgb

    cells = np.zeros((*depths.shape, 4))
    cells[..., :3] = to_rgb(ORANGE)
    cells[np.arange(len(depths)), np.arange(len(depths)), :3] = to_rgb(BLUE)
    cells[..., 3] = np.where(depths > 0, np.maximum(depths, 0.3), 0)
    panel.imshow(cells, interpolation="none", extent=(0, len(depths), len(depths), 0))


def _write_shares(panel: Axes, shares: Shares) -> None:
    for row, values in enumerate(shares):
        for column, share in enumerate(values):
            if share >= 0.05:
                text = f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"
                color = "white" if share > 35 else INK
                panel.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=color, fontsize=9)


def per_class(
    accuracies: dict[str, float], overall: float, intervals: dict[str, tuple[float, float]] | None = None
) -> Figure:
    """Plot the accuracy of each class as bars, the best on top, and the overall accuracy as a line.

    Args:
        accuracies: by class name, in 0..1; nan for a class without images, which is left out.
        overall: the accuracy on all classes, in 0..1.
        intervals: the ends of each accuracy's interval, by class name. Default: none are drawn.
    """
    known = sorted(
        ((value, name) for name, value in accuracies.items() if not math.isnan(value)), key=lambda one: one[0]
    )
    figure, panel = one_panel(6, 0.8 + 0.32 * len(known))
    places = np.arange(len(known))
    panel.barh(places, [100 * value for value, _ in known], color=BLUE, height=0.7)
    panel.set_yticks(places, [shortened(name, LABEL_LENGTH) for _, name in known], parse_math=False)
    for place, (value, name) in enumerate(known):
        low, high = (intervals or {}).get(name, (value, value))
        if high > low:
            panel.plot([100 * low, 100 * high], [place, place], color=ORANGE, linewidth=1.5, marker="|", markersize=5)
        inside = low > 0.15  # at the bar's start, away from its end and from the dashed line
        text: dict[str, Any] = {"color": "white" if inside else INK, "va": "center", "fontsize": 9}
        panel.text(1 if inside else 100 * high + 2, place, f"{100 * value:.1f}", **text)
    panel.axvline(100 * overall, color=ORANGE, linestyle="--", linewidth=1)
    panel.set_xlim(0, 100)
    panel.set_xticks(range(0, 101, 20))
    panel.set_xlabel("accuracy (%); dashed line: all classes")
    panel.tick_params(axis="y", length=0)
    return figure


def roc(false_rates: Tensor, true_rates: Tensor, point: tuple[float, float], first: str, second: str) -> Figure:
    """Plot the share of the second class that is found against the share of the first that is taken for it.

    Args:
        false_rates, true_rates: float (n,), in 0..1, see ``metrics.roc_curve``.
        point: the same two rates where the more probable class is predicted.
        first, second: the classes' names.
    """
    figure, panel = one_panel(5, 4.2)
    panel.plot([0, 100], [0, 100], ":", color=INK, linewidth=1, label="chance")
    panel.plot((100 * false_rates).numpy(), (100 * true_rates).numpy(), color=BLUE, label="model")
    panel.plot(100 * point[0], 100 * point[1], "o", color=ORANGE, label="predicted class")
    panel.set_xlim(-1, 101)
    panel.set_ylim(-1, 101)
    panel.set_xlabel(
        f"{shortened(first, LABEL_LENGTH)} taken for {shortened(second, LABEL_LENGTH)} (%)", parse_math=False
    )
    panel.set_ylabel(f"{shortened(second, LABEL_LENGTH)} found (%)", parse_math=False)
    panel.legend(frameon=False, loc="lower right", labelcolor=INK)
    return figure


def reliability(logits: Tensor, labels: Tensor, num_bins: int = 15) -> Figure:
    """Plot accuracy against confidence in bins of equal width, over a histogram of the confidences."""
    confidence, answers = logits.double().softmax(1).max(1)
    right = (answers == labels).double()
    bins = (confidence * num_bins).long().clamp(max=num_bins - 1)
    count = torch.bincount(bins, minlength=num_bins).double()
    filled = count >= max(1, len(labels) / 1000)  # a bin of one or two images would jump to 0 or 1
    accuracy = (torch.bincount(bins, right, minlength=num_bins) / count)[filled]
    mean_confidence = (torch.bincount(bins, confidence, minlength=num_bins) / count)[filled]
    figure, panel = one_panel(5, 4.2)
    panel.plot([0, 100], [0, 100], ":", color=INK, linewidth=1, label="perfect calibration")
    panel.plot(
        (100 * mean_confidence).numpy(),
        (100 * accuracy).numpy(),
        "o-",
        color=BLUE,
        label="accuracy",
    )
    share = (100 * count / len(labels)).numpy()
    panel.bar(
        100 * (np.arange(num_bins) + 0.5) / num_bins,
        share,
        92 / num_bins,
        color=ORANGE,
        alpha=0.35,
        label="share of images",
    )
    panel.set_xlim(0, 100)
    panel.set_ylim(0, 101)
    panel.set_xlabel("confidence (%)")
    panel.set_ylabel("accuracy (%), share (%)")
    panel.legend(frameon=False, loc="upper left", labelcolor=INK)
    return figure
