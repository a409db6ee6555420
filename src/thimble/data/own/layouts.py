"""Find out how the images at a path are laid out, and list them with their labels, parts and groups."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

from thimble.errors import UserError
from thimble.system.arguments import expanded
from thimble.system.files import read_file
from thimble.system.names import shown

from .archives import archive_tree, is_archive
from .class_folders import class_folder_listing, has_class_folders
from .finding import Folders, folders_on_disk
from .listing import Entry, Listing
from .manifest import manifest_listing
from .part_names import parts_of
from .settings import ImagesConfig
from .tables import MOST_BYTES, Table, read_table
from .trees import FolderFiles, Tree, ending_of, folder_tree, is_folder, why_skipped

_EXPECTED = (
    "expected a folder of images, a manifest (.csv, .tsv, .parquet), an archive (.zip, .tar), IDX files, or"
    " hf:OWNER/NAME"
)

_NOTES = frozenset({"", ".md", ".json", ".txt", ".yaml"})
"""The endings of files that say something of the others, such as a licence."""


def read_listing(path: str | Path, config: ImagesConfig) -> Listing:
    """List the images at a path; no image is opened, and nothing is written.

    Args:
        path: a folder with class folders, in parts or not, or with a manifest; a manifest; an archive of these; IDX,
            Parquet or WebDataset files, or a folder of them; or ``hf:OWNER/NAME``.
        config: how to read it.

    Raises:
        UserError: there is nothing at the path, it cannot be read, or it is none of these.
    """
    listing = _read(path, config)
    return _grouped(_only(listing, config), config)


def _read(path: str | Path, config: ImagesConfig) -> Listing:
    text = os.fspath(path)
    if text.startswith("hf:"):
        from .hub_dataset import hub_listing

        return hub_listing(text, config)
    place = expanded(text)
    if not os.path.lexists(place):
        raise UserError(f"{place} does not exist: {_EXPECTED}")
    return _read_folder(place, config) if place.is_dir() else _read_file(place, config)


def _read_folder(folder: Path, config: ImagesConfig) -> Listing:
    from .idx import idx_listing, is_idx

    if is_idx(folder):
        return idx_listing(folder, config)
    shards = _shards(folder)
    if shards == ".parquet":
        from .parquet import parquet_listing

        return parquet_listing(folder, config)
    if shards == ".tar":
        from .webdataset import webdataset_listing

        return webdataset_listing(folder, config)
    return _read_tree(folder_tree(folder), config, lambda table: _manifest_on_disk(folder / table, config))


def _read_file(path: Path, config: ImagesConfig) -> Listing:
    from .idx import idx_listing, is_idx

    ending = path.suffix.lower()
    if ending == ".parquet":
        return _parquet(path, config)
    if ending in (".csv", ".tsv"):
        return _manifest_on_disk(path, config)
    if is_idx(path):
        return idx_listing(path, config)
    if not is_archive(path):
        raise UserError(f"{path} is none of the files that Thimble reads: {_EXPECTED}")
    tree = archive_tree(path)
    from .webdataset import is_webdataset, webdataset_listing

    if ending == ".tar" and is_webdataset([*tree.images, *tree.others]):
        return webdataset_listing(path, config)
    return _read_tree(tree, config, lambda table: _manifest_in_archive(tree, table, config))


def _read_tree(tree: Tree, config: ImagesConfig, read_manifest: Callable[[str], Listing]) -> Listing:
    """Class folders, or else the only manifest at the top."""
    top = min((name.count("/") for name in tree.tables), default=0)
    manifests = [name for name in tree.tables if name.count("/") == top]
    by_name = config.image_column is not None or config.label_column is not None
    folders_name_classes = has_class_folders(tree)
    if len(manifests) == 1 and (by_name or not folders_name_classes):
        return read_manifest(manifests[0])
    if by_name and not manifests:
        raise UserError(
            f"--image-column and --label-column name columns of a manifest, but {shown(tree.title)} has no manifest:"
            " expected one, such as labels.csv, or neither option"
        )
    if by_name or (manifests and tree.images and not folders_name_classes):
        names = ", ".join(shown(name) for name in manifests[:3]) + (", …" if len(manifests) > 3 else "")
        one = f"--data {shown(tree.place)}/{shown(manifests[0])}" if os.path.isdir(tree.place) else "one only"
        raise UserError(f"{shown(tree.title)} has {len(manifests)} manifests, {names}: expected {one}")
    return class_folder_listing(tree, config)


def _manifest_on_disk(path: Path, config: ImagesConfig) -> Listing:
    if path.suffix.lower() == ".parquet":
        return _parquet(path, config)
    table = read_table(read_file(path, MOST_BYTES), path.name)
    return _listing_of(table, path, config)


def _listing_of(table: Table, path: Path, config: ImagesConfig) -> Listing:
    beside = os.path.abspath(path.parent)
    folders = folders_on_disk(beside, path.name)
    return manifest_listing(table, path.name, os.path.abspath(path), FolderFiles(beside), folders, config)


def _parquet(path: Path, config: ImagesConfig) -> Listing:
    from .parquet import has_images, parquet_listing, parquet_rows

    if has_images(path, config):
        return parquet_listing(path, config)
    columns, rows = parquet_rows(path)
    return _listing_of(Table(tuple(columns), rows), path, config)


def _manifest_in_archive(tree: Tree, table: str, config: ImagesConfig) -> Listing:
    content = tree.files.read(table)
    assert isinstance(content, bytes)
    folder = table.rpartition("/")[0]
    by_folder: dict[str, dict[str, str]] = {}
    for name, signature in tree.images.items():
        place, _, file = name.rpartition("/")
        by_folder.setdefault(place, {})[file] = signature
    around = [name for name in tree.folders if name.rpartition("/")[0] == folder]

    def files_in(place: str) -> dict[str, str]:
        return by_folder.get(place, {})

    folders = Folders(table, around, files_in)
    return manifest_listing(read_table(content, table), tree.title, tree.place, tree.files, folders, config)


def _shards(folder: Path, depth: int = 3) -> str | None:
    """The ending of a folder's files, if all but notes are Parquet or .tar files.

    They may be in a folder below, such as ``data`` of a dataset from the Hub, or in folders of parts.
    """
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if why_skipped(entry.name) is None]
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}; expected a readable folder") from error
    folders = [entry.name for entry in entries if is_folder(entry)]
    endings = {ending_of(entry.name) for entry in entries if not is_folder(entry)} - _NOTES
    if not folders:
        return next(iter(endings)) if len(endings) == 1 and endings <= {".parquet", ".tar"} else None
    if endings or not depth or (folders not in (["data"], ["default"]) and len(parts_of(folders)) < len(folders)):
        return None
    below = {_shards(folder / name, depth - 1) for name in folders}
    return below.pop() if len(below) == 1 else None


def _only(listing: Listing, config: ImagesConfig) -> Listing:
    """Keep the images of the asked classes."""
    if not config.classes:
        return listing
    unknown = [name for name in config.classes if name not in set(listing.classes)]
    if unknown:
        known = ", ".join(shown(name) for name in listing.classes)[:200]
        raise UserError(f"--classes: {shown(listing.title)} has no class {shown(unknown[0])!r}: expected among {known}")
    wanted = set(config.classes)
    entries = tuple(entry for entry in listing.entries if entry.label in wanted)
    skipped = {**listing.skipped}
    if others := len(listing.entries) - len(entries):
        skipped["images of other classes"] = others
    return dataclasses.replace(listing, entries=entries, classes=config.classes, skipped=skipped)


def _grouped(listing: Listing, config: ImagesConfig) -> Listing:
    """Put the images in groups, as ``config.group`` says."""
    if config.group is None:
        return listing
    if any(entry.group is not None for entry in listing.entries):  # by a manifest's column of this name
        return listing
    group_of = _group_rule(config.group)
    entries = tuple(dataclasses.replace(entry, group=group_of(entry)) for entry in listing.entries)
    if not any(entry.group is not None for entry in entries):
        example = f", such as {shown(entries[0].name)}" if entries else ""
        raise UserError(
            f"--group {shown(config.group)} gives no group to any of the images{example}: expected a manifest's column,"
            " a folder level such as level:2, or a regular expression whose first bracket is the group"
        )
    return dataclasses.replace(listing, entries=entries)


def _group_rule(group: str) -> Callable[[Entry], str | None]:
    if match := re.fullmatch(r"level:(\d{1,3})", group):
        level = int(match[1])

        def by_level(entry: Entry) -> str | None:
            folders = entry.name.split("/")[:-1]
            return folders[level - 1] if 1 <= level <= len(folders) else None

        return by_level
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(
            f"--group {shown(group)} is no regular expression ({error}): expected e.g. '(.*)_frame'"
        ) from error

    def by_pattern(entry: Entry) -> str | None:
        found = pattern.search(entry.name)
        return None if found is None else found[1] if pattern.groups else found[0]

    return by_pattern
