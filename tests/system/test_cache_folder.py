"""The user's cache is one folder, which the user can choose."""

from __future__ import annotations

from pathlib import Path

import pytest

from thimble.data.cifar10 import data_folder
from thimble.errors import UserError
from thimble.system.cache_folder import cache_folder


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("THIMBLE_CACHE", str(tmp_path / "fast disk"))
    assert cache_folder() == tmp_path / "fast disk"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THIMBLE_CACHE", "here")
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("THIMBLE_CACHE", "~/there")
    assert cache_folder() == Path.home() / "there"
    assert not (tmp_path / "here").exists()


def test_else_it_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("THIMBLE_CACHE", raising=False)
    found = cache_folder()
    assert found.name == "thimble"
    assert found.is_absolute()
    monkeypatch.setenv("THIMBLE_CACHE", "")
    assert cache_folder() == found


def test_downloads_go_there_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("THIMBLE_DATA", raising=False)
    monkeypatch.setenv("THIMBLE_CACHE", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.setenv("THIMBLE_DATA", str(tmp_path / "data"))
    assert data_folder() == tmp_path / "data"


def test_a_home_that_does_not_exist_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THIMBLE_CACHE", "~nobody-of-that-name/x")
    with pytest.raises(UserError, match="there is no user"):
        cache_folder()
