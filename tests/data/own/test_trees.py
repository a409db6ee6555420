"""What is in a folder is listed in natural order, links and all, and nothing in it can stop the listing."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from own_layouts import lock_folder, made

from thimble.data.image_paths import natural
from thimble.data.own.trees import Tree, ending_of, folder_tree, why_skipped
from thimble.errors import UserError


def listed(folder: Path, names: Iterable[str]) -> Tree:
    return folder_tree(made(folder, names))


def test_all_that_is_there(tmp_path: Path) -> None:
    names = ["b/2.JPG", "b/10.jpeg", "a 1/x.webp", "labels.csv", "b/t.TSV", "readme", "a.tar.gz", "c/d/"]
    found = listed(tmp_path / "set", names)
    assert list(found.images) == ["a 1/x.webp", "b/2.JPG", "b/10.jpeg"]
    assert found.folders == ("a 1", "b", "c", "c/d")
    assert found.tables == ("b/t.TSV", "labels.csv")
    assert found.skipped == {"that are no images": 2}
    assert (found.title, found.place) == ("set", str(tmp_path / "set"))


@pytest.mark.parametrize("length", [None, 5])
def test_the_order_is_natural(tmp_path: Path, length: int | None) -> None:
    draw = random.Random(length)
    texts = {"".join(draw.choices("aB12.0 -é", k=length or draw.randint(1, 9))) for _ in range(300)}
    names = (
        [f"x{text}.png" for text in texts] if length is None else [f"{draw.randint(0, 99999):05}.png" for _ in texts]
    )
    found = listed(tmp_path, names)
    assert list(found.images) == sorted(set(names), key=natural)


SKIPPED = {
    "hidden": [".DS_Store", "._1.jpg", ".git/a.jpg", "a/.x/y/b.jpg"],
    "of the operating system": [
        *("Thumbs.db", "desktop.ini", "__MACOSX/a/._1.jpg", "a/@eaDir/1.jpg", "$RECYCLE.BIN/1.jpg", "lost+found/1.jpg"),
        *("Icon\r", "ehthumbs.db"),
    ],
}


@pytest.mark.parametrize(("reason", "name"), [(reason, name) for reason, names in SKIPPED.items() for name in names])
def test_hidden_and_system_files_are_counted(tmp_path: Path, reason: str, name: str) -> None:
    found = listed(tmp_path, [name, "a/1.jpg"])
    assert found.images.keys() == {"a/1.jpg"}
    assert found.skipped == {reason: 1}
    assert why_skipped(name) == reason


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.JPG", ".jpg"),
        ("a.tar.gz", ".gz"),
        ("a", ""),
        (".png", ""),
        ("x/.png", ""),
        ("x.y/a", ""),
        ("a.", "."),
        ("", ""),
    ],
)
def test_endings(name: str, ending: str) -> None:
    assert ending_of(name) == ending


def test_links(tmp_path: Path) -> None:
    made(tmp_path / "far", ["1.png", "deep/2.png"])
    root = made(tmp_path / "x", ["a/1.png", "b/1.png"])
    (root / "c").symlink_to(tmp_path / "far")
    (root / "d.png").symlink_to(tmp_path / "far" / "1.png")
    (root / "a" / "up").symlink_to(root)
    (root / "b" / "here").symlink_to(".")
    (root / "b" / "gone.png").symlink_to(tmp_path / "nowhere")
    (root / "b" / "itself.png").symlink_to("itself.png")
    (root / "itself").symlink_to("itself")
    found = folder_tree(root)
    assert list(found.images) == [
        *("a/1.png", "b/1.png", "b/gone.png", "b/itself.png", "c/1.png", "c/deep/2.png", "d.png")
    ]
    assert found.images["b/gone.png"] == found.images["b/itself.png"] == "missing"
    assert found.skipped == {"links to a folder that contains them": 2, "that are no images": 1}
    with pytest.raises(UserError, match=r"itself.png: .*expected a readable file$"):
        found.files.read("b/itself.png")


def test_very_deep_folders(tmp_path: Path) -> None:
    found = listed(tmp_path, ["a/1.png", "x/" * 105 + "2.png", "x/" * 105 + "3.png"])
    assert list(found.images) == ["a/1.png"]
    assert found.skipped == {"more than 100 folders deep": 2}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows")
def test_pipes_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b")
    found = folder_tree(tmp_path)
    assert list(found.images) == ["a.png"]
    with pytest.raises(UserError, match=r"a.png is a named pipe.*: expected a regular file$"):
        found.files.read("a.png")


def test_odd_names(tmp_path: Path) -> None:
    names = ["a b & c/ü\n1.png", "-x/[1].png", "\\/a.png", "é/é.png", "猫/١٢.png"]
    names += [os.fsdecode(b"\xff/\xfe.png"), f"{'x' * 200}/1.png", "CON/aux.png"]
    found = listed(tmp_path, names)
    assert found.images.keys() == set(names)
    assert found.files.read(names[0]) == b""


def test_other_processes_read_the_files(tmp_path: Path) -> None:
    tree = listed(tmp_path / "x", ["a/1.png"])
    (tmp_path / "x" / "a" / "1.png").write_bytes(b"content")
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).read('a/1.png'))"
    found = [
        subprocess.run([sys.executable, "-c", code], input=pickle.dumps(tree.files), capture_output=True, check=True)
        for _ in range(2)
    ]
    assert [each.stdout for each in found] == [b"b'content'\n"] * 2


def test_a_folder_that_is_gone_or_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path / "x", ["a/1.jpg", "b/1.jpg"])
    with pytest.raises(UserError, match=r"^cannot read .*/y: No such file or directory; expected a readable folder$"):
        folder_tree(tmp_path / "y")
    lock_folder(monkeypatch, "/b")
    with pytest.raises(UserError, match=r"^cannot read .*/x/b: Permission denied; expected a readable folder$"):
        folder_tree(root)


def test_the_signature_changes_with_the_content(tmp_path: Path) -> None:
    before = listed(tmp_path, ["a.png", "b.png"]).images
    (tmp_path / "a.png").write_bytes(b"1")
    after = folder_tree(tmp_path).images
    assert before["a.png"] != after["a.png"]
    assert before["b.png"] == after["b.png"]
