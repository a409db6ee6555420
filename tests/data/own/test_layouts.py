"""Any layout gives the same images; classes can be chosen, and images be grouped."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from own_layouts import lock_folder
from own_pictures import photos, write

from thimble.data.own.layouts import read_listing
from thimble.data.own.scan import scan
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")

NAMES = ["train/a/1.png", "train/a/2.png", "train/b/3.png", "test/a/4.png", "test/b/5.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    contents = photos(len(NAMES)).values()
    return write(tmp_path / "set", dict(zip(NAMES, contents, strict=True)))


def packed(folder: Path, kind: str) -> Path:
    """The folder as another layout, beside it."""
    path = folder.parent / f"set.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name in NAMES:
                file.write(folder / name, f"set/{name}")
    elif kind == "csv":
        rows = [f"set/{name},{name.split('/')[1]},{name.split('/')[0]}\n" for name in NAMES]
        path.write_text("path,label,split\n" + "".join(rows), encoding="utf-8")
    else:
        with tarfile.open(path, {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}[kind]) as tar:  # type: ignore[call-overload]
            tar.add(folder, "set")
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "csv"])
def test_every_layout_gives_the_same_images(folder: Path, kind: str) -> None:
    config = ImagesConfig()
    first, second = read_listing(folder, config), read_listing(packed(folder, kind), config)
    one, two = scan(first, config), scan(second, config)
    ours = dict(zip(one.content, ((entry.label, entry.part) for entry in one.entries), strict=True))
    assert ours == dict(zip(two.content, ((entry.label, entry.part) for entry in two.entries), strict=True))
    assert first.classes == second.classes
    assert {tuple(image.flatten().tolist()) for image in one.images} == {
        tuple(image.flatten().tolist()) for image in two.images
    }


def test_the_asked_classes_in_their_order(folder: Path) -> None:
    assert read_listing(folder, ImagesConfig(classes=("b", "a"))).classes == ("b", "a")
    write(folder, {"train/c/6.png": b"", "train/c/7.png": b""})
    found = read_listing(folder, ImagesConfig(classes=("b", "a")))
    assert {entry.label for entry in found.entries} == {"a", "b"}
    assert found.skipped == {"images of other classes": 2}
    with pytest.raises(UserError, match=r"^--classes: set has no class 'x': expected among a, b, c$"):
        read_listing(folder, ImagesConfig(classes=("a", "x")))


@pytest.mark.parametrize(("group", "groups"), [("level:2", "aabab"), (r"(\d)\.png", "12345"), ("[ab]/", None)])
def test_groups_by_level_and_pattern(folder: Path, group: str, groups: str | None) -> None:
    found = {entry.name: entry.group for entry in read_listing(folder, ImagesConfig(group=group)).entries}
    expected = list(groups) if groups else ["a/", "a/", "b/", "a/", "b/"]
    assert [found[name] for name in NAMES] == expected


@pytest.mark.parametrize(
    ("group", "message"),
    [("level:7", "gives no group to any"), ("nothing", "gives no group to any"), ("(", "is no regular expression")],
)
def test_groups_that_are_none(folder: Path, group: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_listing(folder, ImagesConfig(group=group))


def test_a_folder_with_a_manifest_and_no_classes(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "with manifest"
    write(root, {f"images/{number}.png": (folder / name).read_bytes() for number, name in enumerate(NAMES)})
    (root / "labels.csv").write_text("image,label\n0,x\n1,y\n2,x\n", encoding="utf-8")
    found = read_listing(root, ImagesConfig())
    assert [(entry.name, entry.label) for entry in found.entries] == [
        ("images/0.png", "x"),
        ("images/1.png", "y"),
        ("images/2.png", "x"),
    ]
    (root / "more.csv").write_text("image,label\n0,x\n", encoding="utf-8")
    for config in (ImagesConfig(), ImagesConfig(image_column="image")):
        with pytest.raises(UserError, match=r"has 2 manifests, labels.csv, more.csv: expected --data .*/labels.csv$"):
            read_listing(root, config)


def test_columns_are_for_manifests_and_levels_for_folders(folder: Path) -> None:
    with pytest.raises(UserError, match=r"name columns of a manifest, but set has no manifest"):
        read_listing(folder, ImagesConfig(label_column="label"))
    with pytest.raises(UserError, match=r"--class-level is for class folders: set.csv is a manifest"):
        read_listing(packed(folder, "csv"), ImagesConfig(class_level=2))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\3\4 no zip", b"\x1f\x8b no gzip"])
def test_a_file_of_no_known_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.xyz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"set\.xyz .*: expected a (folder of images|whole archive)"):
        read_listing(path, ImagesConfig())


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere does not exist: expected a folder of images, a manifest"):
        read_listing(tmp_path / "nowhere", ImagesConfig())


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.xz"])
def test_the_same_names_are_the_same_dataset(folder: Path, kind: str) -> None:
    path = folder.parent / f"packed.{kind}"
    names = sorted(NAMES)
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name in names:
                file.write(folder / name, name)
    else:
        with tarfile.open(path, "w:xz" if kind == "tar.xz" else "w") as tar:
            for name in names:
                tar.add(folder / name, name)
    config = ImagesConfig()
    first, second = read_listing(folder, config), read_listing(path, config)
    assert [(entry.name, entry.label, entry.part) for entry in first.entries] == [
        (entry.name, entry.label, entry.part) for entry in second.entries
    ]
    assert scan(first, config).checksum == scan(second, config).checksum


def test_an_archive_of_another_ending(folder: Path) -> None:
    path = packed(folder, "zip")
    for name in ("set.ZIP", "set.photos", "set"):
        copy = folder.parent / "copies" / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
        assert len(read_listing(copy, ImagesConfig()).entries) == len(NAMES)


def test_asked_columns_make_a_table_a_manifest(folder: Path) -> None:
    rows = "".join(f"{name},{number % 2}\n" for number, name in enumerate(NAMES))
    (folder / "meta.csv").write_text("photo,age\n" + rows, encoding="utf-8")
    found = read_listing(folder, ImagesConfig(image_column="photo", label_column="age"))
    assert found.classes == ("0", "1")
    plain = read_listing(folder, ImagesConfig())
    assert plain.classes == ("a", "b")
    assert plain.notes == ("meta.csv is not used: the folders' names are the labels.",)


def test_one_table_and_parts_without_classes(tmp_path: Path) -> None:
    root = write(tmp_path / "x", {"train/1.jpg": b"", "train/2.jpg": b"", "test/3.jpg": b""})
    (root / "train.csv").write_text("id,label\n1,x\n2.jpg,y\n", encoding="utf-8")
    found = read_listing(root, ImagesConfig())
    assert [(entry.name, entry.label) for entry in found.entries] == [("train/1.jpg", "x"), ("train/2.jpg", "y")]


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "loop").symlink_to("loop")
    with pytest.raises(UserError, match=r"/x has no images, and 1 other file: expected files with endings such as"):
        read_listing(tmp_path / "x", ImagesConfig())
    (tmp_path / "gone").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"/gone does not exist: expected a file$"):
        read_listing(tmp_path / "gone", ImagesConfig())


def test_a_folder_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock_folder(monkeypatch, "/set")
    with pytest.raises(UserError, match=r"^cannot read .*/set: Permission denied; expected a readable folder$"):
        read_listing(folder, ImagesConfig())


def test_nothing_is_written(folder: Path) -> None:
    path = packed(folder, "tar")
    before = {each: each.stat().st_mtime_ns for each in [*folder.rglob("*"), path, folder.parent]}
    for each in (folder, path):
        listing = read_listing(each, ImagesConfig())
        for entry in listing.entries:
            listing.files.read(entry.name)
    assert before == {each: each.stat().st_mtime_ns for each in [*folder.rglob("*"), path, folder.parent]}


@pytest.mark.parametrize("wrap", ["", "set/"])
def test_a_picture_beside_the_table_is_no_class(tmp_path: Path, wrap: str) -> None:
    table = b"image,label\n1,x\n2,y\n"
    contents = {"logo.png": b"", "images/1.png": b"", "images/2.png": b"", "labels.csv": table}
    root = write(tmp_path / "x", {wrap + name: content for name, content in contents.items()})
    found = read_listing(root, ImagesConfig())
    assert [(entry.name.removeprefix("set/"), entry.label) for entry in found.entries] == [
        *(("images/1.png", "x"), ("images/2.png", "y"))
    ]
