"""Archives are read in place, whatever is in them, and damage is named."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from thimble.data.own.archives import archive_tree
from thimble.data.own.layouts import read_listing
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


ODD = {
    "set/b/10.png": b"10",
    "./set/b/2.png": b"2",
    "set\\a\\1.png": b"1",
    "/set/a/3.png": b"3",
    "../../evil.png": b"!",
    "set/empty/": b"",
    "__MACOSX/set/a/._1.png": b"?",
    "set/.hidden.png": b"?",
    "set/readme.md": b"?",
}


def test_a_zip_with_odd_names(tmp_path: Path) -> None:
    tree = archive_tree(zipped(tmp_path / "set.zip", ODD))
    assert list(tree.images) == ["set/a/1.png", "set/a/3.png", "set/b/2.png", "set/b/10.png"]
    assert [tree.files.read(name) for name in tree.images] == [b"1", b"3", b"2", b"10"]
    assert tree.folders == ("set", "set/a", "set/b", "set/empty")
    assert tree.skipped == {
        "with a path that leads out of the archive": 1,
        "of the operating system": 1,
        "hidden": 1,
        "not images": 1,
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.zip"]
    assert read_listing(tmp_path / "set.zip", ImagesConfig()).classes == ("a", "b", "empty")


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz"])
def test_a_tar_keeps_its_order_and_the_last_of_two(tmp_path: Path, name: str) -> None:
    path = tarred(tmp_path / name, {"b/2.png": b"old", "b/10.png": b"10", "a/1.png": b"1"})
    if name == "set.tar":
        with tarfile.open(path, "a") as file:
            info = tarfile.TarInfo("b/2.png")
            info.size = 3
            file.addfile(info, io.BytesIO(b"new"))
            link = tarfile.TarInfo("a/link.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            file.addfile(link)
    tree = archive_tree(path)
    copy = pickle.loads(pickle.dumps(tree.files))
    if name == "set.tar":
        assert list(tree.images) == ["b/10.png", "a/1.png", "b/2.png"]
        assert tree.skipped == {"links in an archive": 1}
        assert copy.read("b/2.png") == b"new"
    assert copy.read("a/1.png") == b"1"
    assert copy.read("b/10.png") == b"10"  # back again
    assert tree.files.read("a/1.png") == b"1"


def test_a_manifest_inside(tmp_path: Path) -> None:
    files = {"set/images.csv": b"image,label\n1,x\n2.png,y\n", "set/images/1.png": b"1", "set/images/2.png": b"2"}
    found = read_listing(zipped(tmp_path / "set.zip", files), ImagesConfig())
    assert [(entry.name, entry.label) for entry in found.entries] == [
        ("set/images/1.png", "x"),
        ("set/images/2.png", "y"),
    ]
    assert found.files.read("set/images/2.png") == b"2"


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
    import random

    noise = random.Random(0).randbytes(20_000)
    files = {f"{label}/{number}.png": noise for label in "ab" for number in range(3)}
    path = (zipped if name == "set.zip" else tarred)(tmp_path / name, files)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def read_all() -> None:
        listing = read_listing(path, ImagesConfig())
        for entry in listing.entries:
            listing.files.read(entry.name)

    with pytest.raises(UserError, match=r"set\..*(expected a whole archive|none of the files)"):
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
