"""A second start reads no image; a changed folder costs what has changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from own_folders import folder_listing, watched
from own_pictures import encoded, photos, soft, write
from own_scans import AUTO, fresh, reading, same, scans

from thimble.data.own.cache import NUM_KEPT
from thimble.data.own.scan import scan
from thimble.data.own.settings import ImagesConfig


def test_a_second_start_reads_nothing(tmp_path: Path, own_cache: Path) -> None:
    root = write(tmp_path / "data", {**photos(8), "cat/bad.jpg": b"text"})
    first, read = reading(root)
    assert len(read) == 9
    second, read = reading(root)
    assert read == []
    assert same(first, second)
    assert len(scans(own_cache)) == 1


def test_labels_and_parts_are_the_listings(tmp_path: Path, own_cache: Path) -> None:
    root = write(tmp_path / "data", photos(4))
    scan(folder_listing(root), AUTO)
    listing = folder_listing(root)
    renamed = tuple(replace(entry, label="x", part="test") for entry in listing.entries)
    assert scan(replace(listing, entries=renamed), AUTO).entries == renamed
    assert len(scans(own_cache)) == 1


def test_only_what_is_new_is_decoded(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "data", photos(9))
    reading(root)
    (root / "cat" / "1.png").unlink()
    (root / "cat" / "3.png").write_bytes(encoded(soft(99, 99), "PNG"))
    write(root, {"a/new.png": encoded(soft(80, 80, 77), "PNG"), "dog/zzz.png": b"text"})
    found, read = reading(root)
    assert read == ["a/new.png", "cat/3.png", "dog/zzz.png"]
    assert same(found, fresh(root, monkeypatch))


def test_a_touched_file_is_read_and_not_decoded(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "data", photos(6))
    before, _ = reading(root)
    os.utime(root / "cat" / "1.png", (1, 1))
    (root / "dog" / "0.png").rename(root / "dog" / "moved.png")
    monkeypatch.setattr("thimble.data.own.decoding.to_array", None)
    monkeypatch.setattr("thimble.data.own.survey._look_for_colour", lambda *_: None)
    found, read = reading(root)
    assert read == ["cat/1.png", "dog/moved.png"]
    assert torch.equal(found.images.sum((1, 2, 3)).sort()[0], before.images.sum((1, 2, 3)).sort()[0])


def test_other_settings_are_another_scan(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "data", photos(6))
    auto, _ = reading(root)
    assert auto.fitting.size == (64, 64)
    small, read = reading(root, ImagesConfig(image_size=16))
    assert len(read) == 6
    assert small.images.shape[-1] == 16
    assert reading(root)[1] == reading(root, ImagesConfig(image_size=16))[1] == []
    assert same(small, fresh(root, monkeypatch, config=ImagesConfig(image_size=16)))


def test_the_same_pixels_for_another_reason_take_no_space(tmp_path: Path, own_cache: Path) -> None:
    """A model that was trained on a folder is evaluated on it: the images get a second name."""
    root = write(tmp_path / "data", photos(6))
    first, _ = reading(root)
    second, read = reading(root, fitting=first.fitting)
    assert read == []
    assert torch.equal(first.images, second.images)
    assert first.reasons != second.reasons
    assert len({(path / "images").stat().st_ino for path in scans(own_cache)}) == 1
    assert len(scans(own_cache)) == 2


def test_equal_names_and_signatures_elsewhere_mean_nothing(tmp_path: Path, own_cache: Path) -> None:
    """Uncompressed images of one size from an archive without times: all their signatures are equal."""
    for number in (0, 1):
        root = write(
            tmp_path / f"{number}" / "data", {"a/0.png": encoded(soft(40, 40, number), "PNG", compress_level=0)}
        )
        os.utime(root / "a" / "0.png", (0, 0))
    first, second = (scan(folder_listing(tmp_path / f"{number}" / "data"), AUTO) for number in (0, 1))
    assert first.entries == second.entries
    assert first.content != second.content


@pytest.mark.parametrize("missing", ["place", "signature"])
def test_without_place_or_signature_everything_is_read(tmp_path: Path, own_cache: Path, missing: str) -> None:
    root = write(tmp_path / "data", photos(4))
    seen: list[str] = []
    listing = watched(root, seen.append)
    if missing == "place":
        listing = replace(listing, place="")
    else:
        listing = replace(listing, entries=tuple(replace(entry, signature="") for entry in listing.entries))
    for _ in range(2):
        seen.clear()
        scan(listing, AUTO)
        assert len(set(seen)) == 4


def test_a_moved_folder_is_scanned_anew(tmp_path: Path, own_cache: Path) -> None:
    root = write(tmp_path / "data", photos(4))
    before, _ = reading(root)
    root.rename(tmp_path / "moved")
    after, read = reading(tmp_path / "moved")
    assert len(read) == 4
    assert before.checksum == after.checksum


def test_old_scans_are_deleted(tmp_path: Path, own_cache: Path) -> None:
    root = write(tmp_path / "data", photos(3))
    first, _ = reading(root)
    before = first.images.clone()
    for size in range(20, 20 + NUM_KEPT + 2):
        reading(root, ImagesConfig(image_size=size))
    assert len(scans(own_cache)) == NUM_KEPT
    assert torch.equal(first.images, before)  # still mapped
    assert reading(root, ImagesConfig(image_size=19 + NUM_KEPT + 2))[1] == []
