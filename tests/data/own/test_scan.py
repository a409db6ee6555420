"""Every image is decoded once; what cannot be read is named; the user's folder stays as it is."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from own_folders import folder_listing
from own_pictures import bad, deep, encoded, kinds, photos, soft, write
from PIL import Image

from thimble.data.image_files import read_image
from thimble.data.own import workers
from thimble.data.own.listing import Entry, Files, Listing
from thimble.data.own.scan import Scan, scan
from thimble.data.own.settings import ImagesConfig
from thimble.data.pixels import Fitting, to_input
from thimble.errors import UserError

AUTO = ImagesConfig()


pytestmark = pytest.mark.usefixtures("own_cache")


def check(found: Scan, root: Path) -> None:
    """Rows, names, contents and sizes belong together, and pixels are those of predict."""
    assert found.images.shape == (len(found.entries), found.fitting.channels, *found.fitting.size)
    assert found.images.dtype == torch.uint8
    assert found.sizes.dtype == np.int32
    rows = zip(found.entries, found.content, found.images, found.sizes.tolist(), strict=True)
    for entry, content, pixels, size in rows:
        path = root / entry.name
        assert content == hashlib.sha256(path.read_bytes()).hexdigest()
        assert torch.equal(pixels, to_input(read_image(path, found.fitting), found.fitting)), entry.name
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) >= 5
            assert tuple(size) == (image.size[::-1] if turned else image.size)


@pytest.mark.parametrize("config", [AUTO, ImagesConfig(fit="pad"), ImagesConfig(channels=1, image_size=20)])
def test_all_kinds_of_files_are_scanned(tmp_path: Path, config: ImagesConfig) -> None:
    root = write(tmp_path / "my images", {f"a/{name}": content for name, content in kinds().items()})
    found = scan(folder_listing(root), config)
    check(found, root)
    assert found.unreadable == {}
    assert len(found.entries) == len(kinds())
    assert found.fitting.depth is not None
    assert set(found.reasons) == {"image_size", "fit", "channels", "depth"}


def test_unreadable_files_are_left_out_and_named(tmp_path: Path) -> None:
    files = {f"a/{name}": content for name, content in {**kinds(), **bad()}.items()}
    root = write(tmp_path / "data", files)
    listing = folder_listing(root)
    gone = Entry("a/gone.png", "a", signature="1 1")
    found = scan(replace(listing, entries=(gone, *listing.entries)), AUTO)
    check(found, root)
    assert set(found.unreadable) == {f"a/{name}" for name in bad()} | {"a/gone.png"}
    assert found.unreadable["a/gone.png"] == "does not exist"
    assert found.unreadable["a/text.jpg"] == "is not an image in a format that Thimble reads"
    assert [entry.name for entry in found.entries] == [
        entry.name for entry in listing.entries if entry.name not in found.unreadable
    ]


@pytest.mark.parametrize(
    ("good", "broken", "fraction", "passes"),
    [(10, 2, 0.01, True), (3, 2, 0.01, True), (2, 2, 0.01, False), (1, 1, 0.01, False), (30, 10, 0.01, True),
     (30, 11, 0.01, False), (30, 11, 0.5, True), (30, 1, 0.0, False), (30, 0, 0.0, True)],
)  # fmt: skip
def test_too_many_unreadable_files_end_the_run(
    tmp_path: Path, good: int, broken: int, fraction: float, passes: bool
) -> None:
    files = {**photos(good), **{f"cat/bad{number}.png": b"text" for number in range(broken)}}
    listing = folder_listing(write(tmp_path / "data", files))
    config = ImagesConfig(max_unreadable=fraction)
    for _ in range(2):  # also when the scan is found in the cache
        if passes:
            assert len(scan(listing, config).unreadable) == broken
        else:
            with pytest.raises(
                UserError, match=rf"data: {broken} of {good + broken} files cannot be read, such as cat/"
            ):
                scan(listing, config)


def test_nothing_to_scan_is_one_line(tmp_path: Path) -> None:
    empty = folder_listing(write(tmp_path / "empty", {}))
    with pytest.raises(UserError, match="empty has no images: expected"):
        scan(empty, AUTO)
    listing = folder_listing(write(tmp_path / "texts", {"a/a.jpg": b"text", "a/b.jpg": b""}))
    for fitting in (None, Fitting((32, 32))):
        with pytest.raises(UserError, match=r"texts: none of 2 files can be read, such as a/a\.jpg, which is not an"):
            scan(listing, ImagesConfig(max_unreadable=1.0), fitting=fitting)


def test_progress_is_for_terminals(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scan(folder_listing(write(tmp_path / "data", photos(3))), AUTO, progress=True)
    assert capfd.readouterr() == ("", "")


def test_names_of_files_are_shown_safely(tmp_path: Path) -> None:
    listing = folder_listing(write(tmp_path / "data", {"a/b\x1b[2J\n.jpg": b"text"}))
    with pytest.raises(UserError) as caught:
        scan(listing, AUTO)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["ä ö/日本 1.png", "a b/..c.png", "x\n/y.png", "\udcff/\udcfe.png"])
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    root = write(tmp_path / "data", {name: encoded(soft(40, 40), "PNG")})
    for _ in range(2):
        assert [entry.name for entry in scan(folder_listing(root), AUTO).entries] == [name]


def test_the_folder_is_never_written_to(tmp_path: Path) -> None:
    root = write(tmp_path / "data", {**photos(8), "cat/bad.jpg": b"text"})
    places = [root, *root.rglob("*")]
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: (path.stat(), path.read_bytes() if path.is_file() else b"") for path in places}
    try:
        check(scan(folder_listing(root), AUTO), root)
        assert [root, *root.rglob("*")] == places
        for path, (status, content) in before.items():
            now = path.stat()
            assert (now.st_mtime_ns, now.st_ctime_ns, now.st_mode) == (
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_mode,
            )
            assert not path.is_file() or path.read_bytes() == content
    finally:
        for path in places:
            path.chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_left_out(tmp_path: Path) -> None:
    root = write(tmp_path / "data", photos(4))
    (root / "cat" / "1.png").chmod(0)
    assert scan(folder_listing(root), AUTO).unreadable == {"cat/1.png": "Permission denied"}


def test_a_models_fitting_overrides_all_choices(tmp_path: Path) -> None:
    root = write(tmp_path / "data", photos(6))
    fitting = Fitting((20, 30), 1, "pad", (3.0, 300.0))
    found = scan(folder_listing(root), ImagesConfig(image_size=64, channels=3, fit="squash"), fitting=fitting)
    check(found, root)
    assert found.fitting == fitting
    assert all(reason.endswith("as the model was trained.") for reason in found.reasons.values())


def test_the_checksum_is_of_labels_and_contents(tmp_path: Path) -> None:
    first = write(tmp_path / "a", photos(5))
    other = write(tmp_path / "b", photos(5))
    renamed = write(tmp_path / "c", photos(5))
    (renamed / "dog" / "0.png").rename(renamed / "dog" / "00.png")
    changed = write(tmp_path / "d", {**photos(5), "dog/0.png": photos(6)["cat/5.png"]})
    moved = write(tmp_path / "e", photos(5))
    (moved / "dog" / "0.png").rename(moved / "cat" / "0.png")
    sums = [scan(folder_listing(root), AUTO).checksum for root in (first, other, renamed, changed, moved)]
    assert sums[0] == sums[1] == sums[2]
    assert len(set(sums)) == 3
    assert scan(folder_listing(first), ImagesConfig(image_size=32)).checksum == sums[0]


def test_what_changes_between_listing_and_scan_does_no_harm(tmp_path: Path) -> None:
    root = write(tmp_path / "data", photos(8))
    listing = folder_listing(root)
    (root / "cat" / "1.png").unlink()
    (root / "cat" / "3.png").write_bytes(encoded(soft(500, 70), "PNG"))
    found = scan(listing, AUTO)
    assert found.unreadable == {"cat/1.png": "does not exist"}
    check(found, root)


def test_what_changes_after_the_scan_does_no_harm(tmp_path: Path) -> None:
    root = write(tmp_path / "data", photos(8))
    found = scan(folder_listing(root), AUTO)
    before = found.images.clone()
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    assert torch.equal(found.images, before)


def test_deep_images_of_a_dataset_share_one_range(tmp_path: Path) -> None:
    """12 bits in 16: by Pillow 94% of the pixels would be 255, by their full range all of them nearly black."""
    files = {f"a/{number}.png": encoded(deep(64, 64, number), "PNG") for number in range(6)}
    root = write(tmp_path / "data", files)
    found = scan(folder_listing(root), AUTO)
    check(found, root)
    assert found.fitting.channels == 1
    assert found.fitting.depth is not None
    assert 100 <= found.fitting.depth[0] < 300
    assert 3500 < found.fitting.depth[1] <= 100 + 15 * 255
    assert found.images.float().std() > 30
    assert len(set(found.images.flatten().tolist())) > 200


class Reversed(Files):
    """Pixels that were never in a file."""

    def read(self, name: str) -> bytes | Image.Image:
        return soft(28, 28, int(name))


def test_images_without_files_are_scanned_too() -> None:
    entries = tuple(Entry(str(number), "a", signature="v1") for number in range(5))
    listing = Listing("idx", "IDX", entries, ("a",), Reversed(), place="/data/idx")
    found = scan(listing, AUTO)
    assert found.fitting.size == (28, 28)
    assert all(torch.equal(found.images[n], to_input(soft(28, 28, n), found.fitting)) for n in range(5))
    assert len(set(found.content)) == 5


@pytest.mark.slow
def test_processes_and_this_process_scan_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**photos(150), **{f"cat/bad{number}.png": b"text" for number in (3, 40, 99)}}
    root = write(tmp_path / "data", files)
    alone = scan(folder_listing(root), AUTO)
    monkeypatch.setattr(workers, "ALONE_SECONDS", 0.0)
    monkeypatch.setattr(workers, "num_processes", lambda: 2)
    monkeypatch.setenv("THIMBLE_CACHE", str(tmp_path / "other"))
    several = scan(folder_listing(root), AUTO)
    assert several.entries == alone.entries
    assert several.unreadable == alone.unreadable
    assert several.checksum == alone.checksum
    assert torch.equal(several.images, alone.images)
