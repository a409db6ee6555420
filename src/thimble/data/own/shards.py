"""Find the files of a dataset that is kept in several, such as ``train-00000-of-00002.parquet``, and their parts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from thimble.data.image_paths import natural
from thimble.errors import UserError

from .listing import Part
from .part_names import parts_of
from .trees import why_skipped


def shards_at(path: Path, ending: str) -> dict[str, Path]:
    """The files with an ending, by their path below a folder, in natural order; hidden ones are left out.

    Args:
        path: the folder; or a file, which is given by its name.
        ending: in lower case.

    Raises:
        UserError: there is none, or a folder cannot be read.
    """
    if not path.is_dir():
        return {path.name: path}

    def stop(error: OSError) -> None:
        raise UserError(f"cannot read {error.filename}: {error.strerror}; expected a readable folder") from error

    found = [
        Path(folder, file).relative_to(path).as_posix()
        for folder, _, files in os.walk(path, onerror=stop)
        for file in files
        if os.path.splitext(file)[1].lower() == ending
    ]
    names = [name for name in found if why_skipped(name) is None]
    if not names:
        raise UserError(f"{path} has no {ending} files: expected at least one")
    return {name: path / name for name in sorted(names, key=lambda name: [natural(part) for part in name.split("/")])}


def parts_of_shards(names: Iterable[str]) -> dict[str, Part]:
    """The parts that files' names mean, as in ``train-00001.tar``, ``val/00001.tar`` or ``birds-test-00001.tar``.

    A word that is not the first of a name counts only if some file is for training: a file of ``crash-test-dummies`` is
    not for testing.

    Args:
        names: with "/" between folders.
    """
    words = {name: _words(name) for name in names}
    parts = parts_of(word for found in words.values() for word in found)
    by_any = {name: next((parts[word] for word in found if word in parts), None) for name, found in words.items()}
    by_first = {name: _by_folder_or_first(name, parts) for name in words}
    chosen = by_any if "train" in by_any.values() else by_first
    return {name: part for name, part in chosen.items() if part is not None}


def _by_folder_or_first(name: str, parts: Mapping[str, Part]) -> Part | None:
    num_sure = name.count("/") + 1
    return next((parts[word] for word in _words(name)[:num_sure] if word in parts), None)


def _words(name: str) -> list[str]:
    """A file's folders, the last first, then the words of its name."""
    *folders, file = name.split("/")
    return [*reversed(folders), *re.split(r"[-_. ]+", os.path.splitext(file)[0])]
