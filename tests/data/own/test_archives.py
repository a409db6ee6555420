"""Archives are read in place, whatever is in them, and damage is named."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from own_layouts import tarred, zipped

from thimble.data.own.archives import archive_tree
from thimble.data.own.layouts import read_listing
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError

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
        "that are no images": 1,
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


def test_the_last_of_two_in_a_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"a/1.png": b"old"})
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("a/1.png", b"new")
    tree = archive_tree(path)
    assert (len(tree.images), tree.files.read("a/1.png")) == (1, b"new")


def test_names_in_utf_8_that_do_not_say_so(tmp_path: Path) -> None:
    path = zipped(tmp_path / "set.zip", {"gr%%e/1.png": b"1", "\xe9/2.png": b"2"})
    path.write_bytes(path.read_bytes().replace(b"gr%%e", "grüe".encode()))  # as macOS does
    tree = archive_tree(path)
    assert list(tree.images) == ["grüe/1.png", "é/2.png"]
    assert [tree.files.read(name) for name in tree.images] == [b"1", b"2"]


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:xz"])
def test_hard_links_in_a_tar_are_images(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "set"
    for name in ("a/1.png", "b/3.png"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(name.encode())
    os.link(root / "a" / "1.png", root / "b" / "2.png")
    (root / "b" / "4.png").symlink_to("3.png")
    with tarfile.open(tmp_path / "set.tar", kind) as tar:  # type: ignore[call-overload]
        tar.add(root, "set")
        stray = tarfile.TarInfo("set/b/5.png")
        stray.type, stray.linkname = tarfile.LNKTYPE, "../../etc/passwd"
        tar.addfile(stray)
    tree = archive_tree(tmp_path / "set.tar")
    assert sorted(tree.images) == ["set/a/1.png", "set/b/2.png", "set/b/3.png"]
    assert tree.files.read("set/b/2.png") == b"a/1.png"
    assert tree.skipped == {"links in an archive": 2}


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.tar.gz"])
def test_other_processes_read_the_files(tmp_path: Path, name: str) -> None:
    files = {f"a/{number}.png": b"%d" % number for number in range(4)}
    tree = archive_tree((zipped if name == "set.zip" else tarred)(tmp_path / name, files))
    assert tree.files.read("a/3.png") == b"3"
    code = "import pickle, sys; f = pickle.load(sys.stdin.buffer); print(*(f.read(f'a/{n}.png') for n in (2, 0, 3)))"
    command = [sys.executable, "-c", code]
    for _ in range(2):
        assert subprocess.check_output(command, input=pickle.dumps(tree.files)) == b"b'2' b'0' b'3'\n"


def test_paths_in_a_manifest_inside(tmp_path: Path) -> None:
    table = b"image,label\n../images/1.png,x\n3,y\n..\\images\\2,x\n/etc/passwd,x\n../../../images/1.png,x\n"
    files = {
        "set/tables/t.csv": table,
        "set/images/1.png": b"1",
        "set/images/2.png": b"2",
        "set/tables/more/3.png": b"3",
    }
    found = read_listing(zipped(tmp_path / "set.zip", files), ImagesConfig(label_column="label"))
    assert [(entry.name, entry.label) for entry in found.entries] == [
        *(("set/images/1.png", "x"), ("set/tables/more/3.png", "y"), ("set/images/2.png", "x"))
    ]
    assert found.missing == ("/etc/passwd", "../../../images/1.png")
    assert [found.files.read(entry.name) for entry in found.entries] == [b"1", b"3", b"2"]


def test_two_manifests_inside(tmp_path: Path) -> None:
    files = {"a.csv": b"image,label\n1,x\n", "b.csv": b"image,label\n1,y\n", "images/1.png": b"1"}
    with pytest.raises(UserError, match=r"^set.zip has 2 manifests, a.csv, b.csv: expected one only$"):
        read_listing(zipped(tmp_path / "set.zip", files), ImagesConfig())
