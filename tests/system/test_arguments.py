"""What Python users may give: NumPy's numbers, lists, strings for paths, models of all kinds; all else is one line."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import thimble
from thimble.data.augment.settings import AugmentConfig
from thimble.data.image_files import read_image
from thimble.errors import UserError
from thimble.exporting import torch_file
from thimble.exporting.deployment import deploy
from thimble.exporting.exported import open_exported
from thimble.models.classifier import Classifier, as_classifier
from thimble.reporting.curves import check_drawing
from thimble.sharing.card import model_card, write_card
from thimble.storage.find import load_model, load_pretrained, name_of, run_folder_of
from thimble.system.arguments import adopted, expanded
from thimble.training.config import TrainConfig
from thimble.training.schedules import ScheduleConfig

IMAGE = torch.zeros(3, 32, 32, dtype=torch.uint8)


@pytest.fixture(scope="module")
def reference() -> Classifier:
    return load_pretrained("reference")


def test_numbers_of_numpy_and_pytorch_are_numbers() -> None:
    augment = AugmentConfig(flip_probability=np.float32(0.5), cutout_size=np.array([0.125, 0.25]))  # type: ignore[arg-type]
    config = TrainConfig.of(
        seed=np.int64(3),
        epochs=torch.tensor(2),
        learning_rate=np.float64(0.5),
        fallback=np.bool_(True),
        train_images=np.uint8(100),
        image_sizes=[np.int32(16), 32],
        mix_ramp=[0, 1],
        augment=augment,
    )
    assert config == TrainConfig.of(
        seed=3,
        epochs=2,
        learning_rate=0.5,
        fallback=True,
        train_images=100,
        image_sizes=(16, 32),
        mix_ramp=(0, 1),
        augment=AugmentConfig(),
    )
    assert type(config.seed) is int
    assert type(config.optimization.learning_rate) is float
    assert type(config.run.fallback) is bool
    assert augment.cutout_size == (0.125, 0.25)


@pytest.mark.parametrize("value", [None, "3", b"x", [], (), {}, object(), True, 2.5, np.zeros(2), nn.Linear(1, 1)])
def test_what_is_no_number_is_told_in_a_line(value: Any) -> None:
    for settings, name in ((ScheduleConfig, "epochs"), (TrainConfig, "seed"), (AugmentConfig, "flip_probability")):
        with pytest.raises(UserError, match=r"^--[a-z-]+ .*: expected a .*$"):
            settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("fallback", 1, "--fallback 1: expected true or false"),
        ("runs", 3, "--runs 3: expected a path"),
        ("data_dir", b"x", "--data-dir of type bytes: expected a path"),
        ("model", None, "--model None: expected the name of a model"),
        ("augment", {}, "--augment of type dict: expected settings of type AugmentConfig"),
        ("name", "a\0b", "--name a\0b: expected a plain folder name; --runs sets its parent folder"),
        (
            "image_sizes",
            32,
            "--image-sizes 32: expected fractions from above 0 to 1, or whole numbers of at least 8 pixels",
        ),
        ("mix_ramp", [0.5], "--mix-ramp (0.5,): expected two increasing fractions from 0 to 1"),
        ("data", ["cifar10"], "--data of type list: expected a dataset's name or a path"),
        ("workers", True, "--workers True: expected a whole number of at least 0"),
    ],
)
def test_other_types_too(name: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        TrainConfig.of(**{name: value})
    assert str(caught.value) == message


def test_a_model_may_come_in_its_wrappers(reference: Classifier) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's own parts
        compiled = torch.compile(reference)
    for model in (reference, compiled, nn.DataParallel(reference), torch.compile(nn.DataParallel(reference))):
        assert as_classifier(model) is reference
        assert load_model(model) is reference  # type: ignore[arg-type]
        assert name_of(model) == "reference"  # type: ignore[arg-type]
        assert run_folder_of(model) is None  # type: ignore[arg-type]
        assert thimble.predict(IMAGE, model)[0] == thimble.predict(IMAGE, "reference")[0]  # type: ignore[arg-type]


def test_every_function_takes_a_model_that_is_no_file(
    reference: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference.train()
    assert thimble.summarize(reference).num_parameters == 150_576
    assert len(thimble.explain(IMAGE, reference)) == 1
    assert thimble.compare([reference, "reference"], data=_little_test()).models[0].name == "reference"
    card = model_card(reference)
    assert "150,576 parameters" in card
    assert "photo.jpg" in card
    monkeypatch.setattr(torch_file, "build", lambda deployment: b"made")
    monkeypatch.setattr(torch_file, "load", lambda path: deploy(reference).network)
    monkeypatch.setattr("thimble.exporting.parity.NUM_IMAGES", 20)
    exported = thimble.export(reference, "torch", output=str(tmp_path / "x.pt2"))
    assert exported.output == tmp_path / "x.pt2"
    assert exported.output.read_bytes() == b"made"
    assert exported.metadata["classes"] == list(reference.classes)
    assert len(exported.metadata["weights_sha256"]) == 64
    assert all(module.training for module in reference.modules())
    assert all(parameter.requires_grad for parameter in reference.parameters())
    reference.eval()


def _little_test(*_: Any, **__: Any) -> Any:
    from thimble.data.cifar10 import CLASSES, MEAN, STD
    from thimble.data.dataset import ImageDataset

    return ImageDataset("cifar10", IMAGE.expand(10, -1, -1, -1), torch.arange(10), CLASSES, MEAN, STD)


CALLS: dict[str, Callable[[Any, Classifier], object]] = {
    "load_model": lambda value, _: thimble.load_model(value),
    "load_pretrained": lambda value, _: thimble.load_pretrained(value),
    "predict": lambda value, _: thimble.predict(IMAGE, value),
    "predict, images": lambda value, model: thimble.predict(value, model),
    "predict, top": lambda value, model: thimble.predict(IMAGE, model, top=value),
    "explain": lambda value, _: thimble.explain(IMAGE, value),
    "explain, images": lambda value, model: thimble.explain(value, model),
    "explain, class": lambda value, model: thimble.explain(IMAGE, model, class_name=value),
    "summarize": lambda value, _: thimble.summarize(value),
    "summarize, size": lambda value, model: thimble.summarize(model, value),
    "summarize, budget": lambda value, model: thimble.summarize(model, budget=value),
    "compare": lambda value, _: thimble.compare(value),
    "compare, one": lambda value, model: thimble.compare([model, value]),
    "compare, data": lambda value, model: thimble.compare([model, model], value),
    "export": lambda value, _: thimble.export(value),
    "export, format": lambda value, model: thimble.export(model, value),
    "export, output": lambda value, _: thimble.export("nothing", output=value),
    "export, preprocess": lambda value, _: thimble.export("nothing", preprocess=value),
    "export, data_dir": lambda value, _: thimble.export("nothing", data_dir=value),
    "evaluate": lambda value, _: thimble.evaluate(value),
    "evaluate, dataset": lambda value, _: thimble.evaluate("nothing", value),
    "evaluate, flip": lambda value, _: thimble.evaluate("nothing", flip=value),
    "train": lambda value, _: thimble.train(value),
    "train, recipe": lambda value, _: thimble.train(recipe=value),
    "train, resume": lambda value, _: thimble.train(resume=value),
    "train, observer": lambda value, _: thimble.train(recipe="nothing", observer=value),
    "train, change": lambda value, _: thimble.train(colour=value),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_of_a_wrong_type_are_told_in_a_line(
    name: str, reference: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for value in (b"x", object(), {1: 2}, nn.Linear(2, 2), np.zeros(3), "x\0y", "~nosuchuser/x", str(tmp_path)):
        with pytest.raises(UserError) as caught:
            CALLS[name](value, reference)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_model_of_another_type_is_told_what_it_is() -> None:
    with pytest.raises(UserError) as caught:
        thimble.predict(IMAGE, nn.Linear(2, 2))
    assert str(caught.value).startswith("MODEL is of type Linear: expected a weights file, a run folder, a shipped")


def test_home_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    assert expanded("~") == home
    assert expanded(Path("~/x")) == home / "x"
    assert expanded("./~/x") == tmp_path / "~" / "x"  # the string alone: pathlib forgets the dot
    assert expanded("x/~") == Path("x/~")
    with pytest.raises(UserError, match=r"^~nosuchuser/x: there is no user 'nosuchuser'; expected a path, or \./~"):
        expanded("~nosuchuser/x")
    config = TrainConfig.of(runs="~/runs", data_dir="~/data")
    assert (config.run.runs, config.run.data_dir) == (home / "runs", home / "data")
    assert write_card("reference", "~/card.md") == home / "card.md"
    assert run_folder_of("~") == home
    for call in (load_model, thimble.evaluate, open_exported, lambda path: thimble.train(resume=path)):
        with pytest.raises(UserError, match=r"home/missing|~/missing"):
            call("~/missing")
    with pytest.raises(UserError, match=r"home/missing"):
        read_image(adopted("~/missing", Path))
    with pytest.raises(UserError, match=r"home/gone is not a folder"):
        check_drawing(Path("~/gone/x.png"))
    assert not os.path.lexists("~")
