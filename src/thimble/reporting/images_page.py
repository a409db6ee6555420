"""Write a page that shows own images before training: one self-contained HTML file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from thimble.data.own.examination import LEFT_OUT, Examination
from thimble.system.extras import require
from thimble.system.files import check_output, write_atomically
from thimble.system.names import shown

from .content import Table
from .image_samples import cut_samples, cuts_off, duplicate_samples, samples_of_classes, sizes_plot

_MOST_NAMES = 200
_FITTED = {"crop": "cropped", "pad": "padded", "squash": "squashed"}


def write_images_page(found: Examination, output: Path) -> Path:
    """Show classes and parts, samples, sizes, what the fit cuts off, duplicates, and files that are left out.

    Args:
        found: the images.
        output: the HTML file; replaced if it exists.

    Returns:
        the HTML file.

    Raises:
        UserError: the extra ``report`` is not installed (``PackageMissing``), or there is no such folder.
        RunError: the page cannot be written.
    """
    require("matplotlib", "jinja2", by="the page", extra="report")
    check_output(output)
    write_atomically(output, render(found))
    return output


def render(found: Examination) -> str:
    """The page as HTML."""
    import jinja2

    pages = resources.files("thimble.reporting")
    loader = jinja2.FunctionLoader(lambda name: (pages / name).read_text(encoding="utf-8"))
    environment = jinja2.Environment(autoescape=True, loader=loader, undefined=jinja2.StrictUndefined)
    return environment.get_template("images.html.j2").render(
        title=shown(found.listing.title),
        subtitle=shown(found.listing.layout),
        headline=_headline(found),
        notes=[shown(note) for note in found.notes],
        fitting=[(name, shown(reason)) for name, reason in _reasons(found)],
        classes=_class_table(found),
        samples=samples_of_classes(found),
        sizes=sizes_plot(found),
        seen=_what_is_seen(found),
        cuts=cut_samples(found),
        duplicates=duplicate_samples(found),
        num_duplicates=len({*found.duplicates.across, *found.duplicates.conflicting}),
        files=_files(found),
    )


def _headline(found: Examination) -> list[tuple[str, str, str]]:
    scan, totals = found.scan, {part: int(counts.sum()) for part, counts in found.table().items()}
    height, width = scan.fitting.size
    parts = f"{totals['train']:,} train, {totals['val']:,} validate, {totals['test']:,} test"
    groups, out = len(found.duplicates.groups), totals[LEFT_OUT]
    told = f"{'group' if groups == 1 else 'groups'}; {out:,} {'image' if out == 1 else 'images'} left out of training"
    left = sum(found.listing.skipped.values()) + len(scan.unreadable) + len(found.listing.missing)
    return [
        ("images", f"{len(scan.entries):,}", parts),
        ("classes", f"{len(found.classes):,}", _balance(found)),
        (
            "the network sees",
            f"{width}x{height}",
            f"{'grey' if scan.fitting.channels == 1 else 'colour'}, {_FITTED[scan.fitting.fit]}",
        ),
        ("duplicates", f"{groups:,}", told),
        ("not used", f"{left:,}", f"files skipped or missing; unreadable: {len(scan.unreadable):,}"),
    ]


def _balance(found: Examination) -> str:
    counts = np.bincount(found.labels, minlength=len(found.classes))
    return f"of {counts.min():,} to {counts.max():,} images"


def _reasons(found: Examination) -> list[tuple[str, str]]:
    names = {"image_size": "Size", "fit": "Fit", "channels": "Channels", "depth": "More than 8 bits"}
    reasons = found.scan.reasons
    return [(title, reasons[name]) for name, title in names.items() if name != "depth" or found.scan.fitting.depth]


def _what_is_seen(found: Examination) -> str:
    width, height = found.scan.sizes[0].tolist()
    same = f"All images have {width}x{height} pixels. " if not np.ptp(found.scan.sizes, 0).any() else ""
    if not cuts_off(found):
        return f"{same}The network sees the whole image."
    return (
        same
        + {
            "crop": "The network sees the outlined part; the rest is cut off.",
            "pad": "The network sees the whole image, between grey borders.",
            "squash": "The network sees the whole image, squashed.",
        }[found.scan.fitting.fit]
    )


def _class_table(found: Examination) -> Table:
    counts = found.table()
    columns = [part for part, numbers in counts.items() if part != LEFT_OUT or numbers.any()]
    rows = [
        [shown(name), *(f"{counts[part][index]:,}" for part in columns)] for index, name in enumerate(found.classes)
    ]
    rows.append([f"all {len(found.classes):,} classes", *(f"{counts[part].sum():,}" for part in columns)])
    return Table("Images of each class in each part", ["class", *columns], rows)


def _files(found: Examination) -> list[dict[str, Any]]:
    """What is not used: a title, and rows of a name and a reason or number."""
    listing, scan = found.listing, found.scan
    empty = [name for name in listing.classes if name not in set(found.classes)]
    kinds = [
        ("Unreadable, left out", [[shown(name), shown(reason)] for name, reason in scan.unreadable.items()]),
        ("Listed, but missing", [[shown(name), ""] for name in listing.missing]),
        ("Skipped", [[shown(reason), f"{number:,}"] for reason, number in sorted(listing.skipped.items())]),
        ("Classes without images", [[shown(name), ""] for name in empty]),
    ]
    return [
        {"title": title, "rows": rows[:_MOST_NAMES], "more": max(0, len(rows) - _MOST_NAMES)}
        for title, rows in kinds
        if rows
    ]
