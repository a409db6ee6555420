"""Load MNIST and Fashion-MNIST from disk or download them: 70,000 grey images of 28x28 pixels in ten classes each.

Sources: Y. LeCun, C. Cortes and C. Burges, "The MNIST Database of Handwritten Digits"; H. Xiao, K. Rasul and
R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017,
arXiv:1708.07747. The files' MD5 are those that Zalando's repository and torchvision publish.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from thimble.errors import UserError

from .dataset import ImageDataset
from .own.idx import read_idx
from .published import File, data_folder, fetch
from .source import Part, Source

_NAMES: dict[Part, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_COUNTS: dict[Part, int] = {"train": 60_000, "test": 10_000}
_SIDE = 28


class Mnist(Source):
    """MNIST: handwritten digits.

    Attributes:
        files: what is downloaded, compressed.
        addresses: from where.
        classes: the class names.
        mean, std: of the training images' pixels, in 0..1.
    """

    name = "mnist"
    title = "MNIST"
    hub_name = "ylecun/mnist"
    files: ClassVar[tuple[File, ...]] = (
        File("train-images-idx3-ubyte.gz", 9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        File("train-labels-idx1-ubyte.gz", 28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
        File("t10k-images-idx3-ubyte.gz", 1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
        File("t10k-labels-idx1-ubyte.gz", 4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    )
    addresses: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    mean, std = 0.1307, 0.3081

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """60,000 training images or 10,000 test images, with one channel."""
        folder = data_folder(self.folder, self.name)
        found = [_find(folder, name) for name in _NAMES[part]]
        if None in found:
            missing = [file for file in self.files if _find(folder, file.name.removesuffix(".gz")) is None]
            fetch(self.title, missing, self.addresses, folder, progress=progress)
            found = [_find(folder, name) for name in _NAMES[part]]
        images, labels = (read_idx(path) for path in found if path is not None)
        count = _COUNTS[part]
        if images.shape != (count, _SIDE, _SIDE) or labels.shape != (count,) or labels.max() > 9:
            raise UserError(
                f"{found[0]} and {found[1]} hold {images.shape} pixels and {labels.shape} labels: expected"
                f" {count:,} images of {_SIDE}x{_SIDE} pixels with labels from 0 to 9; delete them and run again"
            )
        pixels = torch.from_numpy(images).unsqueeze(1)
        numbers = torch.from_numpy(labels).long()
        return ImageDataset(self.name, pixels, numbers, self.classes, (self.mean,), (self.std,))

    def is_here(self) -> bool:
        """Whether all four files are on disk."""
        folder = data_folder(self.folder, self.name)
        return all(_find(folder, name) is not None for names in _NAMES.values() for name in names)


class FashionMnist(Mnist):
    """Fashion-MNIST: clothes."""

    name = "fashion-mnist"
    title = "Fashion-MNIST"
    hub_name = "zalando-datasets/fashion_mnist"
    files = (
        File("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        File("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
        File("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
        File("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
    )
    addresses = (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    )
    classes = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    mean, std = 0.2860, 0.3530


def _find(folder: Path, name: str) -> Path | None:
    """A file, compressed or not, in the folder, or where torchvision puts it below."""
    for place in (folder, folder / "raw", folder / "MNIST" / "raw", folder / "FashionMNIST" / "raw"):
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    return None
