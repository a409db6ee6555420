"""Read WebDataset shards: .tar files in which an image and its label have the same name but for the ending."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thimble.data.image_paths import image_endings, natural
from thimble.errors import UserError
from thimble.system.names import shown

from .archives import archive_tree
from .listing import Entry, Files, Listing, Part
from .part_names import parts_of
from .settings import ImagesConfig
from .trees import Tree

if TYPE_CHECKING:
    from PIL.Image import Image

_LABELS = (".cls", ".cls.txt", ".class", ".label", ".txt", ".json")
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
        shard, _, member = name.partition("/")
        return self.shards[shard].read(member)


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
        config: ``label_column`` names the label's key in .json files.

    Raises:
        UserError: a shard is damaged; there are no images with labels.
    """
    shards = sorted(path.rglob("*.tar"), key=lambda shard: natural(shard.name)) if path.is_dir() else [path]
    words = {shard.name: shard.name.split("-")[0].split("_")[0].removesuffix(".tar") for shard in shards}
    parts = parts_of(words.values())
    entries: list[Entry] = []
    files: dict[str, Files] = {}
    skipped: Counter[str] = Counter()
    for shard in shards:
        tree = archive_tree(shard)
        files[shard.name] = tree.files
        entries += _entries(tree, shard.name, parts.get(words[shard.name]), config.label_column, skipped)
    if not entries:
        raise UserError(
            f"{path} has no images with labels: expected .cls or .json files beside the images, of the same names"
        )
    classes = tuple(sorted({entry.label for entry in entries}, key=natural))
    layout = f"WebDataset, {len(shards)} {'shard' if len(shards) == 1 else 'shards'}"
    place = os.path.abspath(path)
    return Listing(path.name, layout, tuple(entries), classes, ShardFiles(files), +skipped, (), (), place)


def _entries(tree: Tree, shard: str, part: Part | None, key: str | None, skipped: Counter[str]) -> Iterable[Entry]:
    labels = {_stem(name): name for name in reversed(tree.others) if name.lower().endswith(_LABELS)}
    seen: set[str] = set()
    for name, signature in tree.images.items():
        stem = _stem(name)
        if stem not in labels:
            skipped["images without a label"] += 1
        elif stem in seen:  # such as a mask or a depth image
            skipped["further images of the same sample"] += 1
        elif (label := _label(tree, labels[stem], key)) is None:
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
        return _from_json(json.loads(text), key)
    except ValueError as error:
        raise UserError(f"{shown(name)} in {tree.title} is no label: expected text or JSON in UTF-8") from error


def _from_json(value: Any, key: str | None) -> str | None:
    if isinstance(value, dict):
        wanted = _LABEL_KEYS if key is None else (key,)
        value = next((value[word] for word in wanted if word in value), None)
    return str(value).strip() or None if isinstance(value, str | int) else None


def _stem(name: str) -> str:
    """A sample's key: the path up to the first dot of the file's name."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.split('.')[0]}"
