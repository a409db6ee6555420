"""The run folder: begun once, found again, and its logs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from thimble.config import TrainConfig, UserError
from thimble.run_folder import COLUMNS, begin, check_resumable, read_config, to_dict, write_logs


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


def test_begin_writes_the_configuration_and_reads_it_back(tmp_path: Path) -> None:
    config = TrainConfig(runs=tmp_path / "runs", name="first", data_dir=tmp_path, clip_norm=2.0)
    run = begin(config)
    assert run == tmp_path / "runs" / "first"
    assert read_config(run) == config


def test_a_run_without_a_name_is_named_after_model_data_and_time(tmp_path: Path) -> None:
    run = begin(TrainConfig(runs=tmp_path, data="shapes10"))
    assert run.name.startswith("reference-shapes10-2")


def test_an_existing_folder_is_kept_unless_asked(tmp_path: Path) -> None:
    run = begin(TrainConfig(runs=tmp_path, name="x"))
    (run / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="--overwrite to lose it"):
        begin(TrainConfig(runs=tmp_path, name="x"))
    assert (run / "notes.txt").exists()
    begin(TrainConfig(runs=tmp_path, name="x", overwrite=True))
    assert not (run / "notes.txt").exists()


def test_overwrite_deletes_only_run_folders(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(UserError, match="is no run folder"):
        begin(TrainConfig(runs=tmp_path, name="thesis", overwrite=True))
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is no run folder"):
        begin(TrainConfig(runs=tmp_path, name="file", overwrite=True))
    assert (tmp_path / "thesis" / "chapter.txt").exists()


def test_an_empty_folder_can_be_begun_in(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert begin(TrainConfig(runs=tmp_path, name="x")) == tmp_path / "x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no config.json"),
        ("{", "cannot read"),
        ("[]", "expected a JSON object"),
        ("{}", "not the configuration of a Thimble run"),
    ],
)
def test_a_folder_that_is_no_run_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=message):
        read_config(tmp_path)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**to_dict(TrainConfig()), "colour": "green"}))
    with pytest.raises(UserError, match="colour"):
        read_config(tmp_path)


def test_a_run_that_died_before_its_first_state_says_what_to_do(tmp_path: Path) -> None:
    config = TrainConfig(runs=tmp_path, name="x")
    run = begin(config)
    with pytest.raises(UserError, match="start it again with --overwrite"):
        check_resumable(run, config)


def test_logs_hold_every_epoch_and_mark_the_best(tmp_path: Path) -> None:
    config = TrainConfig(epochs=3)
    history = [row(1, 0.7), row(2, 0.8123), row(3, 0.8)]
    write_logs(tmp_path, config, history, "The end.")
    with (tmp_path / "metrics.csv").open() as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == list(COLUMNS)
    assert [float(line["validation_accuracy"]) for line in read] == [0.7, 0.8123, 0.8]
    log = (tmp_path / "training_logs.md").read_text()
    assert "| 81.23% * |" in log
    assert log.count(" * |") == 1
    assert log.endswith("\nThe end.\n")


def test_logs_without_validation_leave_its_cells_empty(tmp_path: Path) -> None:
    write_logs(tmp_path, TrainConfig(), [row(1, None)])
    assert (tmp_path / "metrics.csv").read_text().splitlines()[1].startswith("1,1.0,0.5,,,0.1")
    assert "*" not in (tmp_path / "training_logs.md").read_text()
