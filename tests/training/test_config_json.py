"""config.json: there and back, and what is refused in it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from thimble.data.augment.settings import AugmentConfig
from thimble.data.cifar10 import Cifar10
from thimble.errors import UserError
from thimble.storage.run_folder import write_json
from thimble.system.settings import before
from thimble.training.config import TrainConfig, groups_by_name, settings_by_name
from thimble.training.config_file import check_same_data, from_dict, read_config, to_dict

LATER = {name for group in groups_by_name().values() for name in before(group)}
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
        flip="both",
    ),
    pretrained="reference",
    class_weights="sqrt",
    image_size=48,
    fit="pad",
    channels=1,
    class_level=2,
    image_column="file",
    label_column="kind",
    group="sender",
    classes=("a", "b"),
    duplicates="keep",
    max_unreadable=0.5,
    seed=7,
    device="cpu",
    precision="bf16",
    workers=3,
    name="try-1",
    runs=Path("my") / "runs",
    overwrite=True,
)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**to_dict(TrainConfig()), "colour": "green"}))
    with pytest.raises(UserError, match="colour"):
        read_config(tmp_path)


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
    if name in LATER:  # 688e9de had none
        assert from_dict(values) == TrainConfig()
        return
    with pytest.raises(UserError, match=rf"^not the configuration of a Thimble run: .*\b{name}\b"):
        from_dict(values)


def test_a_missing_field_of_the_augmentation_is_refused_and_named() -> None:
    values = to_dict(TrainConfig())
    del values["augment"]["shift_limit"]
    with pytest.raises(UserError, match="shift_limit"):
        from_dict(values)


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
