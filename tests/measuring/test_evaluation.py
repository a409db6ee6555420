"""Inference, evaluation and prediction with networks whose answers are known beforehand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from colour_network import COLOURS, MEAN, STD, dataset, plain, random_images

from thimble.data.dataset import ImageDataset
from thimble.data.source import Part, Source
from thimble.data.sources import SOURCES
from thimble.errors import UserError
from thimble.measuring.evaluation import Evaluation, evaluate
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.weights import save_weights


def test_evaluate_counts_right_and_wrong(colours: Classifier) -> None:
    result = evaluate(colours.train(), dataset(plain(0, 0, 0, 1), [0, 0, 1, 1]))
    right, wrong = math.log(1 + 2 * math.exp(-10)), 10 + math.log(1 + 2 * math.exp(-10))
    assert (result.model, result.data, result.num_images, result.flip) == ("colours", "plain", 4, False)
    assert result.accuracy == 0.75
    # Wilson, by hand: (0.75 + 0.480182) / 1.960365 +- 1.959964 / 1.960365 * sqrt(0.046875 + 0.060023).
    assert result.accuracy_interval == pytest.approx((0.300642, 0.954413), abs=1e-5)
    assert result.confusion == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert result.per_class_accuracy["red"] == 1.0
    assert result.per_class_accuracy["green"] == 0.5
    assert math.isnan(result.per_class_accuracy["blue"])
    assert result.nll == pytest.approx((3 * right + wrong) / 4, abs=1e-5)
    assert result.ece == pytest.approx(0.25, abs=1e-3)
    assert colours.training


def test_evaluation_to_dict_is_plain_json(colours: Classifier) -> None:
    values = evaluate(colours, dataset(plain(0, 1), [0, 1]), flip=True).to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert set(values) == set(Evaluation.__dataclass_fields__)
    assert values["per_class_accuracy"] == {"red": 1.0, "green": 1.0, "blue": None}
    assert values["flip"] is True


def test_evaluate_uses_the_normalisation_of_the_model(colours: Classifier) -> None:
    """Reddish grey, seen by a model to which that much red is nothing and that much blue is a lot."""
    image = torch.tensor([150, 100, 110], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert evaluate(colours, dataset(image, [0])).accuracy == 1.0
    colours.mean = (0.6, 0.4, 0.1)
    assert evaluate(colours, dataset(image, [2])).accuracy == 1.0


def test_evaluate_a_weights_file(tmp_path: Path) -> None:
    model = build_model("reference", num_classes=3)
    model.classes, model.mean, model.std = COLOURS, MEAN, STD
    path = tmp_path / "model.safetensors"
    save_weights(path, model, {})
    images = random_images(6).repeat(1, 1, 4, 4)
    by_path, by_model = (evaluate(one, dataset(images, [0, 1, 2, 0, 1, 2])) for one in (path, model))
    assert by_path.model == str(path)
    assert by_model.model == "reference"
    assert by_path.confusion == by_model.confusion
    assert by_path.nll == by_model.nll


def test_the_default_data_is_what_the_model_records(colours: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "plain", f"{__name__}:Plain")
    with pytest.raises(UserError, match=r"^colours records no dataset: name its data with --data, for example cifar10"):
        evaluate(colours)
    colours.data = {"name": "plain"}
    assert evaluate(colours).accuracy == 1.0
    colours.data = {"name": "mine"}
    with pytest.raises(UserError, match=r"^colours was trained on mine, which Thimble cannot find by its name"):
        evaluate(colours)
    colours.data = {"name": "plain", "sha256": "0" * 64}
    with pytest.raises(UserError, match=r"^colours was trained on images that its trainer gave, plain: pass them as"):
        evaluate(colours)
    assert evaluate(colours, "plain").accuracy == 1.0


class Plain(Source):
    """A dataset of one image."""

    name = title = "plain"

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        assert part == "test"
        return dataset(plain(2), [2])


def test_a_model_of_other_classes_is_the_users_mistake(colours: Classifier) -> None:
    with pytest.raises(UserError, match=r"3 classes and plain has 3; class 2 is 'blue', expected 'violet'"):
        evaluate(colours, dataset(plain(0), [0], ("red", "green", "violet")))
    with pytest.raises(UserError, match=r"3 classes and plain has 4; class 3 is None, expected 'violet'"):
        evaluate(colours, dataset(plain(0), [0], (*COLOURS, "violet")))


def test_a_dataset_of_another_size_or_of_none_is_the_users_mistake(colours: Classifier) -> None:
    with pytest.raises(UserError, match=r"images of \(3, 16, 8\): model colours expects .*\(3, 8, 8\)"):
        evaluate(colours, dataset(plain(0).repeat(1, 1, 2, 1), [0]))
    with pytest.raises(UserError, match="plain has no images"):
        evaluate(colours, dataset(plain(), []))
