"""Read Parquet files: tables whose images are in a column, as on the Hugging Face Hub, or manifests of files."""

from __future__ import annotations

import bisect
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thimble.data.image_paths import natural
from thimble.errors import UserError
from thimble.system.extras import needed
from thimble.system.names import shown

from .labels import label_text
from .listing import Entry, Files, Listing
from .part_names import parts_of
from .settings import ImagesConfig
from .shards import parts_of_shards, shards_at

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_COLUMNS = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "bytes")
LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label", "class_name", "category")
_PART_COLUMNS, _GROUP_COLUMNS = ("split", "part", "subset", "set"), ("group", "group_id")
_MOST_KEPT_BYTES = 2**28
_ROWS_AT_ONCE = 16
_BUFFER_BYTES = 2**20


@dataclass
class ParquetFiles(Files):
    """Images in Parquet files, of which each process keeps one row group, or some rows of a large one.

    Attributes:
        paths: the files, by the name that their entries' names begin with.
        column: the column of the images.
        starts: by file, the first row of each row group, and at the end the number of rows.
    """

    paths: dict[str, Path]
    column: str
    starts: dict[str, list[int]]
    _kept: _RowGroup | None = field(default=None, repr=False, compare=False)

    def read(self, name: str) -> bytes | Image:
        """Read the image ``FILE/ROW``."""
        file, _, number = name.rpartition("/")
        starts, row = self.starts[file], int(number)
        group = bisect.bisect_right(starts, row) - 1
        if self._kept is None or self._kept.place != (file, group):
            self._kept = _RowGroup((file, group), self.paths[file], self.column)
        return self._kept.read(row - starts[group])

    def __getstate__(self) -> dict[str, Any]:
        """Leave the images behind: each process reads them itself."""
        return {**self.__dict__, "_kept": None}


class _RowGroup:
    """The images of one row group: read at once, or in pieces if they are many. Damage is found once."""

    def __init__(self, place: tuple[str, int], path: Path, column: str) -> None:
        self.place = place
        self._path, self._column = path, column
        self._damage: UserError | None = None
        self._pieces: Iterator[Any] = iter(())
        self._images: Any = None
        self._first = 0

    def read(self, row: int) -> bytes:
        if self._damage is not None:
            raise self._damage
        try:
            if self._images is None or row < self._first:
                self._pieces, self._first, self._images = self._begin(), 0, ()
            while row >= self._first + len(self._images):
                self._first += len(self._images)
                with _damage(self._path):
                    self._images = next(self._pieces)
        except StopIteration:
            self._damage = UserError(f"{self._path} became shorter: expected a file that stays as it is")
            raise self._damage from None
        except UserError as error:
            self._damage = error
            raise
        value = self._images[row - self._first].as_py()
        value = value.get("bytes") if isinstance(value, dict) else value
        return value if isinstance(value, bytes) else b""

    def _begin(self) -> Iterator[Any]:
        file = _opened(self._path)
        with _damage(self._path):
            about = file.metadata.row_group(self.place[1])
            chunks = [about.column(index) for index in range(about.num_columns)]
            inside = f"{self._column}.bytes"
            wanted = [chunk for chunk in chunks if chunk.path_in_schema in (self._column, inside)]
            size = sum(chunk.total_uncompressed_size for chunk in wanted)
            rows = _ROWS_AT_ONCE if size > _MOST_KEPT_BYTES else max(1, about.num_rows)
            names = [chunk.path_in_schema for chunk in wanted]
            batches = file.iter_batches(rows, row_groups=[self.place[1]], columns=names, use_threads=False)
        return (batch.column(0) for batch in batches)


def has_images(path: Path, config: ImagesConfig) -> bool:
    """Whether a Parquet file has a column of images, and not of paths."""
    schema = _opened(path).schema_arrow
    asked = config.image_column
    return any(_holds_images(each) for each in schema if asked is None or each.name.casefold() == asked.casefold())


