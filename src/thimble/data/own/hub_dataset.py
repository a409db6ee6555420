"""Read image datasets of the Hugging Face Hub, ``hf:OWNER/NAME``, with the package ``datasets``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thimble.data.image_paths import natural
from thimble.errors import RunError, UserError
from thimble.system.extras import needed
from thimble.system.names import shown

from .listing import Entry, Files, Listing
from .parquet import LABEL_COLUMNS
from .part_names import parts_of
from .settings import ImagesConfig

if TYPE_CHECKING:
    from PIL.Image import Image

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


@dataclass
class HubFiles(Files):
    """Images of a dataset's splits, which ``datasets`` keeps in Arrow files and sends to processes by their paths.

    Attributes:
        splits: by name, with the images undecoded.
        column: the column of the images.
    """

    splits: dict[str, Any]
    column: str

    def read(self, name: str) -> bytes | Image:
        """Read the image ``SPLIT/ROW``."""
        split, _, row = name.rpartition("/")
        value = self.splits[split][int(row)][self.column]
        if value.get("bytes") is not None:
            return bytes(value["bytes"])
        from pathlib import Path

        from thimble.data.opening import MOST_FILE_BYTES
        from thimble.system.files import read_file

        return read_file(Path(value["path"]), MOST_FILE_BYTES)


def hub_listing(address: str, config: ImagesConfig) -> Listing:
    """List a dataset's images; it is downloaded on first use, into the cache of ``datasets``.

    Args:
        address: ``hf:OWNER/NAME``.
        config: ``image_column`` and ``label_column`` name the columns, if they are not named as usual.

    Raises:
        UserError: the address is none; ``datasets`` is not installed; the dataset has no images or labels.
        RunError: the dataset cannot be loaded.
    """
    name = address.removeprefix("hf:")
    if not _NAME.fullmatch(name):
        raise UserError(f"--data {shown(address)}: expected hf:OWNER/NAME, a dataset of the Hugging Face Hub")
    splits = _load(name)
    first = next(iter(splits.values()))
    image = _column(first, config.image_column, ("Image",), ("image", "img"), address, "--image-column")
    label = _column(first, config.label_column, ("ClassLabel",), LABEL_COLUMNS, address, "--label-column")
    undecoded = {split: _undecoded(rows, image) for split, rows in splits.items()}
    parts = parts_of(splits)
    entries: list[Entry] = []
    unlabelled = 0
    for split, rows in splits.items():
        names = getattr(rows.features[label], "names", None)
        fingerprint = str(getattr(rows, "_fingerprint", "")) or f"{len(rows)} rows"
        for row, value in enumerate(rows[label]):
            text = _label(value, names)
            if text is None:
                unlabelled += 1
            else:
                entries.append(Entry(f"{split}/{row}", text, parts.get(split), None, fingerprint))
    named = getattr(first.features[label], "names", None)
    classes = tuple(named or sorted({entry.label for entry in entries}, key=natural))
    layout = f"a dataset of the Hugging Face Hub with the columns {shown(image)} and {shown(label)}"
    skipped = {"images without a label": unlabelled} if unlabelled else {}
    return Listing(name, layout, tuple(entries), classes, HubFiles(undecoded, image), skipped, (), (), address)


def _load(name: str) -> dict[str, Any]:
    with needed("datasets", by="--data hf:", extra="datasets"):
        import datasets
    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:  # of a dozen kinds: no network, no such dataset, gated, damaged, a program inside
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(f"hf:{name} cannot be loaded ({reason}); check its name and the network") from error
    return dict(loaded) if hasattr(loaded, "items") else {"train": loaded}


def _undecoded(rows: Any, column: str) -> Any:
    import datasets

    return rows.cast_column(column, datasets.Image(decode=False)).select_columns([column])


def _column(rows: Any, asked: str | None, kinds: Sequence[str], usual: Sequence[str], address: str, flag: str) -> str:
    features = dict(rows.features)
    if asked is not None and asked in features:
        return asked
    if asked is None:
        typed = [name for name, feature in features.items() if type(feature).__name__ in kinds]
        named = [name for name in usual if name in features]
        chosen = next((name for name in named if name in typed), None) or next(iter(typed or named), None)
        if chosen is not None and (kinds != ("Image",) or typed):
            return chosen
    listed = ", ".join(shown(name) for name in features)[:200]
    raise UserError(f"{address} has the columns {listed}: expected {shown(asked or usual[0])}, or a name with {flag}")


def _label(value: Any, names: Sequence[str] | None) -> str | None:
    if value is None or value == "" or (names and value == -1):
        return None
    return names[value] if names and isinstance(value, int) else str(value)
