"""config.json over the years: its version, what it lacks, and a run of an earlier Thimble that goes on."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from places import ROOT
from training_runs import rows

from thimble.cli.main import main
from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import Shapes10, shapes10
from thimble.data.source import Part
from thimble.data.sources import SOURCES
from thimble.errors import UserError
from thimble.storage.run_folder import write_json
from thimble.system.settings import later
from thimble.training.config import TrainConfig
from thimble.training.config_file import VERSION, _completed, check_resumable, read_config, to_dict, to_file
from thimble.training.settings import RunConfig
from thimble.training.train import train

OLD = ROOT / "tests" / "fixtures" / "run_688e9de"
"""Made by Thimble at 688e9de, and stopped by Ctrl-C after a step of its second and last epoch:
thimble train --data shapes10 --model thimble-78k --image-sizes 16 32 --precision float32 --device cpu
--train-images 200 --validation 50 --batch-size 40 --epochs 2 --name stopped --no-report"""


def test_the_file_has_a_version_and_is_flat() -> None:
    values = to_file(TrainConfig.of(epochs=3, flip_probability=0.25))
    assert (values["version"], values["epochs"], values["augment"]["flip_probability"]) == (VERSION, 3, 0.25)
    assert [name for name, value in values.items() if isinstance(value, dict)] == ["augment"]


@pytest.mark.parametrize("version", [None, 0, VERSION])
def test_every_version_so_far_is_read(tmp_path: Path, version: int | None) -> None:
    config = TrainConfig.of(epochs=3)
    write_json(tmp_path / "config.json", {**({} if version is None else {"version": version}), **to_dict(config)})
    assert read_config(tmp_path) == config


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (
            VERSION + 1,
            f"written by a newer Thimble: expected at most {VERSION}; update Thimble",
        ),
        (10**9, "written by a newer Thimble"),
        (-1, "version -1: expected a whole number"),
        ("1", "version '1': expected a whole number"),
        (True, "version True: expected a whole number"),
        (None, "version None: expected a whole number"),
    ],
)
def test_another_version_is_refused_in_a_line(tmp_path: Path, version: Any, message: str) -> None:
    write_json(tmp_path / "config.json", {**to_dict(TrainConfig()), "version": version, "colour": "green"})
    with pytest.raises(UserError) as caught:
        read_config(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path / "config.json") in str(caught.value)
    assert "\n" not in str(caught.value)


@dataclasses.dataclass(frozen=True)
class Newer:
    """Settings of which one is new; it is on by default, and was not there before."""

    epochs: int = 24
    sharper: bool = later(True, before=False)


def test_what_a_file_lacks_is_as_it_was_before_and_not_the_default() -> None:
    assert Newer().sharper
    assert _completed({"epochs": 3}, Newer) == {"epochs": 3, "sharper": False}
    assert _completed({"epochs": 3, "sharper": True}, Newer) == {"epochs": 3, "sharper": True}
    with pytest.raises(UserError, match="lacks epochs"):
        _completed({}, Newer)
    with pytest.raises(UserError, match="has an unknown blur, colour"):
        _completed({"epochs": 3, "colour": 1, "blur": 1}, Newer)


def test_where_and_how_it_runs_may_change_on_resumption_and_the_recipe_may_not(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", to_file(TrainConfig()))
    others: dict[str, Any] = {
        "device": "cpu",
        "compile": True,
        "workers": 3,
        "name": "x",
        "runs": Path("elsewhere"),
        "overwrite": True,
        "data_dir": Path("data"),
        "fallback": True,
    }
    assert others.keys() == {each.name for each in dataclasses.fields(RunConfig)}
    check_resumable(tmp_path, TrainConfig.of(**others))
    check_resumable(tmp_path, TrainConfig.of(teacher="moved"))  # which one it is, the state's checksum says
    check_resumable(tmp_path, TrainConfig.of(bank="moved"))
    recipe: dict[str, Any] = {"seed": 1, "epochs": 3, "precision": "bf16", "teacher_weight": 0.5, "mix_ramp": (0, 0.5)}
    for name, value in recipe.items():
        flag = name.replace("_", "-")
        with pytest.raises(
            UserError, match=rf"started with --{flag} .*, not .*: resume it without --{flag}; a resumed run keeps"
        ):
            check_resumable(tmp_path, TrainConfig.of(**{name: value}))


class Fewer(Shapes10):
    """Enough: the test is of the folder."""

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        return shapes10(250, seed=1) if part == "train" else shapes10(40, seed=2)


@pytest.mark.slow
def test_a_run_of_688e9de_is_resumed_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "shapes10", f"{__name__}:Fewer")
    run = tmp_path / "run"
    shutil.copytree(OLD, run)
    first = rows(run)
    assert len(first) == 1
    assert not {"version", "bank"} & json.loads((run / "config.json").read_text()).keys()
    result = train(resume=run)
    assert rows(run)[:1] == first
    assert [row["epoch"] for row in rows(run)] == ["1", "2"]
    assert result.model.num_parameters == 78_666
    assert read_config(run).distillation.bank is None
    assert main(["report", str(run)]) == 0
    assert "epoch" in (run / "report.html").read_text()
