"""Load MNIST and Fashion-MNIST from disk or download them: 70,000 grey images of 28x28 pixels in ten classes each.

Sources: Y. LeCun, C. Cortes and C. Burges, "The MNIST Database of Handwritten Digits"; H. Xiao, K. Rasul and
R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017,
arXiv:1708.07747. Zalando's repository and torchvision publish the files' MD5; torchvision-ruby
(lib/torchvision/datasets/mnist.rb and fashion_mnist.rb) publishes their SHA-256.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from thimble.errors import UserError

from .dataset import ImageDataset
from .own.idx import read_idx
from .published import File, data_folders, fetch
from .source import Part, Source

_NAMES: dict[Part, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_SIDE = 28


class Mnist(Source):
    """MNIST: handwritten digits.

    Attributes:
        files: what is downloaded, compressed.
        addresses: from where.
        classes: the class names.
        mean, std: of the training images' pixels, in 0..1.
        counts: the number of images of each class. Both datasets' files have the same names: these tell them apart.
        below: the folder that torchvision keeps the files in, below its root.
    """

    name = "mnist"
    title = "MNIST"
    hub_name = "ylecun/mnist"
    files: ClassVar[tuple[File, ...]] = (
        File(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "d53e105ee54ea40749a09fcbcd1e9432",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "9fb629c4189551a2d022fa330f9573f3",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "ec29112dd5afa0611ce80d1b7f02629c",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    )
    addresses: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    classes: ClassVar[tuple[str, ...]] = tuple("0123456789")
    mean, std = 0.1307, 0.3081
    counts: ClassVar[dict[Part, tuple[int, ...]]] = {
        "train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009),
    }
    below = "MNIST"

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """60,000 training images or 10,000 test images, with one channel."""
        place = self._place(part)
        if place is None:
            place = data_folders(self.folder, self.name)[0]
            fetch(self.title, self._missing(place), self.addresses, place, progress=progress)
        images_path, labels_path = (_find(place, name) or place / name for name in _NAMES[part])
        images, labels = read_idx(images_path), read_idx(labels_path)
        expected = sum(self.counts[part])
        if images.shape != (expected, _SIDE, _SIDE) or labels.shape != (expected,):
            raise UserError(
                f"{images_path} and {labels_path} hold {images.shape} pixels and {labels.shape} labels: expected"
                f" {expected:,} images of {_SIDE}x{_SIDE} pixels and their labels; delete them and run again"
            )
        if tuple(np.bincount(labels, minlength=10).tolist()) != self.counts[part]:
            raise UserError(
                f"{labels_path} does not hold the labels of {self.title}, but of another dataset: expected another"
                " folder with --data-dir, or its path as --data"
            )
        pixels = torch.from_numpy(images).unsqueeze(1)
        numbers = torch.from_numpy(labels).long()
        return ImageDataset(self.name, pixels, numbers, self.classes, (self.mean,), (self.std,))

    def is_here(self) -> bool:
        """Whether all four files are on disk."""
        return all(self._place(part) is not None for part in _NAMES)

    def _place(self, part: Part) -> Path | None:
        """The folder that has both files of a part: a given one, or one that torchvision made below it."""
        for folder in data_folders(self.folder, self.name):
            for place in (folder, folder / "raw", folder / self.below / "raw"):
                if all(_find(place, name) is not None for name in _NAMES[part]):
                    return place
        return None

    def _missing(self, folder: Path) -> list[File]:
        wanted = {name for part, names in _NAMES.items() if self._place(part) is None for name in names}
        wanted = {f"{name}.gz" for name in wanted if _find(folder, name) is None}
        return [file for file in self.files if file.name in wanted]


class FashionMnist(Mnist):
    """Fashion-MNIST: clothes."""

    name = "fashion-mnist"
    title = "Fashion-MNIST"
    hub_name = "zalando-datasets/fashion_mnist"
    files = (
        File(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        File(
            "train-labels-idx1-ubyte.gz",
            29_515,
            "25c81989df183df01b3e8a0aad5dffbe",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        File(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "bef4ecab320f06d8554ea6380940ec79",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        File(
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            "bb300cfdad3c16e7a12a480ee83cd310",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    )
    addresses = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    )
    classes = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )
    mean, std = 0.2860, 0.3530
    counts: ClassVar[dict[Part, tuple[int, ...]]] = {"train": (6000,) * 10, "test": (1000,) * 10}
    below = "FashionMNIST"


def _find(folder: Path, name: str) -> Path | None:
    """A file, compressed or not, with a hyphen or a point before ``idx``."""
    for spelled in (name, name.replace("-idx", ".idx")):
        for path in (folder / spelled, folder / f"{spelled}.gz"):
            if os.path.isfile(path):
                return path
    return None
