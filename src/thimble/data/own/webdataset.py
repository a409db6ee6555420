"""Read WebDataset shards: .tar files in which an image and its label have the same name but for the ending."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thimble.data.image_paths import image_endings, natural
from thimble.errors import UserError
from thimble.system.names import shown

from .archives import archive_tree
from .labels import label_text
from .listing import Entry, Files, Listing, Part
from .settings import ImagesConfig
from .shards import parts_of_shards, shards_at
from .trees import Tree

if TYPE_CHECKING:
    from PIL.Image import Image

_LABELS = (".cls", ".cls.txt", ".class", ".label", ".json", ".txt")
"""The endings of labels' files: of a sample's several, the first that has a label counts. A .txt may be a caption."""
_LABEL_KEYS = ("label", "class", "cls", "target", "class_name", "label_name", "category")
_MOST_LABEL_BYTES = 1 << 20


@dataclass(frozen=True)
class ShardFiles(Files):
    """Images in several .tar files.

    Attributes:
        shards: each shard's files, by its name, which entries' names begin with.
    """

    shards: dict[str, Files]

    def read(self, name: str) -> bytes | Image:
        """Read the file ``SHARD/PATH``."""
        end = name.find("/")
        while name[:end] not in self.shards:  # a shard may be in a folder
            end = name.index("/", end + 1)
        return self.shards[name[:end]].read(name[end + 1 :])


def is_webdataset(names: Sequence[str]) -> bool:
    """Whether the images among an archive's files have labels files beside them."""
    endings = image_endings()
    stems = {_stem(name) for name in names if os.path.splitext(name)[1].lower() in endings}
    labels = {_stem(name) for name in names if name.lower().endswith((".cls", ".cls.txt", ".json"))}
    return bool(stems) and len(stems & labels) >= 0.9 * len(stems)


def webdataset_listing(path: Path, config: ImagesConfig) -> Listing:
    """List the images of one shard, or of a folder of shards; a shard's name may say its part, as ``train-000.tar``.

    Args:
        path: a .tar or a folder.
        config: ``label_column`` names the label's key in .json files, or the ending of its own files.

    Raises:
        UserError: a shard is damaged; there are no images with labels.
    """
    shards = shards_at(path, ".tar")
    parts = parts_of_shards(shards)
    entries: list[Entry] = []
    files: dict[str, Files] = {}
    skipped: Counter[str] = Counter()
    for name, shard in shards.items():
        tree = archive_tree(shard)
        files[name] = tree.files
        entries += _entries(tree, name, parts.get(name), config.label_column, skipped)
    if not entries:
        raise UserError(
            f"{path} has no images with labels: expected .cls or .json files beside the images, of the same names"
        )
    classes = tuple(sorted({entry.label for entry in entries}, key=natural))
    layout = f"WebDataset, {len(shards)} {'shard' if len(shards) == 1 else 'shards'}"
    place = os.path.abspath(path)
    return Listing(path.name, layout, tuple(entries), classes, ShardFiles(files), +skipped, (), (), place)


def _entries(tree: Tree, shard: str, part: Part | None, key: str | None, skipped: Counter[str]) -> Iterable[Entry]:
    endings = _LABELS if key is None else (f".{key.lower().lstrip('.')}", ".json")
    labels: dict[str, dict[str, str]] = {}
    for name in tree.others:
        ending = next((ending for ending in endings if name.lower().endswith(ending)), None)
        if ending is not None:
            labels.setdefault(_stem(name), {})[ending] = name
    seen: set[str] = set()
    for name, signature in tree.images.items():
        stem = _stem(name)
        own = [labels[stem][ending] for ending in endings if ending in labels[stem]] if stem in labels else []
        if stem in seen:  # such as a mask or a depth image
            skipped["further images of the same sample"] += 1
        elif (label := next((text for each in own if (text := _label(tree, each, key))), None)) is None:
            skipped["images without a label"] += 1
        else:
            seen.add(stem)
            yield Entry(f"{shard}/{name}", label, part, None, signature)


def _label(tree: Tree, name: str, key: str | None) -> str | None:
    content = tree.files.read(name)
    if not isinstance(content, bytes) or len(content) > _MOST_LABEL_BYTES:
        raise UserError(f"{shown(name)} in {tree.title} is too large for a label: expected at most 1 MiB")
    try:
        text = content.decode("utf-8-sig").strip()
        if not name.lower().endswith(".json"):
            return text or None
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown(name)} in {tree.title} is no label: expected text or JSON in UTF-8") from error
    if isinstance(value, dict):
        wanted = _LABEL_KEYS if key is None else (key,)
        value = next((value[word] for word in wanted if word in value), None)
    return label_text(value, (), f"{shown(name)} in {tree.title}") if isinstance(value, str | int | float) else None


def _stem(name: str) -> str:
    """A sample's key: the path up to the first dot of the file's name."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.split('.')[0]}"
