"""The weights that the package ships: they load, and agree with what the pages say of them."""

from __future__ import annotations

import csv
import hashlib
import json
from importlib import resources
from pathlib import Path

import pytest
import torch

from thimble.checkpoint import list_pretrained, load_pretrained, load_weights
from thimble.data import shapes10
from thimble.data.cifar10 import CLASSES, MEAN, STD
from thimble.evaluation import infer, predict
from thimble.recipes import reference
from thimble.run_folder import to_dict
from thimble.summary import BUDGET

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs" / "reference"
FILE = Path(str(resources.files("thimble") / "weights" / "reference.safetensors"))


@pytest.mark.parametrize("name", list_pretrained())
def test_every_shipped_model_loads_within_the_budget(name: str) -> None:
    model = load_pretrained(name)
    assert not model.training
    assert model.num_parameters <= BUDGET
    assert infer(model, shapes10(3).images, mean=model.mean, std=model.std).shape == (3, len(model.classes))


def test_the_reference_network_is_shipped_with_what_it_takes_to_use_it() -> None:
    model = load_pretrained("reference")
    assert model.num_parameters == 150_576
    assert model.classes == CLASSES
    assert (model.mean, model.std) == (MEAN, STD)
    assert model.input_size == (3, 32, 32)
    assert FILE.stat().st_size < 700_000


def test_its_metadata_tell_a_test_of_85_percent_by_the_default_recipe() -> None:
    metadata = load_weights(FILE)[1]
    test = metadata["metrics"]["test"]
    assert (test["data"], test["num_images"], test["flip"]) == ("cifar10", 10_000, False)
    assert test["accuracy"] >= 0.85
    assert sum(row[index] for index, row in enumerate(test["confusion"])) / 10_000 == pytest.approx(test["accuracy"])
    places = {"name", "runs", "data_dir", "device", "workers", "overwrite", "fallback"}
    # Settings that came later are not in it; their defaults are what was done then.
    recipe, default = metadata["recipe"], to_dict(reference())
    assert recipe["augment"].items() <= default["augment"].items()
    later = {"augment"} | (default.keys() - recipe.keys())
    assert {name: value for name, value in recipe.items() if name not in places | later} == {
        name: value for name, value in default.items() if name not in places | later
    }


def test_its_pages_are_of_the_same_run() -> None:
    metadata = load_weights(FILE)[1]
    accuracy = metadata["metrics"]["test"]["accuracy"]
    assert json.loads((DOCS / "config.json").read_text()) == metadata["recipe"]
    assert f"**Test: {accuracy:.2%}** of 10,000 images" in (DOCS / "training_logs.md").read_text()
    with (DOCS / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["validation_accuracy"]) == metadata["metrics"]["last_epoch"]["validation_accuracy"]
    card = (DOCS / "README.md").read_text()
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in card
    assert f"{FILE.stat().st_size:,} bytes" in card
    assert f"{accuracy:.2%}" in card


def test_it_answers_for_an_image_of_any_size() -> None:
    (answer,) = predict(torch.full((3, 70, 50), 128, dtype=torch.uint8))
    assert len(answer.top) == 5
    assert {name for name, _ in answer.top} <= set(CLASSES)
    assert sum(probability for _, probability in answer.top) <= 1.0 + 1e-9
