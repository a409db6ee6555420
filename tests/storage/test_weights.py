"""The weights that the package ships: they load, and agree with what the pages say of them."""

from __future__ import annotations

import csv
import hashlib
import json
from importlib import resources
from pathlib import Path

import pytest
import torch
from places import ROOT

from thimble.data.cifar10 import CLASSES, MEAN, STD
from thimble.data.shapes10 import shapes10
from thimble.measuring.inference import infer
from thimble.measuring.prediction import predict
from thimble.measuring.summary import BUDGET, summarize
from thimble.storage.find import load_pretrained
from thimble.storage.shipped import list_pretrained
from thimble.storage.weights import load_weights
from thimble.training.config_file import from_dict

NAMES = list_pretrained()


def file_of(name: str) -> Path:
    return Path(str(resources.files("thimble") / "weights" / f"{name}.safetensors"))


def test_the_shipped_names() -> None:
    assert NAMES == ["reference", "thimble-78k"]


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_model_loads_within_the_budget(name: str) -> None:
    model = load_pretrained(name)
    assert model.name == name
    assert not model.training
    assert all(tensor.dtype == torch.float32 for tensor in model.parameters())
    assert model.num_parameters <= BUDGET
    assert infer(model, shapes10(3).images, mean=model.mean, std=model.std).shape == (3, len(model.classes))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_has_what_it_takes_to_use_it(name: str) -> None:
    model = load_pretrained(name)
    assert model.classes == CLASSES
    assert (model.mean, model.std) == (MEAN, STD)
    assert model.input_size == (3, 32, 32)
    assert file_of(name).stat().st_size < 2.5 * model.num_parameters + 30_000  # half precision, and a header


@pytest.mark.parametrize("name", NAMES)
def test_its_metadata_tell_of_its_test_and_its_recipe(name: str) -> None:
    metadata = load_weights(file_of(name))[1]
    test = metadata["metrics"]["test"]
    assert (test["data"], test["num_images"], test["flip"]) == ("cifar10", 10_000, False)
    assert test["accuracy"] >= 0.89
    assert sum(row[index] for index, row in enumerate(test["confusion"])) / 10_000 == pytest.approx(test["accuracy"])
    assert from_dict(metadata["recipe"]).network.model == name


@pytest.mark.parametrize("name", NAMES)
def test_its_pages_are_of_the_same_run(name: str) -> None:
    docs, metadata = ROOT / "docs" / name, load_weights(file_of(name))[1]
    accuracy = metadata["metrics"]["test"]["accuracy"]
    assert json.loads((docs / "config.json").read_text()) == metadata["recipe"]
    assert f"**Test: {accuracy:.2%}** of 10,000 images" in (docs / "training_logs.md").read_text()
    with (docs / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["train_loss"]) == metadata["metrics"]["last_epoch"]["train_loss"]
    assert json.loads((docs / "evaluation_float32.json").read_text())["accuracy"] == accuracy


@pytest.mark.parametrize("name", NAMES)
def test_its_card_has_the_figures_of_what_is_shipped(name: str) -> None:
    docs, file = ROOT / "docs" / name, file_of(name)
    card = (docs / "README.md").read_text()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    assert f"{file.stat().st_size:,} bytes" in card
    size = summarize(name)
    assert f"{size.num_parameters:,} parameters" in card
    assert f"{size.num_multiply_adds:,} multiply-adds" in card
    for evaluation in ("evaluation", "evaluation_float32", "evaluation_flip"):
        values = json.loads((docs / f"{evaluation}.json").read_text())
        assert f"{values['accuracy']:.2%}" in card
    plain, whole = (json.loads((docs / f"evaluation{end}.json").read_text()) for end in ("", "_float32"))
    assert abs(plain["accuracy"] - whole["accuracy"]) <= 0.0005
    assert f"{plain['ece']:.4f}" in card


def test_it_answers_for_an_image_of_any_size() -> None:
    (answer,) = predict(torch.full((3, 70, 50), 128, dtype=torch.uint8))
    assert len(answer.top) == 5
    assert {name for name, _ in answer.top} <= set(CLASSES)
    assert sum(probability for _, probability in answer.top) <= 1.0 + 1e-9
