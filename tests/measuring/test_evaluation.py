"""Inference, evaluation and prediction with networks whose answers are known beforehand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from colour_network import COLOURS, MEAN, STD, dataset, plain, random_images

from thimble.data.dataset import ImageDataset
from thimble.data.source import Part, Source
from thimble.data.sources import SOURCES
from thimble.errors import UserError
from thimble.measuring.evaluation import Evaluation, evaluate, reduce
from thimble.measuring.statistics import wilson_interval
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
    assert set(Evaluation.__dataclass_fields__) < set(values)
    assert values["per_class_accuracy"] == {"red": 1.0, "green": 1.0, "blue": None}
    assert values["per_class"]["blue"] == {
        "num_images": 0,
        "recall": None,
        "recall_interval": [None, None],
        "precision": None,
        "precision_interval": [None, None],
        "f1": None,
    }
    assert values["balanced_accuracy"] == values["macro_f1"] == 1.0
    assert values["auroc"] is values["top5_accuracy"] is None
    assert values["flip"] is True


def test_unequal_classes_count_the_same_in_the_balanced_figures(colours: Classifier) -> None:
    """Red: 8 of 9 right; green: 1 of 2, and one red image is taken for it."""
    result = evaluate(colours, dataset(plain(*[0] * 8, 1, 1, 0), [0] * 9 + [1] * 2))
    red, green, blue = result.per_class.values()
    assert result.accuracy == pytest.approx(9 / 11)
    assert result.balanced_accuracy == pytest.approx((8 / 9 + 1 / 2) / 2)
    assert (red.num_images, green.num_images, blue.num_images) == (9, 2, 0)
    assert (red.recall, red.precision, red.f1) == pytest.approx((8 / 9, 8 / 9, 8 / 9))
    assert (green.recall, green.precision, green.f1) == pytest.approx((1 / 2, 1 / 2, 1 / 2))
    assert result.macro_f1 == pytest.approx((8 / 9 + 1 / 2) / 2)
    assert red.recall_interval == pytest.approx(wilson_interval(8, 9))
    low, high = result.balanced_accuracy_interval
    assert 0 < low < result.balanced_accuracy < high < 1
    assert result.confused_pairs(5) == [("red", "green", 1), ("green", "red", 1)]
    assert result.confused_pairs(1) == [("red", "green", 1)]


def test_small_and_empty_classes_are_warned_of(colours: Classifier) -> None:
    none, few = evaluate(colours, dataset(plain(*[0] * 10, 1), [0] * 10 + [1])).warnings
    assert none == "1 of 3 classes has no images: blue. Nothing is known about them."
    assert few == (
        "1 of 3 classes has fewer than 10 images: green (1). Their figures are uncertain: see the intervals."
    )
    assert evaluate(colours, dataset(plain(*[0, 1, 2] * 10), [0, 1, 2] * 10)).warnings == ()


def test_of_many_small_classes_the_first_are_named() -> None:
    names = [f"class {number}" for number in range(30)]
    counts = [[3 if row == column else 0 for column in range(30)] for row in range(30)]
    found = Evaluation("m", "d", 90, False, 1.0, (0.9, 1.0), dict.fromkeys(names, 1.0), counts, 0.0, 0.0, "test")
    (warning,) = found.warnings
    assert "30 of 30 classes have fewer than 10 test images: class 0 (3), class 1 (3)" in warning
    assert "and 25 more" in warning
    assert found.confused_pairs(10) == []


def test_an_evaluation_recorded_before_the_newer_figures_has_those_of_its_confusion_matrix() -> None:
    old = Evaluation("m", "d", 5, False, 0.8, (0.4, 0.9), {"a": 0.75, "b": 1.0}, [[3, 1], [0, 1]], 0.1, 0.1)
    assert old.balanced_accuracy == 0.875
    assert math.isnan(old.auroc)
    assert old.subject == "5 images of d"


def test_test_is_said_of_the_test_part_only(colours: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "plain", f"{__name__}:Plain")
    by_name = evaluate(colours, "plain")
    assert (by_name.part, by_name.subject) == ("test", "1 test images of plain")
    images, other = dataset(plain(0), [0]), dataset(plain(1), [1])
    assert evaluate(colours, images).part == "all"
    assert evaluate(colours, (other, images)).part == "test"


def test_two_classes_have_an_auroc_and_many_a_top_5() -> None:
    labels, logits = torch.tensor([0, 0, 1, 1]), torch.tensor([[0.0, -3.0], [0.0, 1.0], [0.0, 0.5], [0.0, 4.0]])
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    data = ImageDataset("two", images, labels, ("no", "yes"), MEAN, STD)
    two = reduce(logits, SimpleNamespace(classes=("no", "yes"), input_size=(3, 8, 8)), data, name="m", flip=False)
    assert two.auroc == 0.75
    assert two.auroc_interval[0] < 0.75 < two.auroc_interval[1]
    assert math.isnan(two.top5_accuracy)
    names = tuple(map(str, range(11)))
    data = ImageDataset("many", images, torch.tensor([0, 4, 5, 10]), names, MEAN, STD)
    falling = -torch.arange(11.0).repeat(4, 1)
    many = reduce(falling, SimpleNamespace(classes=names, input_size=(3, 8, 8)), data, name="m", flip=False)
    assert many.top5_accuracy == 0.5
    assert math.isnan(many.auroc)
    assert many.to_dict()["auroc_interval"] == [None, None]


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
    with pytest.raises(
        UserError, match=r"^colours was trained on images that its trainer gave, plain: name them with --data"
    ):
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
