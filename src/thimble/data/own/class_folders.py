"""Read folders whose names are classes, in parts or not, at any depth: on disk or in an archive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from thimble.data.image_paths import composed, natural
from thimble.errors import UserError
from thimble.system.names import shown

from .listing import PARTS, Entry, Listing, Part
from .part_names import parts_of
from .settings import ImagesConfig
from .trees import OTHER, FolderFiles, Tree

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


@dataclass(frozen=True)
class _Shape:
    """What the folders of a path mean.

    Attributes:
        wrapping: the number of folders around all others.
        repeated: folders that have one folder, of the same name, as in ``seg_train/seg_train``: it counts once.
        parts: the parts.
    """

    wrapping: int
    repeated: frozenset[str]
    parts: _Parts

    def cut(self, folders: Path) -> Path:
        """The folders without those around and the repeated one."""
        folders = folders[self.wrapping :]
        return folders[1:] if folders and folders[0] in self.repeated else folders

    def split(self, folders: Path) -> tuple[Part | None, Path] | None:
        """An image's part, and the folders that hold it without the part's; None if it is outside the parts."""
        folders, level = self.cut(folders), self.parts.level
        if not self.parts.names:
            return None, folders
        part = self.parts.names.get(folders[level]) if len(folders) > level else None
        return None if part is None else (part, folders[:level] + folders[level + 1 :])


def class_folder_listing(tree: Tree, config: ImagesConfig) -> Listing:
    """Take folders' names as classes, and folders such as ``train`` as parts.

    Args:
        tree: the files.
        config: ``class_level`` says which folder names the class.

    Raises:
        UserError: there are no images, or not in folders of the asked level.
    """
    held = Counter(name.rpartition("/")[0] for name in tree.images)
    _require_folders(tree, held)
    shape = _shape_of({_path(folder) for folder in held})
    _require_classes(tree, held, shape)
    level = 1 if config.class_level is None else config.class_level
    skipped = Counter(tree.skipped)
    chosen: dict[str, tuple[Part | None, Path]] = {}
    inside: set[Path] = set()
    for folder, count in held.items():
        place = shape.split(_path(folder))
        if place is None:
            skipped[_OUTSIDE] += count
            continue
        part, folders = place
        inside.add(folders)
        if len(folders) < max(level, 1):
            skipped[_BESIDE] += count
        else:
            chosen[folder] = part, folders[:level] if level else folders
    deepest = max(len(folders) for folders in inside)
    if not chosen:
        raise UserError(
            f"{shown(tree.place)} has no images {level} folders deep: expected --class-level from 1 to {deepest}, or 0"
            " for the folders that hold the images"
        )
    used = {folders for _, folders in chosen.values()}
    labels = _labels([*chosen.values(), *_empty_folders(tree, shape, level, used)])
    label_of = {folder: (labels[folders], part) for folder, (part, folders) in chosen.items()}
    entries = tuple(
        Entry(name, *label_of[folder], None, signature)
        for name, signature in tree.images.items()
        if (folder := name.rpartition("/")[0]) in label_of
    )
    classes = tuple(sorted(set(labels.values()), key=natural))
    notes = [*_about_tables(tree), *_about_moved(labels), *_about_case(classes)]
    if config.class_level is None:
        notes[:0] = _about_depth(len(used), {folders for folders in inside if folders})
    return Listing(
        tree.title, _layout(shape.parts, level), entries, classes, tree.files, +skipped, (), tuple(notes), tree.place
    )


def has_class_folders(tree: Tree) -> bool:
    """Whether images are in at least two folders that may be classes: not only in folders such as train and test."""
    held = {name.rpartition("/")[0] for name in tree.images} - {""}
    shape = _shape_of({_path(folder) for folder in held})
    places = [place for folder in held if (place := shape.split(_path(folder))) is not None]
    return len({folders[0] for _, folders in places if folders}) > 1 and not _only_parts(shape, held)


def _path(folder: str) -> Path:
    return tuple(folder.split("/")) if folder else ()


def _require_folders(tree: Tree, held: Iterable[str]) -> None:
    if not tree.images:
        num_others = tree.skipped.get(OTHER, 0)
        others = f", and {num_others:,} other {'file' if num_others == 1 else 'files'}" if num_others else ""
        raise UserError(
            f"{shown(tree.place)} has no images{others}: expected files with endings such as .jpg or .png, in a folder"
            " for each class"
        )
    if not any(held):
        count = f"{len(tree.images):,} images" if len(tree.images) > 1 else "one image"
        raise UserError(
            f"{shown(tree.place)} has {count} and no folders with images: expected a folder for each"
            f" class{_or_manifest(tree)}"
        )


def _require_classes(tree: Tree, held: Iterable[str], shape: _Shape) -> None:
    if _only_parts(shape, held):
        names = ", ".join(sorted({shown(shape.cut(_path(folder))[0]) for folder in held if folder}))
        raise UserError(
            f"{shown(tree.place)} has images directly in {names}, without class folders: expected a folder for each"
            f" class in each{_or_manifest(tree)}"
        )


def _or_manifest(tree: Tree) -> str:
    """The advice to use a manifest, if there is one on disk."""
    on_disk = tree.tables and isinstance(tree.files, FolderFiles)
    return f", or a manifest: --data {shown(tree.place)}/{shown(tree.tables[0])}" if on_disk else ""


def _only_parts(shape: _Shape, held: Iterable[str]) -> bool:
    """Whether the folders are named like parts, train among them, and have no folders for classes."""
    paths = {shape.cut(_path(folder)) for folder in held} - {()}
    if shape.parts.names or any(len(path) > 1 for path in paths):
        return False
    found = parts_of(path[0] for path in paths)
    return len(found) == len(paths) and "train" in found.values()


def _shape_of(paths: set[Path]) -> _Shape:
    """Find out what the folders that hold images mean."""
    wrapping = _wrapping(paths)
    cut = {path[wrapping:] for path in paths} - {()}
    tops = {path[0] for path in cut}
    below = {top: {path[1:2] for path in cut if path[0] == top} for top in parts_of(tops)}
    repeated = frozenset(top for top, found in below.items() if found == {(top,)})
    return _Shape(wrapping, repeated, _find_parts({path[1:] if path[0] in repeated else path for path in cut}))


def _wrapping(folders: set[Path]) -> int:
    """The number of folders around all others, as unpacked archives have them: not parts, nor the only class."""
    count = 0
    while True:
        tops = {folder[count] for folder in folders if len(folder) > count}
        if len(tops) != 1 or parts_of(tops):
            return count
        below = {folder[count + 1 : count + 2] for folder in folders if len(folder) > count}
        if () in below and len(below) < 3 and not parts_of(name for (name,) in below - {()}):
            return count
        count += 1


def _find_parts(folders: set[Path]) -> _Parts:
    """Find parts among the folders that hold images: at the top, or below each class."""
    tops = {folder[0] for folder in folders}
    named = parts_of(tops)
    below = {name: {folder[1] for folder in folders if len(folder) > 1 and folder[0] == name} for name in named}
    if any(below.values()) and (len(named) == len(tops) or _hold_classes(named, below)):
        return _Parts(0, named)
    seconds = {folder[1] if len(folder) > 1 else "" for folder in folders}
    inner = parts_of(seconds)
    if len(set(inner.values())) > 1 and len(inner) == len(seconds):
        return _Parts(1, inner)
    return _Parts(0, {})


def _hold_classes(named: dict[str, Part], below: dict[str, set[str]]) -> bool:
    """Whether the training part has classes and there are other parts, so that folders beside them are no classes."""
    trained = {label for name, part in named.items() if part == "train" for label in below[name]}
    others = {label for name, part in named.items() if part != "train" for label in below[name]}
    return bool(trained & others) or (len(trained) > 1 and len(set(named.values())) > 1)


def _empty_folders(tree: Tree, shape: _Shape, level: int, used: set[Path]) -> list[tuple[Part | None, Path]]:
    """The folders that stand for classes without images, with their parts."""
    found = {_path(name) for name in tree.folders}
    holders = set() if level else {folder[:end] for folder in found for end in range(len(folder))}
    empty: dict[Path, Part | None] = {}
    for folder in found - holders:
        place = shape.split(folder)
        if place is None or len(folder) <= shape.wrapping:
            continue
        part, rest = place
        if rest and (not level or len(rest) == level) and rest not in used:
            empty[rest] = part
    return [(part, folder) for folder, part in empty.items()]


def _labels(placed: Iterable[tuple[Part | None, Path]]) -> dict[Path, str]:
    """Each folder's class: its own name; or its path, if two folders of one part have the same name.

    Folders of one name in different places of different parts are one class. So are names of the same letters: macOS
    stores an é as an e and an accent.
    """
    places: dict[tuple[Part | None, str], set[Path]] = {}
    folders: dict[Path, None] = {}
    for part, folder in placed:
        places.setdefault((part, folder[-1]), set()).add(folder)
        folders[folder] = None
    clash = any(len(found) > 1 for found in places.values())
    return {folder: composed("/".join(folder) if clash else folder[-1]) for folder in folders}


def _about_moved(labels: dict[Path, str]) -> Iterator[str]:
    """Tell of classes whose folders are in other places in other parts."""
    seen: dict[str, Path] = {}
    for folder, label in labels.items():
        first, second = shown(composed("/".join(seen.setdefault(label, folder)))), shown(composed("/".join(folder)))
        if first != second:
            yield f"Class {shown(label)} is in different places in the parts: {first} and {second}."


def _about_depth(num_classes: int, leaves: set[Path]) -> Iterator[str]:
    """Say so if deeper folders could be classes too."""
    deepest = max(len(leaf) for leaf in leaves)
    if len(leaves) <= num_classes:
        return
    first = "folder is the only class" if num_classes == 1 else f"folders are the {num_classes:,} classes"
    deeper = {2: "", 3: ", and --class-level 2 a level between"}.get(
        deepest, f", and --class-level 2 to {deepest - 1} a level between"
    )
    yield f"The first {first}; --class-level 0 takes the {len(leaves):,} folders that hold the images{deeper}."


def _about_tables(tree: Tree) -> Iterator[str]:
    """Tell of files that may be manifests."""
    if tree.tables:
        more = f" and {len(tree.tables) - 1:,} more are" if len(tree.tables) > 1 else " is"
        yield f"{shown(tree.tables[0])}{more} not used: the folders' names are the labels."


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
