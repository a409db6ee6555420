"""Damaged, forged and odd archives are refused in one line, or only what is odd in them is left out."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from own_layouts import tarred, zipped
from own_pictures import photos

from thimble.data.own.archives import archive_tree
from thimble.data.own.layouts import read_listing
from thimble.data.own.scan import scan
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError


def test_damage_to_one_file_is_its_own(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a/1.png": b"x" * 1000, "b/2.png": b"good"})
    with zipfile.ZipFile(path) as file:
        place = file.getinfo("a/1.png").header_offset + 40
    content = bytearray(path.read_bytes())
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    tree = archive_tree(path)
    with pytest.raises(UserError, match=r"^a/1.png cannot be read from .*set.zip \(.*\): expected a whole archive$"):
        tree.files.read("a/1.png")
    assert tree.files.read("b/2.png") == b"good"


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.tar.gz"])
def test_half_an_archive(tmp_path: Path, name: str) -> None:

    noise = random.Random(0).randbytes(20_000)
    files = {f"{label}/{number}.png": noise for label in "ab" for number in range(3)}
    path = (zipped if name == "set.zip" else tarred)(tmp_path / name, files)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def read_all() -> None:
        listing = read_listing(path, ImagesConfig())
        for entry in listing.entries:
            listing.files.read(entry.name)

    with pytest.raises(UserError, match=r"^\S*set\S* .*: expected a whole archive$"):
        read_all()


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a/1.png": b"1"})
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\1\2")
    content[place + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"set.zip is encrypted: expected an archive without a password"):
        archive_tree(path)


def test_an_archive_that_is_gone(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a/1.png": b"1"})
    tree = archive_tree(path)
    path.unlink()
    with pytest.raises(UserError, match=r"set.zip does not exist any more"):
        tree.files.read("a/1.png")


@pytest.mark.parametrize("name", ["set.zip", "set.tar"])
def test_names_that_lead_out_are_left_out(tmp_path: Path, name: str) -> None:
    files = {"a/1.png": b"1", "../b/2.png": b"2", "a/../../c/3.png": b"3", "/d/4.png": b"4", "e\\..\\..\\5.png": b"5"}
    tree = archive_tree((zipped if name == "set.zip" else tarred)(tmp_path / name, files))
    assert sorted(tree.images) == ["a/1.png", "d/4.png"]
    assert tree.skipped == {"with a path that leads out of the archive": 3}
    assert tree.files.read("d/4.png") == b"4"


def test_links_in_a_zip_are_no_images(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a/1.png": b"1"})
    with zipfile.ZipFile(path, "a") as file:
        link = zipfile.ZipInfo("a/2.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    tree = archive_tree(path)
    assert list(tree.images) == ["a/1.png"]
    assert tree.skipped == {"links in an archive": 1}


def test_sparse_files_pipes_and_devices_in_a_tar(tmp_path: Path) -> None:
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as tar:
        for number, kind in enumerate((tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.REGTYPE)):
            info = tarfile.TarInfo(f"a/{number}.png")
            info.type = kind
            tar.addfile(info)
        sparse = tarfile.TarInfo("a/3.png")
        sparse.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0"}
        sparse.pax_headers |= {"GNU.sparse.size": "1000", "GNU.sparse.name": "a/3.png"}
        tar.addfile(sparse)
    tree = archive_tree(path)
    assert list(tree.images) == ["a/2.png"]
    assert tree.skipped == {"pipes and devices in an archive": 2, "sparse files in an archive": 1}


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "inner.zip", {"no.png": b"?"}).read_bytes()
    tree = archive_tree(tarred(tmp_path / "set.tar", {"a/1.png": b"1", "b/inner.zip": inner}))
    assert (list(tree.images), tree.skipped) == (["a/1.png"], {"that are no images": 1})


@pytest.mark.parametrize(("kind", "opened"), [("gz", gzip.open), ("bz2", bz2.open), ("xz", lzma.open)])
def test_damage_in_the_middle_of_a_compressed_tar(tmp_path: Path, kind: str, opened: object) -> None:

    whole = tarred(
        tmp_path / "set.tar", {f"a/{number}.png": random.Random(number).randbytes(5000) for number in range(9)}
    )
    path = tmp_path / f"set.tar.{kind}"
    with opened(path, "wb") as file:  # type: ignore[operator]
        file.write(whole.read_bytes())
    tree = archive_tree(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = b"\xff" * 40
    path.write_bytes(content)
    if kind == "xz":  # gzip and bzip2 may notice only when more is read
        with pytest.raises(
            UserError, match=r"^a/8.png cannot be read from .*set.tar.xz \(.*\): expected a whole archive$"
        ):
            tree.files.read("a/8.png")
    with pytest.raises(UserError, match=r"^.*/set\.tar\.\S+ is damaged or cut off \(.*\): expected a whole archive$"):
        archive_tree(path)


def test_a_zip_with_a_damaged_name(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"\xe9\xe9/1.png": b"1"})
    path.write_bytes(path.read_bytes().replace("éé".encode(), b"\xc3\xc3\xc3\xc3"))
    with pytest.raises(UserError, match=r"set\.zip is damaged or cut off \(.*codec.*\): expected a whole archive$"):
        archive_tree(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows")
def test_pipes_and_devices_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "set.tar")
    for path in (tmp_path / "set.tar", Path("/dev/zero")):
        with pytest.raises(UserError, match=r"is a (named pipe|device).*: expected a regular file$"):
            read_listing(path, ImagesConfig())


def test_an_archive_of_nothing(tmp_path: Path) -> None:
    for path in (zipped(tmp_path / "set.zip", {}), tarred(tmp_path / "set.tar", {})):
        with pytest.raises(UserError, match=r"^.*/set\.(zip|tar) has no images: expected files with endings such as"):
            read_listing(path, ImagesConfig())


@pytest.mark.usefixtures("own_cache")
def test_a_damaged_file_is_left_out_of_the_scan(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as file:  # stored: the damage is one to the pixels, which only the checksum shows
        for name, content in photos(6).items():
            file.writestr(name, content)
        place = file.getinfo("cat/3.png").header_offset + 200
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    found = scan(read_listing(path, ImagesConfig()), ImagesConfig())
    assert len(found.entries) == 5
    assert list(found.unreadable) == ["cat/3.png"]
    assert "Bad CRC-32" in found.unreadable["cat/3.png"]
