"""The run folder: found again, and its logs."""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

import pytest

from thimble.errors import RunError, UserError
from thimble.storage.curves import Curves, open_curves
from thimble.storage.logs import COLUMNS, read_metrics, write_logs
from thimble.storage.run_folder import write_json
from thimble.training.config import TrainConfig, headline
from thimble.training.config_file import check_resumable, read_config, to_dict


def row(epoch: int, accuracy: float | None) -> dict[str, float | int | None]:
    return {
        "epoch": epoch,
        "train_loss": 1.0 / epoch,
        "train_accuracy": 0.5,
        "validation_loss": None if accuracy is None else 1.0 - accuracy,
        "validation_accuracy": accuracy,
        "learning_rate": 0.1,
        "seconds": 12.5,
        "images_per_second": 400.0,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no config.json"),
        ("{", "cannot read"),
        ("[]", "not a JSON object"),
        ("{}", "not the configuration of a Thimble run"),
    ],
)
def test_a_folder_that_is_no_run_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_config(tmp_path)


def test_a_run_that_lost_its_state_is_not_begun_again_over_its_logs(tmp_path: Path) -> None:
    config = TrainConfig.of(runs=tmp_path, name="x")
    write_json(tmp_path / "config.json", to_dict(config))
    check_resumable(tmp_path, config)  # a run that died before it had saved anything
    (tmp_path / "last.ckpt").mkdir()  # where a first save failed
    check_resumable(tmp_path, config)
    write_logs(tmp_path, headline(config), [row(1, 0.7)])
    with pytest.raises(UserError, match=r"has lost its last\.ckpt/state\.safetensors, which it needs to resume"):
        check_resumable(tmp_path, config)


def test_logs_hold_every_epoch_and_mark_the_best(tmp_path: Path) -> None:
    config = TrainConfig.of(epochs=3)
    history = [row(1, 0.7), row(2, 0.8123), row(3, 0.8)]
    write_logs(tmp_path, headline(config), history, "The end.")
    with (tmp_path / "metrics.csv").open() as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == list(COLUMNS)
    assert [float(line["validation_accuracy"]) for line in read] == [0.7, 0.8123, 0.8]
    log = (tmp_path / "training_logs.md").read_text()
    assert "| 81.23% * |" in log
    assert log.count(" * |") == 1
    assert log.endswith("\nThe end.\n")


def test_logs_without_validation_leave_its_cells_empty(tmp_path: Path) -> None:
    write_logs(tmp_path, headline(TrainConfig()), [row(1, None)])
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1].startswith("1,1.0,0.5,,,0.1")
    assert "*" not in (tmp_path / "training_logs.md").read_text()


def test_curves_are_what_tensorboard_reads_with_what_a_died_run_wrote_left_out(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, epochs in ((1, (1, 2, 3)), (3, (3, 4))):
        curves = Curves(tmp_path, first)
        for epoch in epochs:
            curves.add(row(epoch, None if epoch == 4 else 0.1 * first))
        curves.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(one.step, round(one.value, 4)) for one in read.Scalars("validation/accuracy")] == [
        (1, 0.1),
        (2, 0.1),
        (3, 0.3),
    ]
    assert [one.step for one in read.Scalars("train/loss")] == [1, 2, 3, 4]
    assert set(read.Tags()["scalars"]) >= {"learning/rate", "seconds", "images/per_second"}


def test_without_tensorboard_there_are_no_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert open_curves(tmp_path, 1) is None
    assert list(tmp_path.iterdir()) == []


def test_curves_on_a_full_disk_are_one_line(tmp_path: Path) -> None:
    curves = Curves(tmp_path, 1)
    curves._file.close()
    curves._file = curves._records._writer = Path("/dev/full").open("wb")  # noqa: SIM115 - close() cannot empty it
    with pytest.raises(RunError, match=r"cannot write .*tfevents.*No space left"):
        curves.add(row(1, 0.5))
    curves.close()


HEADER = ",".join(COLUMNS)


GOOD = "1,2.0,0.5,,,0.1,12.5,400.0"


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"\xff\xfe",
        HEADER + "\n" + GOOD.replace("2.0", "1e39"),
        HEADER + "\n" + GOOD.replace("2.0", "inf"),
        HEADER + "\n" + GOOD.replace("2.0", "nan"),
        HEADER + "\n" + GOOD.replace("2.0", "1" * 200_000),
        HEADER + "\n" + GOOD.replace("2.0", "\0"),
        HEADER + "\n" + GOOD.replace("2.0", '"'),
        HEADER + "\n" + GOOD.replace("1,", "2,", 1),
        HEADER + "\n" + GOOD.replace("1,", "1.5,", 1),
        HEADER + "\n" + GOOD.replace("1,", ",", 1),
        HEADER + "\n" + GOOD + ",1",
        HEADER + "\n" + GOOD + "\n" + GOOD,
        HEADER + "\n" + GOOD.rpartition(",")[0],
        HEADER + ",epoch\n" + GOOD + ",1",
        HEADER * 3000 + "\n" + GOOD,
    ],
)
def test_a_table_that_no_run_wrote(tmp_path: Path, table: str | bytes) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(HEADER + "\n" + GOOD + "\n")
    assert read_metrics(tmp_path)[0]["images_per_second"] == 400.0
    path.write_bytes(table.encode() if isinstance(table, str) else table)
    with pytest.raises(UserError) as caught:
        read_metrics(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_table_in_no_regular_file_or_too_large(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    os.mkfifo(path)
    with pytest.raises(UserError, match="is a named pipe"):
        read_metrics(tmp_path)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(UserError, match="has 1,073,741,824 bytes: expected at most"):
        read_metrics(tmp_path)
