"""Read folders whose names are classes, in parts or not, at any depth: on disk or in an archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from thimble.data.image_paths import natural
from thimble.errors import UserError
from thimble.system.names import shown

from .listing import PARTS, Entry, Listing, Part
from .part_names import parts_of
from .settings import ImagesConfig
from .trees import Tree

_BESIDE = "beside the class folders"
_OUTSIDE = "outside the parts"

Path = tuple[str, ...]


@dataclass(frozen=True)
class _Parts:
    """Which folders are parts.

    Attributes:
        level: where their names are in a path, counted from 0.
        names: each folder's part; empty if there are no parts.
    """

    level: int
    names: dict[str, Part]

    def split(self, folders: Path) -> tuple[Part | None, Path]:
        """An image's part, and the folders that hold it without the part's; no part if it is outside."""
        if not self.names:
            return None, folders
        name = folders[self.level] if len(folders) > self.level else ""
        return self.names.get(name), folders[: self.level] + folders[self.level + 1 :]


def class_folder_listing(tree: Tree, config: ImagesConfig) -> Listing:
    """Take folders' names as classes, and folders such as ``train`` as parts.

    Args:
        tree: the files.
        config: ``class_level`` says which folder names the class.

    Raises:
        UserError: there are no images, or not in folders of the asked level.
    """
    paths = {name: tuple(name.split("/")) for name in tree.images}
    _require_folders(tree, paths.values())
    wrapping = _wrapping(paths.values())
    parts = _find_parts({path[wrapping:-1] for path in paths.values()})
    skipped = Counter(tree.skipped)
    level = 1 if config.class_level is None else config.class_level
    chosen: dict[str, tuple[Part | None, Path]] = {}
    depths: Counter[int] = Counter()
    for name, path in paths.items():
        part, folders = parts.split(path[wrapping:-1])
        if parts.names and part is None:
            skipped[_OUTSIDE] += 1
            continue
        depths[len(folders)] += 1
        if len(folders) < max(level, 1):
            skipped[_BESIDE] += 1
        else:
            chosen[name] = part, folders[:level] if level else folders
    if not chosen:
        deepest = max(depths, default=0)
        raise UserError(
            f"{shown(tree.place)} has no images {level} folders deep: expected --class-level from 1 to {deepest}, or 0"
            " for the folders that hold the images"
        )
    empty = _empty_folders(tree, wrapping, parts, level, {folders for _, folders in chosen.values()})
    labels = _labels([*chosen.values(), *empty])
    entries = tuple(
        Entry(name, labels[folders], part, None, tree.images[name]) for name, (part, folders) in chosen.items()
    )
    classes = tuple(sorted(set(labels.values()), key=natural))
    notes = [
        *_about_depth(config, depths, chosen, paths, wrapping, parts),
        *_about_moved(labels),
        *_about_case(classes),
    ]
    layout = _layout(parts, level)
    return Listing(tree.title, layout, entries, classes, tree.files, skipped, (), tuple(notes), tree.place)


def _require_folders(tree: Tree, paths: Iterable[Path]) -> None:
    if not tree.images:
        others = f" among {tree.skipped['not images']:,} files" if tree.skipped.get("not images") else ""
        raise UserError(
            f"{shown(tree.place)} has no images{others}: expected files with endings such as .jpg or .png, in a folder"
            " for each class"
        )
    if all(len(path) == 1 for path in paths):
        tables = f", or a manifest: --data {shown(tree.place)}/{shown(tree.tables[0])}" if tree.tables else ""
        raise UserError(
            f"{shown(tree.place)} has {len(tree.images):,} images and no folders with images: expected a folder for"
            f" each class{tables}"
        )


def _wrapping(paths: Iterable[Path]) -> int:
    """The number of folders around all others, as unpacked archives have them: not parts, nor the only class."""
    folders = {path[:-1] for path in paths}
    count = 0
    while True:
        tops = {folder[count] if len(folder) > count else None for folder in folders}
        (top,) = tops if len(tops) == 1 else (None,)
        if top is None or parts_of([top]) or any(len(folder) == count + 1 for folder in folders):
            return count
        count += 1


def _find_parts(folders: set[Path]) -> _Parts:
    """Find parts among the folders that hold images: at the top, or below each class."""
    tops = {folder[0] for folder in folders if folder}
    named = parts_of(tops)
    below = {name: {folder[1] for folder in folders if len(folder) > 1 and folder[0] == name} for name in named}
    named = {name: part for name, part in named.items() if below[name]}
    if named and (len(named) == len(tops) or _share_classes(named, below)):
        return _Parts(0, named)
    seconds = {folder[1] if len(folder) > 1 else "" for folder in folders if folder}
    inner = parts_of(seconds)
    if len(set(inner.values())) > 1 and len(inner) == len(seconds):
        return _Parts(1, inner)
    return _Parts(0, {})


def _share_classes(named: dict[str, Part], below: dict[str, set[str]]) -> bool:
    """Whether there are training and other parts with a class in common, so that folders beside them are no classes."""
    trained = {label for name, part in named.items() if part == "train" for label in below[name]}
    others = {label for name, part in named.items() if part != "train" for label in below[name]}
    return bool(trained & others)


def _empty_folders(
    tree: Tree, wrapping: int, parts: _Parts, level: int, used: set[Path]
) -> list[tuple[Part | None, Path]]:
    """The folders that stand for classes without images, with their parts."""
    found = {tuple(name.split("/")) for name in tree.folders}
    holders = set() if level else {folder[:end] for folder in found for end in range(len(folder))}
    empty: dict[Path, Part | None] = {}
    for folder in found - holders:
        part, rest = parts.split(folder[wrapping:])
        if parts.names and (part is None or len(folder) <= wrapping + parts.level):
            continue
        if rest and (not level or len(rest) == level) and rest not in used:
            empty[rest] = part
    return [(part, folder) for folder, part in empty.items()]


def _labels(placed: Iterable[tuple[Part | None, Path]]) -> dict[Path, str]:
    """Each folder's class: its own name; or its path, if two folders of one part have the same name.

    Folders of one name in different places of different parts are one class.
    """
    places: dict[tuple[Part | None, str], set[Path]] = {}
    folders: dict[Path, None] = {}
    for part, folder in placed:
        places.setdefault((part, folder[-1]), set()).add(folder)
        folders[folder] = None
    clash = any(len(found) > 1 for found in places.values())
    return {folder: "/".join(folder) if clash else folder[-1] for folder in folders}


def _about_moved(labels: dict[Path, str]) -> Iterator[str]:
    """Tell of classes whose folders are in other places in other parts."""
    seen: dict[str, Path] = {}
    for folder, label in labels.items():
        first = seen.setdefault(label, folder)
        if first != folder:
            places = f"{shown('/'.join(first))} and {shown('/'.join(folder))}"
            yield f"Class {shown(label)} is in different places in the parts: {places}."


def _about_depth(
    config: ImagesConfig,
    depths: Counter[int],
    chosen: dict[str, tuple[Part | None, Path]],
    paths: dict[str, Path],
    wrapping: int,
    parts: _Parts,
) -> Iterator[str]:
    """Say so if deeper folders could be classes too."""
    deepest = max(depths)
    if config.class_level is not None or deepest == 1:
        return
    num_classes = len({folders for _, folders in chosen.values()})
    leaves = len({parts.split(paths[name][wrapping:-1])[1] for name in chosen})
    if leaves > num_classes:
        yield (
            f"The first folders are the {num_classes:,} classes; --class-level 0 takes the {leaves:,} folders that hold"
            f" the images, and --class-level 2 to {deepest} a level between."
            if deepest > 2
            else f"The first folders are the {num_classes:,} classes; --class-level 0 takes the {leaves:,} folders that"
            " hold the images."
        )


def _about_case(classes: Sequence[str]) -> Iterator[str]:
    """Tell of classes whose names differ only in upper case or spaces."""
    seen: dict[str, str] = {}
    for name in classes:
        other = seen.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            yield f"Classes {shown(other)!r} and {shown(name)!r} differ only in upper case or spaces: two classes."


def _layout(parts: _Parts, level: int) -> str:
    which = {0: "the folders that hold the images", 1: "class folders"}.get(level, f"folders at level {level}")
    if not parts.names:
        return which
    names = [
        shown(name) for name in sorted(parts.names, key=lambda name: (PARTS.index(parts.names[name]), natural(name)))
    ]
    where = " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)
    return f"{which} in {where}" if parts.level == 0 else f"{which}, with {where} in each"
