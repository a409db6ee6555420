"""A run's folder, claimed: by one process, whole, and without the loss of what was there."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import thimble.training.claim
from thimble.errors import RunError, UserError
from thimble.system.lock import LOCK_FILE, FolderLock
from thimble.system.temporary import temporary_beside
from thimble.training.claim import Claim
from thimble.training.config import TrainConfig
from thimble.training.config_file import read_config


def begin(config: TrainConfig) -> Path:
    """Begin a run and end it at once."""
    with Claim(config, None) as claim:
        return claim.begin(config, {}, {"name": "shapes10"})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_begin_writes_the_configuration_and_reads_it_back(tmp_path: Path) -> None:
    config = TrainConfig.of(runs=tmp_path / "runs", name="first", data_dir=tmp_path, clip_norm=2.0)
    run = begin(config)
    assert run == tmp_path / "runs" / "first"
    assert read_config(run) == config
    assert names(tmp_path / "runs") == {"first"}
    assert names(run) == {"config.json", "data.json", "environment.json"}


def test_a_run_without_a_name_is_named_after_model_data_and_time(tmp_path: Path) -> None:
    run = begin(TrainConfig.of(runs=tmp_path, data="shapes10"))
    assert run.name.startswith("reference-shapes10-2")


def test_as_many_folders_as_runs_whatever_the_clock_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda *_: "20260101-000000")
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda seed: begin(TrainConfig.of(runs=tmp_path, data="shapes10", seed=seed)), range(8)))
    first = "reference-shapes10-20260101-000000"
    assert names(tmp_path) == {first, *(f"{first}-{number}" for number in range(2, 9))}
    assert [json.loads((run / "config.json").read_text())["seed"] for run in runs] == list(range(8))


def test_of_many_that_want_one_name_one_has_it(tmp_path: Path) -> None:
    def attempt(seed: int) -> Path | str:
        try:
            with Claim(TrainConfig.of(runs=tmp_path, name="x", seed=seed), None) as claim:
                time.sleep(0.05)
                return claim.begin(TrainConfig.of(runs=tmp_path, name="x", seed=seed), {}, {"name": "shapes10"})
        except UserError as error:
            return str(error)

    for empty_folder_first in (False, True):
        if empty_folder_first:
            os.rename(tmp_path / "x", tmp_path / "y")
            (tmp_path / "x").mkdir()
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(attempt, range(8)))
        [winner] = [seed for seed, run in enumerate(found) if run == tmp_path / "x"]
        assert read_config(tmp_path / "x").seed == winner
        assert sum("exists: choose another --name" in str(one) for one in found) == 7


def test_an_existing_folder_is_kept_unless_asked(tmp_path: Path) -> None:
    run = begin(TrainConfig.of(runs=tmp_path, name="x"))
    (run / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="delete it with --overwrite"):
        begin(TrainConfig.of(runs=tmp_path, name="x"))
    assert (run / "notes.txt").exists()
    begin(TrainConfig.of(runs=tmp_path, name="x", overwrite=True))
    assert names(run) == {"config.json", "data.json", "environment.json"}
    assert names(tmp_path) == {"x"}


def test_overwrite_deletes_only_run_folders(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(begin(TrainConfig.of(runs=tmp_path, name="run")))
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, message in (
        ("thesis", "is not a run folder"),
        ("file", "is not a run folder"),
        ("link", "is a symbolic link"),
        ("dangling", "is a symbolic link"),
    ):
        with pytest.raises(UserError, match=message):
            begin(TrainConfig.of(runs=tmp_path, name=name, overwrite=True))
    assert (tmp_path / "thesis" / "chapter.txt").exists()
    assert (tmp_path / "run" / "config.json").exists()


def test_an_empty_folder_can_be_begun_in(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert begin(TrainConfig.of(runs=tmp_path, name="x")) == tmp_path / "x"


@pytest.mark.parametrize("name", ["a\0b", "x" * 256, "é" * 128])
def test_a_name_that_no_file_can_have_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as caught:
        begin(TrainConfig.of(runs=tmp_path, name=name))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == set()


def test_the_longest_name_that_a_file_can_have_is_a_runs_too(tmp_path: Path) -> None:
    for _ in range(2):
        assert begin(TrainConfig.of(runs=tmp_path, name="x" * 255, overwrite=True)).is_dir()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("step", ["mkdir", "write", "rename"])
def test_what_was_to_be_overwritten_stays_if_the_new_run_cannot_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    run = begin(TrainConfig.of(runs=tmp_path, name="x"))
    (run / "model.safetensors").write_text("hours of work")
    rename = Path.rename

    def fail(path: Path, *arguments: Any, **options: Any) -> Any:
        if step != "rename" or path.name == "new":
            raise OSError(number, os.strerror(number))
        return rename(path, *arguments)

    with Claim(TrainConfig.of(runs=tmp_path, name="x", overwrite=True), None) as claim, monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(os, "fsync", fail)
        else:
            patch.setattr(Path, step, fail)
        with pytest.raises(RunError if number == errno.ENOSPC or step == "write" else UserError):
            claim.begin(TrainConfig.of(runs=tmp_path, name="x", overwrite=True), {}, {"name": "shapes10"})
    assert names(tmp_path) == {"x"}
    assert names(run) == {"config.json", "data.json", "environment.json", "model.safetensors"}


@pytest.mark.parametrize("at", ["old", "new"])
def test_a_process_killed_while_it_overwrites_loses_neither_run(tmp_path: Path, at: str) -> None:
    """Killed after the old run was moved aside, or after the new one got its place."""
    run = begin(TrainConfig.of(runs=tmp_path, name="x", seed=1))
    (run / "model.safetensors").write_text("hours of work")
    child = os.fork()
    if child == 0:
        rename = Path.rename

        def dying(path: Path, target: Path) -> Path:
            found = rename(path, target)
            if path.name == "new" or at == "old":
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        Path.rename = dying  # type: ignore[method-assign, assignment]
        try:
            begin(TrainConfig.of(runs=tmp_path, name="x", seed=2, overwrite=True))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    begin(TrainConfig.of(runs=tmp_path, name="other"))
    assert names(tmp_path) == {"x", "other"}
    assert read_config(tmp_path / "x").seed == (1 if at == "old" else 2)
    assert (tmp_path / "x" / "model.safetensors").exists() == (at == "old")


def test_a_run_that_is_being_trained_is_neither_resumed_nor_overwritten(tmp_path: Path) -> None:
    config = TrainConfig.of(runs=tmp_path, name="x")
    message = rf"x is in use by a training run \(process {os.getpid()} on .*\): wait until it ends, or stop it first"
    with Claim(config, None) as claim:
        run = claim.begin(config, {}, {"name": "shapes10"})
        assert claim.has_locks
        for again in (
            lambda: Claim(config, run),
            lambda: begin(TrainConfig.of(runs=tmp_path, name="x", overwrite=True)),
        ):
            with pytest.raises(UserError, match=message):
                again()
        assert names(run) == {"config.json", "data.json", "environment.json", LOCK_FILE}
    with Claim(config, run) as claim, pytest.raises(UserError, match=message):
        Claim(config, run)
    with Claim(config, run, first=False), Claim(config, run):  # torchrun's other processes lock nothing
        pass
    assert not (run / LOCK_FILE).exists()


def test_a_run_that_is_finished_while_its_lock_is_taken_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig.of(runs=tmp_path, name="x")
    run = begin(config)

    def late(folder: Path) -> FolderLock:
        (run / "model.safetensors").write_text("of the one that held it")
        return FolderLock(folder)

    monkeypatch.setattr(thimble.training.claim, "FolderLock", late)
    with pytest.raises(UserError, match="is finished"):
        Claim(config, run)
    assert not (run / LOCK_FILE).exists()


def test_a_folder_that_was_moved_or_deleted_does_not_grow_a_second_one(tmp_path: Path) -> None:
    config = TrainConfig.of(runs=tmp_path, name="x")
    with Claim(config, None) as claim:
        run = claim.begin(config, {}, {"name": "shapes10"})
        claim.check()
        run.rename(tmp_path / "moved")
        with pytest.raises(RunError, match=r"x was moved or deleted .* thimble train --resume FOLDER"):
            claim.check()
        shutil.copytree(tmp_path / "moved", run)  # and another process trains in its place
        (run / LOCK_FILE).write_text("process 1 on another\n")
        with pytest.raises(RunError, match="moved or deleted"):
            claim.check()
    with Claim(config, tmp_path / "moved") as claim:
        assert claim.begin(config, {"moved": True}, {"name": "shapes10"}) == tmp_path / "moved"
    assert json.loads((tmp_path / "moved" / "environment.json").read_text()) == {"moved": True}


def test_what_a_killed_process_left_of_a_beginning_is_deleted(tmp_path: Path) -> None:
    mine = temporary_beside(tmp_path / "run")
    dead = tmp_path / mine.name.replace(f".{os.getpid()}.", ".4194399.")
    for draft in (mine, dead):
        (draft / "new").mkdir(parents=True)
    begin(TrainConfig.of(runs=tmp_path, name="x"))
    assert names(tmp_path) == {"x", mine.name}
