"""Training: that it learns, logs and tests once, and fails in one line."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from little import LittleShapes
from training_runs import Interrupting, rows, same_tensors, tensors

import thimble.training.loop
import thimble.training.train
from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import shapes10
from thimble.data.source import DataUnavailable, Part
from thimble.data.split import split
from thimble.errors import Interrupted, RunError, UserError
from thimble.measuring.evaluation import evaluate
from thimble.measuring.inference import infer
from thimble.storage.find import load_model
from thimble.storage.logs import Row
from thimble.storage.weights import load_weights
from thimble.training.batches import AtSize
from thimble.training.config import TrainConfig
from thimble.training.observer import Observer
from thimble.training.train import train


def test_a_run_leaves_a_folder_with_everything_in_it(little_run: TrainConfig, tmp_path: Path) -> None:
    result = train(little_run)

    assert result.run == tmp_path / "run"
    assert json.loads((result.run / "config.json").read_text())["dropout"] == 0.1
    environment = json.loads((result.run / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__
    assert [row["epoch"] for row in rows(result.run)] == ["1", "2"]
    assert float(rows(result.run)[0]["validation_loss"]) > 0
    log = (result.run / "training_logs.md").read_text()
    assert f"**Test accuracy: {result.test.accuracy:.2%}** on 40 images" in log
    assert list((result.run / "tensorboard").glob("events.*"))

    model, metadata = load_weights(result.run / "model.safetensors")
    assert metadata["recipe"]["learning_rate"] == little_run.optimization.learning_rate
    assert metadata["data"] == {"name": "shapes10", "train_images": 80, "validation_images": 40}
    assert metadata["metrics"]["test"]["accuracy"] == result.test.accuracy
    assert metadata["versions"]["thimble"] == thimble.__version__
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images), result.model(images))
    assert torch.equal(load_model(result.run)(images), model(images))
    assert not list(result.run.rglob("*.tmp"))


def test_it_learns(little_run: TrainConfig) -> None:
    drawings = shapes10(120)
    shades = (20 * drawings.labels + 20).to(torch.uint8)[:, None, None, None]
    plain = dataclasses.replace(drawings, images=shades.expand(-1, 3, 32, 32).contiguous())
    result = train(little_run, data=(plain, plain), epochs=8, dropout=0.0, label_smoothing=0.0, validation=0)
    assert result.history[0]["train_loss"] > 1.5
    assert result.history[-1]["train_loss"] < 0.7 * result.history[0]["train_loss"]
    assert result.history[-1]["train_accuracy"] > 0.4
    assert result.test.accuracy >= 0.2


def test_the_seed_decides_the_result_and_the_number_of_workers_does_not(little_run: TrainConfig) -> None:
    config = little_run.changed(epochs=1)
    first = tensors(train(config).run)
    again = tensors(train(config.changed(name="again", workers=2)).run)
    other = tensors(train(config.changed(name="other", seed=1)).run)
    assert same_tensors(first, again)
    assert not same_tensors(first, other)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_loss_that_is_not_finite_stops_with_step_rate_and_advice(
    little_run: TrainConfig, clip_norm: float | None
) -> None:
    with pytest.raises(RunError, match=r"not finite at step \d+ of 10, at learning rate .*--learning-rate") as caught:
        train(little_run, learning_rate=1e9, clip_norm=clip_norm)
    assert "\n" not in str(caught.value)


def test_a_training_that_diverged_stops(little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thimble.training.loop._DIVERGED", 0.5)
    with pytest.raises(RunError, match=r"loss rose to \d.* in epoch 1, expected at most 0.5: .*--learning-rate"):
        train(little_run, epochs=2)


def test_the_test_images_are_read_once_and_only_after_the_last_epoch(little_run: TrainConfig) -> None:
    events: list[str] = []

    class Watched(LittleShapes):
        def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
            events.append(part)
            return super().load(part)

    class Watching(Observer):
        def epoch(self, row: Row) -> None:
            events.append("epoch")

    train(little_run, data=Watched(), observer=Watching())
    assert events == ["train", "epoch", "epoch", "test"]


def test_without_validation_all_images_are_trained_on(little_run: TrainConfig) -> None:
    result = train(little_run, validation=0, epochs=1, batch_size=40)
    row = rows(result.run)[0]
    assert row["validation_loss"] == row["validation_accuracy"] == ""
    assert load_weights(result.run / "model.safetensors")[1]["data"]["train_images"] == 120


def test_each_epoch_is_validated_at_its_own_size(little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, int]] = []

    def watched(model: AtSize, *given: Any, **options: Any) -> torch.Tensor:
        sizes.append(model.size)
        return infer(model, *given, **options)

    monkeypatch.setattr(thimble.training.loop, "infer", watched)
    result = train(little_run, image_sizes=(0.5, 1.0))
    assert sizes == [(16, 16), (32, 32)]
    assert not result.model.training
    at_full_size = evaluate(result.model, split(LittleShapes().load("train"), 40)[1])
    assert float(rows(result.run)[1]["validation_accuracy"]) == at_full_size.accuracy


def test_the_precision_of_the_processor_is_found_and_kept(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thimble.training.train, "has_bfloat16", lambda device: False)
    run = train(little_run, epochs=1, precision="auto").run
    assert json.loads((run / "config.json").read_text())["precision"] == "float32"
    monkeypatch.setattr(thimble.training.train, "has_bfloat16", lambda device: True)
    run = train(little_run, epochs=1, precision="auto", name="other").run
    assert json.loads((run / "config.json").read_text())["precision"] == "bf16"


def test_a_recipe_is_chosen_by_name_and_its_settings_changed(little_run: TrainConfig) -> None:
    run = train(recipe="fast", epochs=1, batch_size=16, dataset=little_run.dataset, run=little_run.run).run
    config = json.loads((run / "config.json").read_text())
    assert (config["optimizer"], config["epochs"], config["batch_size"]) == ("muon", 1, 16)
    with pytest.raises(UserError, match="--recipe slow: expected one of reference, fast"):
        train(recipe="slow")
    with pytest.raises(UserError, match=r"^recipe='fast' and config: use recipe or config, not both$"):
        train(little_run, recipe="fast")


def test_the_learning_rate_rises_and_falls_within_the_run(little_run: TrainConfig) -> None:
    rates = [row["learning_rate"] for row in train(little_run, warmup_fraction=0.5).history]
    assert rates[0] == pytest.approx(0.2)
    assert rates[1] == pytest.approx(0.2 / 5)


def test_clipping_and_bfloat16_train_too(little_run: TrainConfig) -> None:
    result = train(little_run, epochs=1, clip_norm=0.1, precision="bf16")
    assert math.isfinite(result.history[0]["train_loss"])
    assert all(parameter.dtype == torch.float32 for parameter in result.model.parameters())


def test_clipping_changes_the_steps(little_run: TrainConfig) -> None:
    free = tensors(train(little_run, epochs=1).run)
    clipped = tensors(train(little_run, epochs=1, name="clipped", clip_norm=1e-3).run)
    assert not same_tensors(free, clipped)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet50"}, "--model resnet50: expected one of reference"),
        ({"batch_size": 1000}, "--batch-size 1000: expected at most 80, the images in the shortest epoch"),
        ({"validation": 120}, "--validation 120: expected 0 to 119"),
        ({"train_images": 81}, "--train-images 81: expected at most 80"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_named(
    little_run: TrainConfig, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(little_run, **changes)
    assert not (little_run.run.runs / "run").exists()


def test_a_run_folder_is_never_overwritten_unasked(little_run: TrainConfig) -> None:
    run = train(little_run, epochs=1).run
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(
        UserError, match=r"exists: choose another --name, resume it with --resume .*, or delete it with --overwrite"
    ):
        train(little_run, epochs=1)
    assert (run / "model.safetensors").read_bytes() == before
    train(little_run, epochs=1, seed=3, overwrite=True)
    assert (run / "model.safetensors").read_bytes() != before


def test_without_data_it_stops_unless_the_fallback_is_asked_for(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THIMBLE_DATA", str(little_run.run.runs / "nothing"))
    monkeypatch.setattr("thimble.data.cifar10.SOURCES", ())
    with pytest.raises(DataUnavailable):
        train(little_run, data="cifar10", epochs=1)
    assert not (little_run.run.runs / "run").exists()

    class Listening(Observer):
        said = ""

        def message(self, text: str) -> None:
            self.said += text

    listening = Listening()
    result = train(little_run, data="cifar10", epochs=1, fallback=True, observer=listening)
    assert "CIFAR-10 NOT FOUND" in listening.said
    assert "shapes10 INSTEAD" in listening.said
    assert result.test.data == "shapes10"
    assert json.loads((result.run / "config.json").read_text())["data"] == "shapes10"


def test_a_path_to_data_is_kept_whole_for_a_run_that_goes_on_from_another_folder(
    little_run: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AtFolder(LittleShapes):
        @classmethod
        def is_at(cls, path: Path) -> bool:
            return path == tmp_path / "drawings"

    (tmp_path / "drawings").mkdir()
    monkeypatch.setattr("little.LittleShapes", AtFolder)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Interrupted):
        train(little_run, data="drawings", observer=Interrupting(2))
    monkeypatch.chdir("/")
    result = train(resume=little_run.run.runs / "run")
    assert json.loads((result.run / "config.json").read_text())["data"] == str(tmp_path / "drawings")
    assert len(result.history) == 2
