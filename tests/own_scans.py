"""What the tests of the scan's cache do: scan while they watch what is read, and compare scans."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from own_folders import folder_listing, watched

from thimble.data.own.scan import Scan, scan
from thimble.data.own.settings import ImagesConfig
from thimble.data.pixels import Fitting

AUTO = ImagesConfig()


def scans(cache: Path) -> list[Path]:
    """The folders of all scans in a cache; there is nothing else but locks."""
    found = [path for path in (cache / "scans").glob("*/*") if path.name != ".lock"]
    assert all(len(path.name) == 32 for path in found)
    return found


def reading(root: Path, config: ImagesConfig = AUTO, fitting: Fitting | None = None) -> tuple[Scan, list[str]]:
    """A scan, and the names of the files that it read, in their order."""
    seen: list[str] = []
    found = scan(watched(root, seen.append), config, fitting=fitting)
    return found, sorted(set(seen))


def same(one: Scan, other: Scan) -> bool:
    assert (one.entries, one.content, one.checksum) == (other.entries, other.content, other.checksum)
    assert (one.fitting, one.reasons, one.unreadable) == (other.fitting, other.reasons, other.unreadable)
    assert one.sizes.tolist() == other.sizes.tolist()
    return torch.equal(one.images, other.images)


def fresh(root: Path, monkeypatch: pytest.MonkeyPatch, config: ImagesConfig = AUTO) -> Scan:
    """The scan without any cache."""
    with monkeypatch.context() as patch:
        patch.setenv("THIMBLE_CACHE", str(root.parent / "fresh"))
        shutil.rmtree(root.parent / "fresh", ignore_errors=True)
        return scan(folder_listing(root), config)
