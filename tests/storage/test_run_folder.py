"""The run folder: found again, and its logs."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from thimble.data.augment.settings import AugmentConfig
from thimble.data.cifar10 import Cifar10
from thimble.errors import RunError, UserError
from thimble.storage.curves import Curves, open_curves
from thimble.storage.logs import COLUMNS, read_metrics, write_logs
from thimble.storage.run_folder import write_json
from thimble.training.config import TrainConfig, headline, settings_by_name
from thimble.training.config_file import check_resumable, check_same_data, from_dict, read_config, to_dict

ODD = TrainConfig.of(
    model="thimble-78k",
    data="shapes10",
    data_dir=Path("/somewhere/else"),
    fallback=True,
    validation=0,
    train_images=77,
    epochs=3,
    batch_size=20,
    image_sizes=(16, 32),
    skip_easy=0.25,
    optimizer="muon",
    learning_rate=0.3,
    muon_learning_rate=0.04,
    muon_momentum=0.5,
    warmup_fraction=0.5,
    momentum=0.8,
    weight_decay=1e-5,
    label_smoothing=0.2,
    mix_probability=0.75,
    mix_alpha=1.5,
    mix_ramp=(0.25, 0.875),
    teacher="runs/teacher",
    teacher_weight=0.625,
    temperature=3.5,
    dropout=0.1,
    ema_decay=0.5,
    swa_fraction=0.125,
    clip_norm=1.5,
    whiten=True,
    compile=True,
    augment=AugmentConfig(
        flip_probability=0.25,
        affine_probability=0.75,
        shift_limit=0.125,
        scale_limit=0.25,
        rotate_limit_degrees=15.0,
        color_probability=0.375,
        color_limit=0.5,
        sharpen_probability=0.625,
        sharpen_limit=0.75,
        cutout_probability=0.875,
        cutout_size=(0.1, 0.9),
        augmenter="batched",
    ),
    seed=7,
    device="cpu",
    precision="bf16",
    workers=3,
    name="try-1",
    runs=Path("my") / "runs",
    overwrite=True,
)


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


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**to_dict(TrainConfig()), "colour": "green"}))
    with pytest.raises(UserError, match="colour"):
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


@pytest.mark.parametrize("settings", [TrainConfig(), ODD, TrainConfig.of(bank=Path("some/bank"))])
def test_through_json_and_back(settings: TrainConfig) -> None:
    back = from_dict(json.loads(json.dumps(to_dict(settings), allow_nan=False)))
    assert back == settings
    assert isinstance(back.run.runs, Path)
    pairs = (back.augment.cutout_size, back.mixing.mix_ramp, back.schedule.image_sizes)
    assert all(isinstance(pair, tuple) for pair in pairs)


def test_odd_settings_differ_from_the_defaults() -> None:
    """All of them, else the round trip above could lose one unseen."""
    assert ODD.seed != TrainConfig().seed
    for name, group in settings_by_name().items():
        if name != "bank":  # a teacher excludes it
            assert getattr(getattr(ODD, group), name) != getattr(getattr(TrainConfig(), group), name), name
    plain = to_dict(ODD)
    assert (plain["data_dir"], plain["runs"]) == ("/somewhere/else", "my/runs")
    assert (plain["augment"]["cutout_size"], plain["mix_ramp"]) == ([0.1, 0.9], [0.25, 0.875])
    assert from_dict(plain).run.data_dir == Path("/somewhere/else")


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 3},
        {"epochs": "3"},
        {"epochs": None},
        {"batch_size": 64.5},
        {"learning_rate": "0.1"},
        {"learning_rate": [0.1]},
        {"precision": "float16"},
        {"device": 5},
        {"name": 5},
        {"runs": None},
        {"data_dir": 5},
        {"mix_ramp": 0.5},
        {"mix_ramp": [0.1, 0.2, 0.3]},
        {"mix_ramp": ["a", "b"]},
        {"temperature": "hot"},
        {"swa_fraction": None},
        {"teacher": 5},
        {"augment": None},
        {"augment": []},
        {"augment": "strong"},
        {"augment": {}},
        {"augment": {**to_dict(TrainConfig())["augment"], "blur": 1}},
        {"augment": {**to_dict(TrainConfig())["augment"], "cutout_size": 0.5}},
        {"augment": {**to_dict(TrainConfig())["augment"], "cutout_size": [0.1, 0.2, 0.3]}},
        {"augment": {**to_dict(TrainConfig())["augment"], "flip_probability": "often"}},
        {"augment": {**to_dict(TrainConfig())["augment"], "color_limit": "much"}},
    ],
)
def test_unknown_and_mistyped_fields_are_refused(change: dict[str, Any]) -> None:
    values = to_dict(TrainConfig())
    assert from_dict(dict(values)) == TrainConfig()
    with pytest.raises(UserError) as caught:
        from_dict({**values, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(to_dict(TrainConfig())))
def test_a_missing_field_is_refused_and_named(name: str) -> None:
    """Its default would silently stand in for what the run was made with; but what runs did not know yet says itself
    what it was before."""
    values = to_dict(TrainConfig())
    del values[name]
    if name == "bank":  # 688e9de had none
        assert from_dict(values) == TrainConfig()
        return
    with pytest.raises(UserError, match=rf"^not the configuration of a Thimble run: .*\b{name}\b"):
        from_dict(values)


def test_a_missing_field_of_the_augmentation_is_refused_and_named() -> None:
    values = to_dict(TrainConfig())
    del values["augment"]["shift_limit"]
    with pytest.raises(UserError, match="shift_limit"):
        from_dict(values)


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


def test_a_configuration_is_read_from_a_regular_file_of_sensible_size(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for content in (
        b"[" * 200_000,
        b'{"augment": ' * 10_000,
        b"\xff\xfe",
        b'{"seed": ' + b"9" * 100_000 + b"}",
        bytes(2**21),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"config\.json"):
            read_config(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="is a named pipe"):
        read_config(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match="is a device"):
        read_config(tmp_path)


def test_the_file_of_a_refused_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**to_dict(TrainConfig()), "epochs": 10**12}))
    with pytest.raises(UserError, match=r"config\.json: --epochs 1000000000000: expected a whole number of at most"):
        read_config(tmp_path)


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


def test_a_resumed_run_downloads_into_no_folder_that_only_its_settings_name(tmp_path: Path) -> None:
    """They may be somebody else's. A folder that holds the data is read; one of the user's own is as good as ever."""
    config = TrainConfig.of(runs=tmp_path, name="x", data_dir=tmp_path / "elsewhere")
    run = tmp_path / "x"
    write_json(run / "config.json", to_dict(config))
    with pytest.raises(UserError, match="no longer has CIFAR-10: put the data back, or name another folder"):
        check_same_data(run, config, Cifar10(config.run.data_dir))
    check_same_data(run, config.changed(data_dir=tmp_path / "mine"), Cifar10(tmp_path / "mine"))
    check_same_data(run, config.changed(data_dir=None), Cifar10(None))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "test_batch.bin").touch()
    check_same_data(run, config, Cifar10(config.run.data_dir))
    assert not (tmp_path / "mine").exists()


def test_a_folder_of_a_run_in_other_bytes_than_utf8_comes_back(tmp_path: Path) -> None:
    config = TrainConfig.of(data_dir=Path(os.fsdecode(b"caf\xe9")))
    write_json(tmp_path / "config.json", to_dict(config))
    assert os.fsencode(read_config(tmp_path).run.data_dir or "") == b"caf\xe9"
