"""Read Parquet files: tables whose images are in a column, as on the Hugging Face Hub, or manifests of files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thimble.data.image_paths import natural
from thimble.errors import UserError
from thimble.system.extras import needed
from thimble.system.names import shown

from .listing import Entry, Files, Listing
from .part_names import parts_of
from .settings import ImagesConfig

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_COLUMNS = ("image", "img", "picture", "photo", "jpg", "png", "bytes")
LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label", "class_name", "category")
_UNKNOWN = -1
"""The Hub's label for an image whose label is not given."""


@dataclass
class ParquetFiles(Files):
    """Images in Parquet files, of which each process keeps one row group.

    Attributes:
        paths: the files, by the name that their entries' names begin with.
        column: the column of the images.
        starts: by file, the first row of each row group, and at the end the number of rows.
    """

    paths: dict[str, Path]
    column: str
    starts: dict[str, list[int]]
    _kept: tuple[str, int, list[bytes | None]] | None = field(default=None, repr=False, compare=False)

    def read(self, name: str) -> bytes | Image:
        """Read the image ``FILE/ROW``."""
        import bisect

        file, _, number = name.rpartition("/")
        starts = self.starts[file]
        group = bisect.bisect_right(starts, int(number)) - 1
        if self._kept is None or self._kept[:2] != (file, group):
            self._kept = file, group, _images(self.paths[file], self.column, group)
        return self._kept[2][int(number) - starts[group]] or b""

    def __getstate__(self) -> dict[str, Any]:
        """Leave the images behind: each process reads them itself."""
        return {**self.__dict__, "_kept": None}


def has_images(path: Path) -> bool:
    """Whether a Parquet file has a column of images, and not of paths."""
    schema = _opened(path).schema_arrow
    return any(_holds_images(schema.field(name)) for name in schema.names)


def parquet_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a Parquet file as a manifest: its columns, and the values of each row as text, empty for null."""
    table = _opened(path).read()
    columns = [table.column(name).to_pylist() for name in table.column_names]
    names = _class_names(table.schema)
    columns = [
        [names[name][value] if name in names and isinstance(value, int) else value for value in values]
        for name, values in zip(table.column_names, columns, strict=True)
    ]
    rows = [["" if value is None else str(value) for value in row] for row in zip(*columns, strict=True)]
    return list(table.column_names), rows


def parquet_listing(path: Path, config: ImagesConfig) -> Listing:
    """List the images of one Parquet file, or of a folder of them; a file's name may say its part.

    Args:
        path: a file or a folder, such as of ``train-00000-of-00001.parquet`` and ``test-00000-of-00001.parquet``.
        config: ``image_column`` and ``label_column`` name the columns, if they are not named as usual.

    Raises:
        UserError: pyarrow is not installed; a file is damaged; it has no such columns.
    """
    shards = sorted(path.rglob("*.parquet"), key=lambda shard: natural(shard.name)) if path.is_dir() else [path]
    words = {shard: shard.stem.split("-")[0] for shard in shards}
    parts = parts_of(words.values())
    first = _opened(shards[0]).schema_arrow
    image = _column(first, config.image_column, IMAGE_COLUMNS, "--image-column", shards[0].name, images=True)
    label = _column(first, config.label_column, LABEL_COLUMNS, "--label-column", shards[0].name)
    entries: list[Entry] = []
    starts: dict[str, list[int]] = {}
    paths: dict[str, Path] = {}
    unlabelled = 0
    for shard in shards:
        name = shard.relative_to(path).as_posix() if path.is_dir() else shard.name
        paths[name], starts[name] = shard.absolute(), _starts(shard)
        status = shard.stat()
        signature = f"{status.st_size} {status.st_mtime_ns}"
        for row, value in enumerate(_labels(shard, label)):
            if value is None:
                unlabelled += 1
            else:
                entries.append(Entry(f"{name}/{row}", value, parts.get(words[shard]), None, signature))
    classes = tuple(_all_classes(first, label, entries))
    layout = f"Parquet with the columns {shown(image)} and {shown(label)}"
    skipped = {"images without a label": unlabelled} if unlabelled else {}
    files = ParquetFiles(paths, image, starts)
    return Listing(path.name, layout, tuple(entries), classes, files, skipped, (), (), os.path.abspath(path))


def _all_classes(schema: Any, label: str, entries: Sequence[Entry]) -> list[str]:
    """The classes that the file names, in its order; else those of the images."""
    named = _class_names(schema).get(label)
    return named or sorted({entry.label for entry in entries}, key=natural)


def _labels(path: Path, column: str) -> Iterator[str | None]:
    file = _opened(path)
    names = _class_names(file.schema_arrow).get(column)
    for batch in file.iter_batches(columns=[column]):
        for value in batch.column(0).to_pylist():
            if value is None or value == "" or (names and value == _UNKNOWN):
                yield None
            elif names and isinstance(value, int):
                if not 0 <= value < len(names):
                    raise UserError(f"{path} has the label {value}: expected one of its {len(names)} classes")
                yield names[value]
            else:
                yield str(value)


def _images(path: Path, column: str, group: int) -> list[bytes | None]:
    values = _opened(path).read_row_group(group, columns=[column]).column(0).to_pylist()
    return [value.get("bytes") if isinstance(value, dict) else value for value in values]


def _starts(path: Path) -> list[int]:
    metadata = _opened(path).metadata
    starts = [0]
    for group in range(metadata.num_row_groups):
        starts.append(starts[-1] + metadata.row_group(group).num_rows)
    return starts


def _column(schema: Any, asked: str | None, usual: Sequence[str], flag: str, name: str, *, images: bool = False) -> str:
    names = list(schema.names)
    if asked is not None:
        if names.count(asked) == 1:
            return asked
        listed = ", ".join(shown(each) for each in names)[:200]
        raise UserError(f"{shown(name)} has the columns {listed}: expected one {shown(asked)}, as {flag} says")
    holding = [each for each in names if _holds_images(schema.field(each))] if images else names
    chosen = next((each for each in usual if each in holding), holding[0] if images and len(holding) == 1 else None)
    if chosen is None:
        listed = ", ".join(shown(each) for each in names)[:200]
        raise UserError(f"{shown(name)} has the columns {listed}: expected {usual[0]}, or its name with {flag}")
    return chosen


def _holds_images(column: Any) -> bool:
    """Whether a column has bytes, or bytes in a structure, as the Hub's images."""
    with needed("pyarrow", by="a Parquet file", extra="datasets"):
        import pyarrow as pa
    kind = column.type
    if pa.types.is_struct(kind):
        return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(schema: Any) -> dict[str, list[str]]:
    """The class names of each column of labels, which ``datasets`` keeps in the file's metadata."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in about.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _opened(path: Path) -> Any:
    with needed("pyarrow", by="a Parquet file", extra="datasets"):
        import pyarrow as pa
        import pyarrow.parquet
    try:
        return pa.parquet.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} cannot be read ({reason}): expected a Parquet file") from error
