"""Print what is known of own images before training: classes and parts, fit, duplicates, what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from thimble.data.own.examination import LEFT_OUT, Examination
from thimble.system.names import shown

from .tables import console_for_output, plain_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_MANY, _SHOWN = 30, 8
"""From how many classes on the table shows only some, and how many: the largest and the smallest."""
_FILES = 10
_PAIRS = 3
_NAMES = {"image_size": "size", "fit": "fit", "channels": "channels", "depth": "deep images"}


def print_examination(found: Examination, *, brief: bool = False) -> None:
    """Print all that is known of own images; or, if brief, what one must know before training.

    Args:
        found: the images.
        brief: leave out the sizes, names of files but the first few, and examples.
    """
    console = console_for_output()
    console.print(shown(f"{found.listing.title}: {found.listing.layout}"), soft_wrap=True)
    console.print(class_table(found))
    told = ["image_size", "fit"] if brief else ["image_size", "fit", "channels"]
    if found.scan.fitting.depth is not None:
        told.append("depth")
    for name in told:
        console.print(f"{_NAMES[name]}: {shown(found.scan.reasons[name])}", soft_wrap=True)
    if not brief:
        _print_sizes(console, found)
    for line in _left_out(found, brief):
        console.print(line, soft_wrap=True)
    for note in found.notes:
        console.print(shown(note), style="yellow", soft_wrap=True)
    if not brief:
        _print_pairs(console, found)


def class_table(found: Examination) -> Table:
    """The number of images of each class in each part; with many classes, of the largest and the smallest."""
    counts = found.table()
    columns = [part for part, numbers in counts.items() if part != LEFT_OUT or numbers.any()]
    num_classes = len(found.classes)
    rows: Sequence[int] = range(num_classes)
    if num_classes > _MANY:
        order = np.argsort(-sum(counts.values()), kind="stable").tolist()
        rows = [*order[:_SHOWN], -1, *order[-_SHOWN:]]
    table = plain_table("", "class", *columns)
    for index in rows:
        if index < 0:
            table.add_row(f"… {num_classes - 2 * _SHOWN:,} classes between", *[""] * len(columns))
        else:
            table.add_row(shown(found.classes[index]), *(f"{counts[part][index]:,}" for part in columns))
    table.add_section()
    table.add_row(f"all {num_classes:,} classes", *(f"{counts[part].sum():,}" for part in columns))
    return table


def _print_sizes(console: Console, found: Examination) -> None:
    widths, heights = found.scan.sizes[:, 0], found.scan.sizes[:, 1]
    if (found.scan.sizes == found.scan.sizes[:1]).all():
        console.print(f"sizes: all images have {int(widths[0])} x {int(heights[0])} pixels", soft_wrap=True)
        return
    sizes = [
        f"{name} {int(np.quantile(widths, share))} x {int(np.quantile(heights, share))}"
        for name, share in (("smallest", 0.0), ("median", 0.5), ("largest", 1.0))
    ]
    console.print(f"sizes (width x height, each by itself): {', '.join(sizes)}", soft_wrap=True)


def _left_out(found: Examination, brief: bool) -> Iterator[str]:
    """One line for each kind of file that is not used, with examples."""
    listing, scan = found.listing, found.scan
    if listing.skipped:
        counted = ", ".join(f"{number:,} {shown(reason)}" for reason, number in sorted(listing.skipped.items()))
        yield f"skipped: {counted}"
    most = 3 if brief else _FILES
    if scan.unreadable:
        yield f"unreadable, left out: {len(scan.unreadable):,}"
        for name, reason in list(scan.unreadable.items())[:most]:
            yield f"  {shown(name)}: {shown(reason)}"
        if len(scan.unreadable) > most:
            yield f"  and {len(scan.unreadable) - most:,} more"
    if listing.missing:
        names = ", ".join(shown(name) for name in listing.missing[:most])
        more = f" and {len(listing.missing) - most:,} more" if len(listing.missing) > most else ""
        yield f"listed but missing: {len(listing.missing):,}: {names}{more}"


def _print_pairs(console: Console, found: Examination) -> None:
    """Examples of the duplicates that matter, and how many there are of the others."""
    duplicates, names = found.duplicates, [entry.name for entry in found.scan.entries]
    matter = sorted({*duplicates.across, *duplicates.conflicting})
    others = len(duplicates.groups) - len(matter)
    if others:
        word = "group" if others == 1 else "groups"
        console.print(f"duplicates within one part and class: {others:,} {word}, used as they are", soft_wrap=True)
    for place in matter[:_PAIRS]:
        kind = "look the same" if duplicates.near[place] else "the same"
        group = [
            f"{shown(names[index])} ({found.parts[index]}, {shown(found.classes[int(found.labels[index])])}"
            f"{', left out' if duplicates.dropped[index] and not found.kept[index] else ''})"
            for index in duplicates.groups[place][:4]
        ]
        console.print(f"  {kind}: {'; '.join(group)}", soft_wrap=True)
    if len(matter) > _PAIRS:
        console.print(f"  and {len(matter) - _PAIRS:,} groups more: --page FILE.html shows them", soft_wrap=True)
