"""The command line as a process: nobody reads its output, its terminal hangs up, Jupyter or a scheduler started it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from thimble.cli import main as cli
from thimble.cli.training_bars import TrainingConsole
from thimble.storage import logs
from thimble.storage.logs import Row
from thimble.system.lock import LOCK_FILE

LITTLE = ["--data", "shapes10", "--validation", "40", "--epochs", "2", "--batch-size", "16", "--device", "cpu"]
LITTLE += ["--model", "tiny", "--name", "x", "--no-report", "--runs"]


Command = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run `thimble ARGUMENTS` as its process would; with ``stdout`` closed by its reader, or on a full disk."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # main puts others in their places
    monkeypatch.setattr(sys, "stderr", sys.stderr)

    def run(*arguments: str, stdout: str) -> int:
        if stdout == "closed":
            reading, writing = os.pipe()
            os.close(reading)
        else:
            writing = os.open("/dev/full", os.O_WRONLY)
        monkeypatch.setattr(sys, "argv", ["thimble", *arguments])
        with os.fdopen(writing, "w") as stream:
            sys.stdout = stream
            try:
                return cli.main()
            finally:
                sys.stdout = sys.__stdout__

    yield run
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def test_a_closed_pipe_does_not_end_a_training(little_data: None, tmp_path: Path, command: Command) -> None:
    assert command("train", *LITTLE, str(tmp_path), stdout="closed") == 0
    assert (tmp_path / "x" / "model.safetensors").is_file()
    assert len(logs.read_metrics(tmp_path / "x")) == 2


def test_output_that_is_lost_on_a_full_disk_is_told_after_the_training(
    little_data: None, tmp_path: Path, command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command("train", *LITTLE, str(tmp_path), stdout="full") == 1
    assert capfd.readouterr().err == (
        "thimble: cannot write to the standard output: No space left on device; part of it is lost\n"
    )
    assert (tmp_path / "x" / "model.safetensors").is_file()


def test_a_terminal_that_hangs_up_leaves_a_saved_run(
    little_data: None,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def hang_up(console: TrainingConsole, row: Row) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)

    monkeypatch.setattr(TrainingConsole, "epoch", hang_up)
    assert command("train", *LITTLE, str(tmp_path), stdout="closed") == 130
    assert f"interrupted after epoch 1: thimble train --resume {tmp_path / 'x'}\n" in capfd.readouterr().err
    assert (tmp_path / "x" / "last.ckpt" / "state.safetensors").is_file()


@pytest.mark.parametrize("verb", ["explain", "card"])
def test_a_verb_that_writes_a_file_writes_it_for_nobodys_eyes(tmp_path: Path, command: Command, verb: str) -> None:
    from PIL import Image

    Image.new("RGB", (32, 32)).save(tmp_path / "x.png")
    file = tmp_path / "written.png"
    arguments = {
        "explain": [str(tmp_path / "x.png"), "--output", str(file)],
        "card": ["reference", "--output", str(file)],
    }[verb]
    assert command(verb, *arguments, stdout="closed") == 0
    assert file.stat().st_size > 100


def test_json_on_a_full_disk_is_no_success(command: Command, capfd: pytest.CaptureFixture[str]) -> None:
    assert command("summary", "reference", "--json", stdout="full") == 1
    assert "cannot write to the standard output" in capfd.readouterr().err
    assert command("summary", "nothing", stdout="full") == 2


def test_a_report_is_written_under_the_lock_of_its_run(
    little_data: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(run: Path, **_: object) -> Path:
        assert (run / LOCK_FILE).is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr("thimble.reporting.report.write_report", interrupted)
    options = [one for one in LITTLE if one != "--no-report"]
    assert cli.main(["train", *options, str(tmp_path)]) == 130
    run = tmp_path / "x"
    expected = f"thimble: interrupted: {run} is trained and saved; thimble report {run} writes its report\n"
    assert capsys.readouterr().err == expected
    assert not (run / LOCK_FILE).exists()


def test_the_command_line_draws_to_files_whatever_a_notebook_has_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert cli.main(["--version"]) == 0
    assert os.environ["MPLBACKEND"] == "Agg"


def test_several_processes_by_another_launcher_than_torchrun_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert cli.main(["train", *LITTLE, str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("thimble: WORLD_SIZE is 4 in the environment, but torchrun did not start this process")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
