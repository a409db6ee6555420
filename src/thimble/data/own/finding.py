"""Find the images that a manifest names, in its folder or in one beside it, on disk or in an archive."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from thimble.data.image_paths import composed, image_endings, natural
from thimble.errors import UserError
from thimble.system.names import shown

from .listing import Part
from .part_names import part_in, parts_of
from .trees import ending_of, is_folder, signature_of, why_skipped

_EXACT, _WITHOUT_ENDING, _IN_OTHER_LETTERS = range(3)
_IMAGES = frozenset({"image", "images", "img", "imgs", "photos", "pictures"})
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


@dataclass(frozen=True)
class Folders:
    """Looks names up in the folders of a disk or of an archive, each listed once.

    Attributes:
        manifest: the manifest's path, relative to the disk's folder or to the archive.
        around: the paths of the folders beside the manifest.
        files_in: gives a folder's files and their signatures by the folder's path, "" for the disk's folder.
    """

    manifest: str
    around: Sequence[str]
    files_in: Callable[[str], Mapping[str, str]]
    _written: dict[str, tuple[str, str | None]] = field(default_factory=dict, repr=False)
    _listed: dict[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    _keys: dict[tuple[str, int], Mapping[str, str]] = field(default_factory=dict, repr=False)
    _beside: dict[tuple[str, int], dict[str, tuple[str, ...]]] = field(default_factory=dict, repr=False)

    def find(self, name: str, part: Part | None = None) -> tuple[str, str] | None:
        """The path and signature of an image; None if there is none.

        Its name is relative to the manifest, or else to a folder beside it, or absolute. It may lack its ending, and
        differ in upper case if no other name does.

        Args:
            name: a path, with "/" or backslashes.
            part: the image's part, if it is known: it decides between a folder ``train`` and a folder ``test``.

        Raises:
            UserError: it is in several folders beside the manifest.
        """
        path = name.replace("\\", "/")
        file = path[path.rfind("/") + 1 :]
        own, below = self._folders(path[: len(path) - len(file)])
        if file in ("", ".", ".."):
            return None
        for how in (_EXACT, _WITHOUT_ENDING, _IN_OTHER_LETTERS):
            if found := self._names(own, how).get(_key(file, how)):
                return self._result(own, file if how == _EXACT else found)
        if below is None:
            return None
        for how in (_EXACT, _WITHOUT_ENDING, _IN_OTHER_LETTERS):
            key = _key(file, how)
            if roots := self._around(below, how).get(key):
                place = _joined(self._choose(roots, name, part), below)
                return self._result(place, file if how == _EXACT else self._names(place, how)[key])
        return None

    def unused(self, used: set[str]) -> int:
        """The number of images in the listed folders that are not among the used ones."""
        endings = image_endings()
        return sum(
            self._result(folder, file)[0] not in used and ending_of(file) in endings and why_skipped(file) is None
            for folder, files in self._listed.items()
            for file in files
        )

    def _folders(self, written: str) -> tuple[str, str | None]:
        """The folder that a manifest means by "" or by a path with "/" at its end, and its path below others beside.

        That path is None if it is absolute.
        """
        if written not in self._written:
            absolute = os.path.isabs(written)
            below = None if absolute else _joined(written)
            own = _joined(os.path.dirname(self.manifest), written)
            self._written[written] = own, below
        return self._written[written]

    def _result(self, folder: str, file: str) -> tuple[str, str]:
        return (f"{folder}/{file}" if folder.strip("/") else folder + file), self._listed[folder][file]

    def _names(self, folder: str, how: int) -> Mapping[str, str]:
        """What may name a folder's files, and their names; for exact names, their signatures."""
        if (folder, how) not in self._keys:
            if folder not in self._listed:
                # A file without a signature would count as none.
                self._listed[folder] = {name: signature or "?" for name, signature in self.files_in(folder).items()}
            files = self._listed[folder]
            self._keys[folder, how] = files if how == _EXACT else (_stems if how == _WITHOUT_ENDING else _loose)(files)
        return self._keys[folder, how]

    def _around(self, folder: str, how: int) -> dict[str, tuple[str, ...]]:
        """The folders beside the manifest whose files below ``folder`` may be named so."""
        if (folder, how) not in self._beside:
            found: dict[str, tuple[str, ...]] = {}
            for root in self.around:
                alone = (root,)  # shared by all its names: there may be millions
                for key in self._names(_joined(root, folder), how):
                    found[key] = found[key] + alone if key in found else alone
            self._beside[folder, how] = found
        return self._beside[folder, how]

    def _choose(self, roots: tuple[str, ...], name: str, part: Part | None) -> str:
        """The folder of the image's part, or else of the manifest's, or else the one of images rather than masks."""
        if len(roots) == 1:
            return roots[0]
        names = {root: os.path.basename(root) for root in roots}
        parts, part = parts_of(names.values()), part or part_in(os.path.basename(self.manifest))
        of_part = [root for root in roots if part is not None and parts.get(names[root]) == part]
        of_images = [root for root in roots if names[root].casefold() in _IMAGES]
        for likely in (of_part, of_images):
            if len(likely) == 1:
                return likely[0]
        folders = " and ".join(shown(names[root]) for root in roots[:2])
        raise UserError(
            f"{shown(os.path.basename(self.manifest))} lists {shown(name)}, which is in several folders, {folders}:"
            f" expected paths with the folder, such as {shown(names[roots[0]])}/{shown(name)}"
        )


def folders_on_disk(place: str, manifest: str) -> Folders:
    """Look a manifest's names up on disk.

    Args:
        place: the manifest's folder.
        manifest: its name.

    Raises:
        UserError: the folder cannot be read; later, a folder in it.
    """
    try:
        with os.scandir(place) as entries:
            around = [entry.name for entry in entries if why_skipped(entry.name) is None and is_folder(entry)]
    except OSError as error:
        raise UserError(f"cannot read {place}: {error.strerror}; expected a readable folder") from error

    def files_in(folder: str) -> Mapping[str, str]:
        path = os.path.join(place, folder)
        try:
            with os.scandir(path) as entries:
                return {entry.name: signature_of(entry) for entry in entries if not is_folder(entry)}
        except ValueError:  # a character that no name can have
            return {}
        except OSError as error:
            if error.errno in _NOWHERE:
                return {}
            raise UserError(f"cannot read {path}: {error.strerror}; expected a readable folder") from error

    return Folders(manifest, sorted(around, key=natural), files_in)


def _key(file: str, how: int) -> str:
    return composed(file).casefold() if how == _IN_OTHER_LETTERS else file


def _stems(files: Mapping[str, str]) -> dict[str, str]:
    """The images by their names without endings: of two, the first in natural order."""
    endings = image_endings()
    images = sorted((name for name in files if ending_of(name) in endings), key=natural, reverse=True)
    return {os.path.splitext(name)[0]: name for name in images}


def _loose(files: Mapping[str, str]) -> dict[str, str]:
    """The images by their names in lower case, with endings and without, if no other is called so."""
    found: dict[str, set[str]] = {}
    for name in files:
        if ending_of(name) in image_endings():
            for spelling in (name, os.path.splitext(name)[0]):
                found.setdefault(composed(spelling).casefold(), set()).add(name)
    return {spelling: next(iter(names)) for spelling, names in found.items() if len(names) == 1}


def _joined(*folders: str) -> str:
    path = os.path.normpath(os.path.join(*folders))
    return "" if path == "." else path
