"""IDX files, as MNIST's."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thimble.data.own import idx as idx_module
from thimble.data.own.idx import is_idx
from thimble.data.own.layouts import read_listing
from thimble.data.own.scan import scan
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")
RANDOM = np.random.default_rng(0)


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def written(folder: Path, count: int, prefix: str, *, packed: bool = False, shape: tuple[int, ...] = (28, 28)) -> None:
    folder.mkdir(exist_ok=True)
    images, labels = RANDOM.integers(0, 256, (count, *shape)), np.arange(count) % 3 + 9
    for name, values in ((f"images-idx{len(shape) + 1}", images), ("labels-idx1", labels)):
        content = idx(values)
        path = folder / f"{prefix}{name}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_of_two_parts(tmp_path: Path, packed: bool) -> None:
    written(tmp_path / "digits", 30, "train-", packed=packed)
    written(tmp_path / "digits", 12, "t10k-", packed=packed)
    found = read_listing(tmp_path / "digits", ImagesConfig())
    assert found.classes == ("9", "10", "11")
    assert sum(entry.part == "train" for entry in found.entries) == 30
    assert sum(entry.part == "test" for entry in found.entries) == 12
    scanned = scan(found, ImagesConfig())
    assert scanned.images.shape == (42, 1, 28, 28)
    assert len({entry.signature for entry in found.entries}) == 2
    copy = pickle.loads(pickle.dumps(found.files))
    assert np.array_equal(np.asarray(copy.read(found.entries[0].name)), scanned.images[0, 0])


def test_one_file_of_colour_images_without_a_part(tmp_path: Path) -> None:
    written(tmp_path / "x", 6, "", shape=(9, 8, 3))
    found = read_listing(tmp_path / "x" / "images-idx4-ubyte", ImagesConfig())
    assert {entry.part for entry in found.entries} == {None}
    assert scan(found, ImagesConfig(image_size=8)).images.shape == (6, 3, 8, 8)


@pytest.mark.parametrize("damage", ["no labels", "short", "long", "fewer labels", "half gzip", "other"])
def test_damage(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "x"
    written(folder, 6, "train-", packed=damage == "half gzip")
    images, labels = sorted(folder.iterdir())
    if damage == "no labels":
        labels.unlink()
    elif damage == "fewer labels":
        labels.write_bytes(idx(np.arange(5)))
    elif damage == "other":
        labels.write_bytes(b"\0\0\x0d\1\0\0\0\2")
    else:
        content = (images if damage != "half gzip" else labels).read_bytes()
        cut = content[:-7] if damage != "long" else content + b"7"
        (images if damage != "half gzip" else labels).write_bytes(cut)

    with pytest.raises(UserError, match=r"^.*-ubyte(\.gz)? .*: expected "):
        read_listing(folder, ImagesConfig())


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_file_of_images_is_read_once(tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "x", 300, "train-", packed=packed)
    found = read_listing(tmp_path / "x", ImagesConfig())
    images = min((tmp_path / "x").iterdir())
    images.write_bytes(images.read_bytes()[:-700])  # since it was listed
    reads: list[Path] = []
    original = idx_module._images_of

    def count(path: Path) -> Any:
        reads.append(path)
        return original(path)

    monkeypatch.setattr(idx_module, "_images_of", count)
    for entry in found.entries:
        with pytest.raises(UserError, match=r"images-idx3-ubyte.* (has only 234,500 bytes|is damaged)"):
            found.files.read(entry.name)
    assert reads == [images]


def test_a_file_cut_off_is_one_line_before_the_scan(tmp_path: Path) -> None:
    written(tmp_path / "x", 300, "train-", packed=True)
    images = min((tmp_path / "x").iterdir())
    images.write_bytes(images.read_bytes()[:-700])
    with pytest.raises(UserError, match=r"^.*train-images-idx3-ubyte.gz is damaged \(.*\): expected a whole file"):
        read_listing(tmp_path / "x", ImagesConfig())


def test_a_file_compressed_in_pieces(tmp_path: Path) -> None:
    written(tmp_path / "x", 9, "train-", packed=True)
    images = min((tmp_path / "x").iterdir())
    content = gzip.decompress(images.read_bytes())
    images.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    found = read_listing(tmp_path / "x", ImagesConfig())
    assert np.array_equal(np.asarray(found.files.read(found.entries[8].name)).ravel(), list(content[-784:]))


def test_images_as_torchvision_leaves_them_compressed_and_not(tmp_path: Path) -> None:
    written(tmp_path / "raw", 6, "train-", packed=True)
    for path in list((tmp_path / "raw").iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    assert len(read_listing(tmp_path / "raw", ImagesConfig()).entries) == 6


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    written(tmp_path / "x", 6, "train-")
    images = min((tmp_path / "x").iterdir())
    images.write_bytes(b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3)
    with pytest.raises(UserError, match=r"has the shape \(2147483647, .*: expected from 1 to 8,589,934,592 bytes"):
        read_listing(tmp_path / "x", ImagesConfig())


def test_what_is_no_idx(tmp_path: Path) -> None:
    assert not is_idx(tmp_path)
    assert not is_idx(tmp_path / "images.png")


def test_a_plain_file_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    written(tmp_path / "x", 300, "train-")
    found = read_listing(tmp_path / "x", ImagesConfig())
    found.files.read(found.entries[0].name)
    images = min((tmp_path / "x").iterdir())
    with images.open("r+b") as file:
        file.truncate(28 * 28 * 100)
    with pytest.raises(UserError, match=r"became shorter while it was read: expected a file that stays as it is"):
        found.files.read(found.entries[299].name)
