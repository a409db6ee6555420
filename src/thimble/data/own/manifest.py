"""Read a manifest: a table of images and their labels, beside the folder that holds the images or in an archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from thimble.data.image_paths import composed, natural
from thimble.errors import UserError
from thimble.system.names import shown

from .finding import Folders
from .listing import Entry, Files, Listing, Part
from .part_names import parts_of
from .settings import ImagesConfig
from .tables import Table

_IMAGE_COLUMNS = (
    *("path", "image", "file_name", "filename", "file", "image_path", "filepath", "file_path", "image_name"),
    *("img", "img_path", "image_id", "id"),
)
_LABEL_COLUMNS = ("label", "class", "target", "class_name", "label_name", "category", "labels", "classname", "y")
_PART_COLUMNS = ("split", "part", "subset", "set")
_GROUP_COLUMNS = ("group", "group_id")


@dataclass(frozen=True)
class Columns:
    """Where a manifest's rows have what: indices; None for what they do not have."""

    image: int
    label: int
    part: int | None
    group: int | None


def manifest_listing(
    table: Table, title: str, place: str, files: Files, folders: Folders, config: ImagesConfig
) -> Listing:
    """Take the images and labels of a manifest's rows.

    Rows without a label are left out, as are images with several labels.

    Args:
        table: the rows.
        title: the dataset's name for people.
        place: its absolute path.
        files: reads the images.
        folders: finds them.
        config: names the columns, if they are not named as usual.

    Raises:
        UserError: a column is missing or doubled; a row has an unknown part; no image, or too few, can be found.
    """
    if config.class_level is not None:
        raise UserError(
            f"--class-level is for class folders: {shown(title)} is a manifest, whose label column names them"
        )
    columns = find_columns(table.columns, title, config)
    parts = _parts_in(table, columns, title)
    skipped: Counter[str] = Counter()
    missing: dict[str, None] = {}
    found: dict[str, Entry] = {}
    several: set[str] = set()
    for row in table.rows:
        name, label = row[columns.image].strip(), composed(row[columns.label].strip())
        if not label or not name:
            skipped["rows without a label" if name else "rows without an image"] += 1
            continue
        part = None if columns.part is None else parts.get(row[columns.part].strip())
        image = folders.find(name, part)
        if image is None:
            missing[name] = None
            continue
        group = None if columns.group is None else row[columns.group].strip() or None
        entry = Entry(image[0], label, part, group, image[1])
        if found.setdefault(image[0], entry) != entry:
            several.add(image[0])
        elif found[image[0]] is not entry:
            skipped["rows of the same image again"] += 1
    entries = tuple(entry for name, entry in found.items() if name not in several)
    if not entries:
        raise UserError(f"{shown(title)} {_why_none(missing, several)}")
    if several:
        skipped["images with several labels, parts or groups"] = len(several)
    if unused := folders.unused(set(found)):
        skipped["images that the manifest does not list"] = unused
    classes = tuple(sorted({entry.label for entry in entries}, key=natural))
    named = {what: shown(table.columns[index]) for what, index in vars(columns).items() if index is not None}
    layout = f"a manifest with the columns {', '.join(f'{name} ({what})' for what, name in named.items())}"
    return Listing(title, layout, entries, classes, files, skipped, tuple(missing), table.notes, place)


def _why_none(missing: dict[str, None], several: set[str]) -> str:
    """Why a manifest gives no images, and what is expected."""
    if several:
        return f"gives each of its {len(several):,} images several labels, parts or groups: expected one of each"
    if missing:
        return (
            f"lists {len(missing):,} images, none of which exists, such as {shown(next(iter(missing)))}: expected paths"
            " relative to the manifest, or to a folder beside it"
        )
    return "has no row with an image and a label: expected one for each image"


def find_columns(names: Sequence[str], title: str, config: ImagesConfig) -> Columns:
    """Find the columns by the names that were asked for, or by the usual ones.

    Raises:
        UserError: there is no such column, or there are two of the same name.
    """
    plain = [name.strip().casefold() for name in names]
    listed = ", ".join(shown(name) for name in names)[:200]

    def index_of(wanted: Sequence[str]) -> int | None:
        chosen = next((word for word in wanted if word in plain), None)
        if chosen is None:
            return None
        if plain.count(chosen) > 1:
            raise UserError(f"{shown(title)} has {plain.count(chosen)} columns named {shown(chosen)}: expected one")
        return plain.index(chosen)

    def needed(asked: str | None, usual: Sequence[str], flag: str) -> int:
        wanted = usual if asked is None else (asked.strip().casefold(),)
        index = index_of(wanted)
        if index is None:
            expected = f"one named {', '.join(usual[:3])}, or its name with {flag}" if asked is None else shown(asked)
            raise UserError(f"{shown(title)} has the columns {listed}: expected {expected}")
        return index

    image = needed(config.image_column, _IMAGE_COLUMNS, "--image-column")
    label = needed(config.label_column, _LABEL_COLUMNS, "--label-column")
    group = index_of(_GROUP_COLUMNS if config.group is None else (config.group.strip().casefold(),))
    return Columns(image, label, index_of(_PART_COLUMNS), group)


def _parts_in(table: Table, columns: Columns, title: str) -> dict[str, Part]:
    if columns.part is None:
        return {}
    values = {row[columns.part].strip() for row in table.rows} - {""}
    parts = parts_of(values)
    unknown = sorted(values - parts.keys())
    if unknown:
        raise UserError(
            f"{shown(title)}, column {shown(table.columns[columns.part])}: {shown(unknown[0][:60])!r} is no part;"
            " expected train, val or test, or nothing"
        )
    return parts
