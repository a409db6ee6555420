"""A damaged cache, a full disk, a killed process and scans at the same time do no harm."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest
from own_folders import folder_listing, watched
from own_pictures import encoded, photos, soft, write
from own_scans import AUTO, fresh, reading, same, scans

from thimble.data.own.cache import Record, Store
from thimble.data.own.scan import Scan, scan
from thimble.data.own.settings import ImagesConfig
from thimble.errors import RunError


@pytest.mark.parametrize("file", ["images", "entries", "about.json", "names.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "longer", "noise", "zeroed"])
def test_a_damaged_cache_is_noticed(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, file: str, damage: str
) -> None:
    root = write(tmp_path / "data", photos(5))
    reading(root)
    path = scans(own_cache)[0] / file
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        half = len(content) // 2
        zeroed = content[:half] + bytes(len(content) - half)
        new = {"cut": content[:-1], "longer": content + b"\0", "noise": os.urandom(100), "zeroed": zeroed}[damage]
        path.write_bytes(new)
    assert same(reading(root)[0], fresh(root, monkeypatch))
    write(root, {"new/1.png": encoded(soft(70, 70, 9), "PNG")})
    assert same(reading(root)[0], fresh(root, monkeypatch))


def test_what_a_killed_process_left_is_swept(tmp_path: Path, own_cache: Path) -> None:
    root = write(tmp_path / "data", photos(3))
    scan(folder_listing(root), AUTO)
    place = scans(own_cache)[0].parent
    code = "from pathlib import Path; import sys; from thimble.system.temporary import temporary_beside as beside; "
    code += "beside(Path(sys.argv[1])).mkdir()"
    subprocess.run([sys.executable, "-c", code, str(place / "x")], check=True)
    assert len(list(place.iterdir())) == 3
    scan(folder_listing(root), ImagesConfig(image_size=9))
    assert {path.name for path in place.iterdir()} == {".lock", *(path.name for path in scans(own_cache))}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_an_interruption_leaves_nothing(tmp_path: Path, own_cache: Path, error: BaseException) -> None:
    root = write(tmp_path / "data", photos(40))
    seen: list[str] = []

    def stop(name: str) -> None:
        seen.append(name)
        if len(seen) > 75:
            raise error

    with pytest.raises(type(error)):
        scan(watched(root, stop), AUTO)
    assert scans(own_cache) == []
    assert len(scan(folder_listing(root), AUTO).entries) == 40


def test_a_full_disk_is_one_line(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "data", photos(5))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 50_000))
    with pytest.raises(RunError) as caught:
        scan(folder_listing(root), AUTO)
    message = str(caught.value)
    assert message.startswith("the scan needs 0.1 MB in ")
    assert message.endswith("has 0.1 MB left: free some space, or set THIMBLE_CACHE to a folder on another disk")
    assert scans(own_cache) == []


def test_a_disk_that_fills_meanwhile_is_one_line(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "data", photos(5))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"the scan needs 0\.1 MB in .*THIMBLE_CACHE"):
        scan(folder_listing(root), AUTO)
    assert scans(own_cache) == []


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "data", photos(2))
    (tmp_path / "file").touch()
    monkeypatch.setenv("THIMBLE_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match=r"cannot write to the cache .*: .*; set THIMBLE_CACHE to a folder on another"):
        scan(folder_listing(root), AUTO)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_without_permission_still_serves(tmp_path: Path, own_cache: Path) -> None:
    root = write(tmp_path / "data", photos(2))
    reading(root)
    for path in (own_cache, *own_cache.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert reading(root)[1] == []
        with pytest.raises(RunError, match="cannot write to the cache"):
            reading(root, ImagesConfig(image_size=9))
    finally:
        for path in (own_cache, *own_cache.rglob("*")):
            path.chmod(0o755)


def test_of_several_scans_at_once_one_does_the_work(tmp_path: Path, own_cache: Path) -> None:
    root = write(tmp_path / "data", photos(30))
    found: list[tuple[Scan, list[str]]] = []
    threads = [threading.Thread(target=lambda: found.append(reading(root))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(read) for _, read in found) == [0, 0, 0, 30]
    assert all(same(found[0][0], other) for other, _ in found)
    assert len(scans(own_cache)) == 1


def test_without_locks_all_may_scan(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thimble.data.own.cache.fcntl", None)
    test_of = write(tmp_path / "data", photos(30))
    barrier = threading.Barrier(2)
    found: list[Scan] = []
    errors: list[BaseException] = []

    def one() -> None:
        met: list[str] = []

        def meet(name: str) -> None:
            if not met:
                met.append(name)
                barrier.wait(30)

        try:
            found.append(scan(watched(test_of, meet), AUTO))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert same(*found)
    assert len(scans(own_cache)) == 1


def test_a_scan_that_another_process_named_first_is_taken(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without locks, two processes may both find nothing; the second cannot give its scan the name."""
    root = write(tmp_path / "data", photos(6))
    first, _ = reading(root)
    named = scans(own_cache)[0].stat().st_ino
    find, calls = Store.find, []

    def late(store: Store) -> Record | None:
        calls.append(store)
        return find(store) if len(calls) == 4 else None  # not at the start, under the lock, or before the renaming

    monkeypatch.setattr(Store, "find", late)
    second, _ = reading(root)
    assert len(calls) == 4
    assert same(first, second)
    assert [path.stat().st_ino for path in scans(own_cache)] == [named]
