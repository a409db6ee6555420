"""Read image datasets of the Hugging Face Hub, ``hf:OWNER/NAME``, with the package ``datasets``."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thimble.data.image_paths import natural
from thimble.data.opening import MOST_FILE_BYTES
from thimble.errors import RunError, UserError
from thimble.system.extras import needed
from thimble.system.files import read_file
from thimble.system.names import shown

from .labels import label_text
from .listing import Entry, Files, Listing
from .parquet import IMAGE_COLUMNS, LABEL_COLUMNS
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
        value = self.splits[split][int(row)][self.column] or {}
        if value.get("bytes") is not None:
            return bytes(value["bytes"])
        if not value.get("path"):
            return b""
        return read_file(Path(value["path"]), MOST_FILE_BYTES)  # a file that datasets downloaded


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
    image = _column(first, config.image_column, ("Image",), IMAGE_COLUMNS, address, "--image-column")
    label = _column(first, config.label_column, ("ClassLabel",), LABEL_COLUMNS, address, "--label-column")
    parts = parts_of(splits)
    entries: list[Entry] = []
    unlabelled = 0
    named: dict[str, None] = {}
    for split, rows in splits.items():
        place = f"{address}, {shown(split)},"
        if missing := [column for column in (image, label) if column not in rows.features]:
            raise UserError(f"{place} has no column {shown(missing[0])}: expected the columns of the other parts")
        names = getattr(rows.features[label], "names", None) or ()
        named |= dict.fromkeys(names)
        grouped = config.group is not None and config.group in rows.features
        groups = rows[config.group] if grouped else itertools.repeat(None)
        # Changes with the dataset's files and with whatever was done to them.
        fingerprint = str(getattr(rows, "_fingerprint", "")) or f"{len(rows)} rows"
        for row, (value, group) in enumerate(zip(rows[label], groups, strict=False)):
            text = label_text(value, names, place)
            if text is None:
                unlabelled += 1
            else:
                own = None if group is None else str(group)
                entries.append(Entry(f"{split}/{row}", text, parts.get(split), own, fingerprint))
    undecoded = {split: _undecoded(rows, image) for split, rows in splits.items()}
    classes = tuple(named) or tuple(sorted({entry.label for entry in entries}, key=natural))
    layout = f"a dataset of the Hugging Face Hub with the columns {shown(image)} and {shown(label)}"
    skipped = {"images without a label": unlabelled} if unlabelled else {}
    return Listing(name, layout, tuple(entries), classes, HubFiles(undecoded, image), skipped, (), (), address)


def _load(name: str) -> dict[str, Any]:
    with needed("datasets", by="--data hf:", extra="datasets"):
        import datasets
    if os.path.exists(name):  # datasets would read it, whatever the Hub has
        raise UserError(f"hf:{name} is also a folder here: expected --data ./{name} for it, or another current folder")
    try:
        with _quiet():
            loaded = datasets.load_dataset(name)
    except Exception as error:  # of a dozen kinds: no network, no such dataset, gated, damaged, a program inside
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(f"hf:{name} cannot be loaded ({reason}); check its name and the network") from error
    return dict(loaded) if hasattr(loaded, "items") else {"train": loaded}


@contextmanager
def _quiet() -> Iterator[None]:
    """Let the Hub's packages log errors only: without a network they warn of each of a dozen tries."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _undecoded(rows: Any, column: str) -> Any:
    import datasets

    return rows.cast_column(column, datasets.Image(decode=False)).select_columns([column])


def _column(rows: Any, asked: str | None, kinds: Sequence[str], usual: Sequence[str], address: str, flag: str) -> str:
    features = dict(rows.features)
    typed = [name for name, feature in features.items() if type(feature).__name__ in kinds]
    if asked is None:
        named = [name for name in usual if name in features]
        chosen = next((name for name in named if name in typed), None) or next(iter(typed or named), None)
    else:
        chosen = asked if asked in features else None
    if chosen is not None and (kinds != ("Image",) or chosen in typed):
        return chosen
    listed = ", ".join(f"{shown(name)} ({type(feature).__name__})" for name, feature in features.items())[:200]
    kind = "an image" if kinds == ("Image",) else "a label"
    what = (
        f"{kind} in {usual[0]}, or its name with {flag}"
        if asked is None
        else f"{kind} in {shown(asked)}, as {flag} says"
    )
    raise UserError(f"{address} has the columns {listed}: expected {what}")
