"""How often the 95% intervals of balanced accuracy and macro F1 hold the true value, and how often a bootstrap's do.

    python benchmarks/intervals.py --output benchmarks/results/intervals

A classifier is imagined: each class has a recall, spread evenly between two values, and its mistakes fall on all other
classes alike. The true balanced accuracy and macro F1 follow from many more images. Test sets of the given class sizes
are drawn from it again and again, and each one's intervals are asked whether they hold the true value. The bootstrap
resamples the images of each class, and takes the percentiles of what it finds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from pages import add_output, publish, run_script, table

from thimble.measuring.statistics import balanced_accuracy_interval, macro_f1_interval

Counts = np.ndarray[Any, np.dtype[np.int64]]
Shares = np.ndarray[Any, np.dtype[np.float64]]
Interval = tuple[float, float]
SEED, RESAMPLES = 0, 200


class Case(NamedTuple):
    """Test images of each class, and the range of the classes' recalls."""

    title: str
    sizes: list[int]
    recalls: tuple[float, float]


CASES = [
    Case("classes of 5 and 500 images, recalls 90% and 80%", [5, 500], (0.9, 0.8)),
    Case("classes of 234 and 390 images, recalls 85% and 97%", [234, 390], (0.85, 0.97)),
    Case("ten classes of 31, recalls 99% to 100%", [31] * 10, (0.99, 1.0)),
    Case("ten classes of 1 to 58, recalls 50% to 90%", [1, 7, 14, 20, 26, 33, 39, 45, 52, 58], (0.5, 0.9)),
    Case(
        "classes of 10 to 68 (81 of them), recalls 40% to 95%",
        np.linspace(10, 68, 81).astype(int).tolist(),
        (0.4, 0.95),
    ),
    Case("classes of 3 (242 of them), recalls 80% to 100%", [3] * 242, (0.8, 1.0)),
]


def balanced_accuracy(confusion: Counts) -> Shares:
    """Mean recall of confusion matrices, float64 (...), of counts (..., classes, classes)."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    result: Shares = (right / confusion.sum(-1)).mean(-1)
    return result


def macro_f1(confusion: Counts) -> Shares:
    """Mean F1 of confusion matrices, as above."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    result: Shares = (2 * right / (confusion.sum(-1) + confusion.sum(-2))).mean(-1)
    return result


MEASURES: dict[str, tuple[Callable[[Counts], Shares], Callable[[torch.Tensor], Interval]]] = {
    "balanced accuracy": (balanced_accuracy, balanced_accuracy_interval),
    "macro F1": (macro_f1, macro_f1_interval),
}


def truth(case: Case) -> Shares:
    """The probability of each answer for an image of each class, float64 (classes, classes)."""
    count = len(case.sizes)
    recalls = np.linspace(*case.recalls, count)
    shares = np.repeat(((1 - recalls) / (count - 1))[:, None], count, axis=1)
    np.fill_diagonal(shares, recalls)
    return shares


def drawn(random: np.random.Generator, sizes: Counts, shares: Shares) -> Counts:
    """The confusion matrix of one test set."""
    confusion: Counts = random.multinomial(sizes, shares)
    return confusion


def bootstrap(random: np.random.Generator, confusion: Counts, measure: Callable[[Counts], Shares]) -> Interval:
    """The percentiles of the measure over resampled test sets."""
    sizes = confusion.sum(1)
    values = [float(measure(drawn(random, sizes, confusion / sizes[:, None]))) for _ in range(RESAMPLES)]
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def coverage(case: Case, num_samples: int) -> dict[str, Any]:
    """The share of test sets whose intervals hold the true value."""
    random, shares, sizes = np.random.default_rng(SEED), truth(case), np.array(case.sizes)
    held = {name: {"in use": 0, "bootstrap": 0} for name in MEASURES}
    # Macro F1 depends on the class sizes too: the truth is that of as many images, repeated.
    exact = {name: float(measure(np.round(1e9 * shares * sizes[:, None]))) for name, (measure, _) in MEASURES.items()}
    for _ in range(num_samples):
        confusion = drawn(random, sizes, shares)
        for name, (measure, interval) in MEASURES.items():
            for method, (low, high) in (
                ("in use", interval(torch.from_numpy(confusion))),
                ("bootstrap", bootstrap(random, confusion, measure)),
            ):
                held[name][method] += low <= exact[name] <= high
    return {
        "case": case.title,
        "samples": num_samples,
        "held": {name: {method: count / num_samples for method, count in each.items()} for name, each in held.items()},
    }


def paragraphs(rows: list[dict[str, Any]]) -> list[str]:
    """The page's words and table."""
    columns = [(name, method) for name in MEASURES for method in ("in use", "bootstrap")]
    return [
        "The share of test sets whose 95% interval held the true value:",
        table(
            ("test images", *(f"{name}, {method}" for name, method in columns), "test sets"),
            [
                [row["case"], *(f"{row['held'][name][method]:.0%}" for name, method in columns), row["samples"]]
                for row in rows
            ],
        ),
    ]


def main() -> int:
    """Draw the test sets, and write the two files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=400, help="test sets of each kind")
    add_output(parser)
    options = parser.parse_args()
    rows = [coverage(case, options.samples) for case in CASES]
    title = "Intervals for unequal classes"
    publish(options.output, title, paragraphs(rows), {"rows": rows}, n=options.samples, repeated="test sets")
    return 0


if __name__ == "__main__":
    run_script(main)
