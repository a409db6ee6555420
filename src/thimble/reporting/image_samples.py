"""Choose and draw the pictures of a page on own images: samples, sizes, what a fit cuts off, duplicates."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from thimble.data.image_files import loaded
from thimble.data.own.examination import Examination
from thimble.data.pixels import Fitting, seen_sides, to_picture, to_rgb
from thimble.errors import UserError
from thimble.system.names import shown

from .content import Plot, drawn
from .figures import BLUE, INK, one_panel

if TYPE_CHECKING:
    from collections.abc import Sequence

NUM_CLASSES, NUM_SAMPLES = 60, 6
NUM_CUTS, NUM_GROUPS, NUM_COPIES = 8, 20, 4
_SIDE = 64
_ORIGINAL = 150
_OUTLINE = (213, 94, 0)
_MOST_POINTS = 2_000


@dataclass(frozen=True)
class Picture:
    """A picture in a page: its source, size in pixels, and a description for those who cannot see it."""

    source: str
    width: int
    height: int
    description: str


@dataclass(frozen=True)
class Strip:
    """Samples of one class in a row."""

    name: str
    number: str
    picture: Picture


@dataclass(frozen=True)
class Cut:
    """An image, what a network sees of it, and a caption."""

    original: Picture
    seen: Picture
    caption: str


@dataclass(frozen=True)
class Copies:
    """Images that are the same: a heading, and pictures with captions."""

    kind: str
    pictures: list[tuple[Picture, str]]


def samples_of_classes(found: Examination) -> list[Strip]:
    """For each of the first 60 classes, six images as the network sees them, at even distances."""
    strips = []
    for label, name in enumerate(found.classes[:NUM_CLASSES]):
        rows = np.flatnonzero(found.labels == label)
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, NUM_SAMPLES).round().astype(int))]
        page = Image.new("RGB", (NUM_SAMPLES * (_SIDE + 4) - 4, _SIDE), (128, 128, 128))
        mask = Image.new("L", page.size, 0)
        for place, row in enumerate(chosen.tolist()):
            page.paste(_seen(found, row), (place * (_SIDE + 4), 0))
            mask.paste(255, (place * (_SIDE + 4), 0, place * (_SIDE + 4) + _SIDE, _SIDE))
        page.putalpha(mask)
        text = f"{len(chosen)} images of class {shown(name)}"
        strips.append(Strip(shown(name), f"{len(rows):,}", _picture(page, text, "WEBP")))
    return strips


def sizes_plot(found: Examination) -> Plot | None:
    """The width and height of the originals; None if all have one size."""
    sizes = found.scan.sizes
    if not np.ptp(sizes, 0).any():
        return None
    figure, panel = one_panel(6, 4)
    unique, counts = np.unique(sizes, axis=0, return_counts=True)
    if len(unique) > _MOST_POINTS:
        some = np.linspace(0, len(unique) - 1, _MOST_POINTS).round().astype(int)
        unique, counts = unique[some], counts[some]
    panel.scatter(unique[:, 0], unique[:, 1], s=8 + 24 * np.sqrt(counts / counts.max()), color=BLUE, alpha=0.8, lw=0)
    low, high = float(sizes.min()), float(sizes.max())
    if high > 8 * low:
        panel.set_xscale("log")
        panel.set_yscale("log")
    panel.plot([low, high], [low, high], color=INK, lw=0.8, ls=":", label="square")
    side = found.scan.fitting.size[0]
    panel.set_xlabel("width, pixels")
    panel.set_ylabel("height, pixels")
    panel.legend(frameon=False, loc="upper left")
    median = np.median(found.scan.sizes, 0)
    text = (
        f"Width and height of the images: from {sizes[:, 0].min()} x {sizes[:, 1].min()} to {sizes[:, 0].max()} x"
        f" {sizes[:, 1].max()}, median {median[0]:g} x {median[1]:g} pixels. The network sees {side} x {side}."
    )
    return drawn("sizes", text, text, figure)


def cut_samples(found: Examination) -> list[Cut]:
    """The widest, the highest and the most ordinary images, each with what the network sees of it."""
    ratios = np.log(found.scan.sizes[:, 0] / found.scan.sizes[:, 1])
    order = np.argsort(ratios, kind="stable")
    middle = order[np.argsort(np.abs(ratios[order] - np.median(ratios)), kind="stable")[:2]]
    half = (NUM_CUTS - 2) // 2
    if np.ptp(ratios) < 0.01:
        chosen = middle[:1].tolist()
    else:
        chosen = list(dict.fromkeys([*order[::-1][:half].tolist(), *middle.tolist(), *order[:half].tolist()]))
    cuts = []
    for row in chosen:
        original = _original(found, row)
        if original is not None:
            width, height = found.scan.sizes[row].tolist()
            name = shown(found.scan.entries[row].name)
            cuts.append(Cut(original, _input(found, row), f"{name}, {width}x{height}"))
    return cuts


def cuts_off(found: Examination) -> bool:
    """Whether a crop loses something of some image."""
    height, width = found.scan.fitting.size
    return bool((found.scan.sizes[:, 0] * height != found.scan.sizes[:, 1] * width).any())


def duplicate_samples(found: Examination) -> list[Copies]:
    """The first 20 groups of images that are the same in several parts or under several labels; else of any."""
    duplicates = found.duplicates
    matter = sorted({*duplicates.across, *duplicates.conflicting}) or list(range(len(duplicates.groups)))
    groups = []
    for place in matter[:NUM_GROUPS]:
        rows = duplicates.groups[place]
        kind = "They look the same" if duplicates.near[place] else "The same"
        where = [
            text
            for text, places in (
                ("in several parts", duplicates.across),
                ("under several labels", duplicates.conflicting),
            )
            if place in places
        ]
        more = f"; {len(rows) - NUM_COPIES} more" if len(rows) > NUM_COPIES else ""
        pictures = [(_input(found, row), _place(found, row)) for row in _different(found, rows)]
        groups.append(
            Copies(f"{kind}{' ' if where else ', all in one part and class'}{' and '.join(where)}{more}", pictures)
        )
    return groups


def _different(found: Examination, rows: Sequence[int]) -> list[int]:
    """At most four images of a group, of different parts and labels first."""
    seen: dict[tuple[str, int], int] = {}
    for row in rows:
        seen.setdefault((found.parts[row], int(found.labels[row])), row)
    first = list(seen.values())
    return [*first, *(row for row in rows if row not in set(first))][:NUM_COPIES]


def _place(found: Examination, row: int) -> str:
    label = shown(found.classes[int(found.labels[row])])
    out = "" if found.kept[row] else ", left out of training"
    return f"{shown(found.scan.entries[row].name)}: {found.parts[row]}, class {label}{out}"


def _seen(found: Examination, row: int, side: int = _SIDE) -> Image.Image:
    picture = to_picture(found.scan.images[row]).convert("RGB")
    small = picture.width < side
    return picture.resize((side, side), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)


def _input(found: Examination, row: int) -> Picture:
    name = shown(found.scan.entries[row].name)
    return _picture(_seen(found, row, 96), f"{name} as the network sees it", "PNG")


def _original(found: Examination, row: int) -> Picture | None:
    """A small picture of the file; what a crop leaves out is pale. None if it is not readable any more."""
    name, fitting = found.scan.entries[row].name, found.scan.fitting
    try:
        content = found.listing.files.read(name)
        if isinstance(content, bytes):
            with loaded(content, name) as (image, _):
                rgb = to_rgb(image, Fitting(fitting.size, 3, "pad", fitting.depth))
        else:
            rgb = to_rgb(content, fitting)
    except UserError:
        return None
    whole = rgb.size
    rgb.thumbnail((2 * _ORIGINAL, _ORIGINAL))
    if fitting.fit == "crop" and cuts_off(found):
        rgb = _outlined(rgb, seen_sides(whole, fitting), whole)
    return _picture(rgb, f"{shown(name)} as it is", "WEBP")


def _outlined(rgb: Image.Image, seen: tuple[float, float], whole: tuple[int, int]) -> Image.Image:
    """Pale but for the centred part that is seen."""
    width, height = (round(side * part / full) for side, part, full in zip(rgb.size, seen, whole, strict=True))
    left, top = (rgb.width - width) // 2, (rgb.height - height) // 2
    box = (left, top, left + width, top + height)
    pale = Image.blend(rgb, Image.new("RGB", rgb.size, (128, 128, 128)), 0.6)
    pale.paste(rgb.crop(box), box[:2])
    ImageDraw.Draw(pale).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=_OUTLINE, width=2)
    return pale


def _picture(image: Image.Image, description: str, kind: str) -> Picture:
    written = io.BytesIO()
    image.save(written, kind, **({"quality": 85} if kind == "WEBP" else {"optimize": True}))
    source = f"data:image/{kind.lower()};base64,{base64.b64encode(written.getvalue()).decode()}"
    return Picture(source, image.width, image.height, description)