def parquet_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a Parquet file as a manifest: its columns but lists and bytes, and their values as text, empty for null."""
    file = _opened(path)
    names = _class_names(file.schema_arrow)
    columns = [each.name for each in file.schema_arrow if _is_plain(each)]
    with _damage(path):
        table = file.read(columns=columns)
        texts = [
            [_cell(value, names.get(name, ()), path) for value in table.column(index).to_pylist()]
            for index, name in enumerate(table.column_names)
        ]
    return list(table.column_names), [list(row) for row in zip(*texts, strict=True)]


def _cell(value: Any, names: Sequence[str], path: Path) -> str:
    simple = value is None or isinstance(value, str | int | float | bytes)
    return label_text(value if simple else str(value), names, str(path)) or ""


def parquet_listing(path: Path, config: ImagesConfig) -> Listing:
    """List the images of one Parquet file, or of a folder of them; a file's name, or a column, may say their part.

    Args:
        path: a file or a folder, such as of ``train-00000-of-00001.parquet`` and ``test-00000-of-00001.parquet``.
        config: ``image_column``, ``label_column`` and ``group`` name the columns, if they are not named as usual.

    Raises:
        UserError: pyarrow is not installed; a file is damaged; it has no such columns.
    """
    paths = shards_at(path, ".parquet")
    shards = [_Shard(name, each, config) for name, each in paths.items()]
    image, label = shards[0].image, shards[0].label
    for shard in shards:
        if shard.image != image:
            raise UserError(
                f"{path} has images in the columns {shown(image)} of {shown(shards[0].name)} and {shown(shard.image)}"
                f" of {shown(shard.name)}: expected one name, or --image-column"
            )
    by_name = parts_of_shards(paths)
    words = {word for shard in shards for word in shard.parts if word is not None} if not by_name else set()
    by_word = parts_of(words)
    if unknown := sorted(words - by_word.keys()):
        raise UserError(
            f"{path} has the part {shown(unknown[0][:60])!r} in a column: expected train, val or test, or nothing"
        )
    entries = [
        Entry(f"{shard.name}/{row}", label, by_name.get(shard.name) or by_word.get(part or ""), group, shard.signature)
        for shard in shards
        for row, (label, part, group) in enumerate(zip(shard.labels, shard.parts, shard.groups, strict=True))
        if label is not None
    ]
    unlabelled = sum(label is None for shard in shards for label in shard.labels)
    named = dict.fromkeys(name for shard in shards for name in shard.names)
    classes = tuple(named) or tuple(sorted({entry.label for entry in entries}, key=natural))
    layout = f"Parquet with the columns {shown(image)} and {shown(label)}"
    skipped = {"images without a label": unlabelled} if unlabelled else {}
    files = ParquetFiles({shard.name: shard.path for shard in shards}, image, {s.name: s.starts for s in shards})
    return Listing(path.name, layout, tuple(entries), classes, files, skipped, (), (), os.path.abspath(path))


class _Shard:
    """What one file says of its rows, but for the images."""

    def __init__(self, name: str, path: Path, config: ImagesConfig) -> None:
        status = path.stat()
        self.name, self.path, self.signature = name, path.absolute(), f"{status.st_size} {status.st_mtime_ns}"
        file = _opened(path)
        columns = _Columns(file.schema_arrow, name)
        self.image = columns.image(config.image_column)
        self.label = columns.named(LABEL_COLUMNS, config.label_column, "--label-column")
        part = columns.find(_PART_COLUMNS)
        group = columns.find(_GROUP_COLUMNS if config.group is None else (config.group,))
        self.names = _class_names(file.schema_arrow).get(self.label, ())
        wanted = {self.label: self.names, part: (), group: ()}
        found: dict[str | None, list[str | None]] = {column: [] for column in wanted}
        with _damage(path):
            metadata = file.metadata
            counts = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
            for batch in file.iter_batches(columns=[column for column in wanted if column is not None]):
                for column, names in wanted.items():
                    values = [] if column is None else batch.column(column).to_pylist()
                    found[column] += [label_text(value, names, str(path)) for value in values]
        self.starts = list(itertools.accumulate(counts, initial=0))
        self.labels = found[self.label]
        nothing: list[str | None] = [None] * len(self.labels)
        self.parts = nothing if part is None else found[part]
        self.groups = nothing if group is None else found[group]


class _Columns:
    """Finds the columns of a file, whatever the case of their letters."""

    def __init__(self, schema: Any, name: str) -> None:
        self._schema, self._name = schema, name
        self._by_name: dict[str, str] = {each.name.casefold(): each.name for each in reversed(list(schema))}
        self._listed = ", ".join(shown(each) for each in schema.names)[:200]
        if len(set(schema.names)) < len(schema.names):
            raise UserError(f"{shown(name)} has the columns {self._listed}: expected different names")

    def find(self, names: Sequence[str]) -> str | None:
        """The first of the names that a column has, as the file spells it."""
        return next((self._by_name[each.casefold()] for each in names if each.casefold() in self._by_name), None)

    def named(self, usual: Sequence[str], asked: str | None, flag: str) -> str:
        found = self.find(usual if asked is None else (asked,))
        if found is None:
            expected = (
                f"{usual[0]}, or its name with {flag}" if asked is None else f"one {shown(asked)}, as {flag} says"
            )
            raise UserError(f"{shown(self._name)} has the columns {self._listed}: expected {expected}")
        return found

    def image(self, asked: str | None) -> str:
        holding = [each.name for each in self._schema if _holds_images(each)]
        if asked is None and len(holding) == 1:
            return str(holding[0])
        found = self.named(IMAGE_COLUMNS, asked, "--image-column")
        if found not in holding:
            kind = self._schema.field(found).type
            raise UserError(
                f"{shown(self._name)} has {shown(str(kind)[:60])} in its column {shown(found)}: expected the bytes of"
                " image files, or the name of another column with --image-column"
            )
        return found


def _holds_images(column: Any) -> bool:
    """Whether a column has bytes, or bytes in a structure, as the Hub's images."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_struct(kind):
        return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_plain(column: Any) -> bool:
    """Whether a column has text or numbers, which may be numbered to save space."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return not pa.types.is_nested(kind) and not _holds_images(column)


def _class_names(schema: Any) -> Mapping[str, Sequence[str]]:
    """The class names of each column of labels, which ``datasets`` keeps in the file's metadata."""
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in about.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _opened(path: Path) -> Any:
    with needed("pyarrow", by="a Parquet file", extra="datasets"):
        import pyarrow.parquet as pq
    with _damage(path):
        # Otherwise a whole row group is read before its first rows.
        return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises for damaged files into one line."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException, MemoryError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{path} cannot be read ({reason}): expected a whole Parquet file") from error
