"""Inference, evaluation and prediction with networks whose answers are known beforehand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from thimble.data.dataset import ImageDataset
from thimble.data.source import Part, Source
from thimble.data.sources import SOURCES
from thimble.errors import RunError, UserError
from thimble.measuring.evaluation import Evaluation, evaluate
from thimble.measuring.inference import infer
from thimble.measuring.prediction import Prediction, predict
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.weights import save_weights

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
COLOURS = ("red", "green", "blue")


@pytest.fixture
def colours() -> Classifier:
    """A network for 8x8 images whose logits are ten times the mean of each channel: it names the colour."""
    convolution = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(10 * torch.eye(3)[:, :, None, None])
    blocks: dict[str, nn.Module] = {"output": nn.Sequential(nn.AdaptiveAvgPool2d(1), convolution)}
    model = Classifier(blocks, name="colours", arguments={"num_classes": 3})
    model.classes, model.mean, model.std, model.input_size = COLOURS, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (3, 8, 8)
    return model


def plain(*channels: int) -> Tensor:
    """8x8 images of one pure colour each: 0 red, 1 green, 2 blue."""
    images = torch.zeros(len(channels), 3, 8, 8, dtype=torch.uint8)
    images[range(len(channels)), list(channels)] = 255
    return images


def dataset(images: Tensor, labels: list[int], classes: tuple[str, ...] = COLOURS) -> ImageDataset:
    return ImageDataset("plain", images, torch.tensor(labels, dtype=torch.int64), classes, MEAN, STD)


def mixed_network() -> nn.Sequential:
    """Sensitive to where a pixel is, to the mode (BatchNorm, dropout), and to the batch if it were in train mode."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 5, 6), nn.Flatten()
    )


def random_images(count: int) -> Tensor:
    return torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def one_by_one(model: nn.Module, images: Tensor) -> np.ndarray[Any, Any]:
    """The logits the slow way: an image at a time, normalised by numpy."""
    model.eval()
    rows = []
    for image in images.numpy():
        pixels = (image / 255 - np.reshape(MEAN, (3, 1, 1))) / np.reshape(STD, (3, 1, 1))
        rows.append(model(torch.tensor(pixels[None], dtype=torch.float32)).detach().numpy()[0])
    return np.stack(rows)


def test_infer_in_batches_is_infer_one_by_one() -> None:
    model, images = mixed_network(), random_images(7)
    logits = infer(model.train(), images, mean=MEAN, std=STD, batch_size=3)
    assert (logits.dtype, logits.shape, logits.requires_grad) == (torch.float32, (7, 5), False)
    np.testing.assert_allclose(logits.numpy(), one_by_one(model, images), atol=1e-5)


def test_flip_averages_the_logits_of_both_images() -> None:
    model, images = mixed_network(), random_images(4)
    straight, mirrored = one_by_one(model, images), one_by_one(model, images.flip(3))
    assert np.abs(straight - mirrored).max() > 0.01
    logits = infer(model, images, mean=MEAN, std=STD, flip=True)
    np.testing.assert_allclose(logits.numpy(), (straight + mirrored) / 2, atol=1e-5)


def test_infer_leaves_images_weights_and_modes_as_they_are() -> None:
    model, images = mixed_network().train(), random_images(4)
    model[1].eval()  # a frozen norm in a model that trains
    before, state = images.clone(), {name: value.clone() for name, value in model.state_dict().items()}
    infer(model, images, mean=MEAN, std=STD)
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True, True]
    assert torch.equal(images, before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_modes_are_restored_after_an_exception() -> None:
    model = mixed_network().train()
    model[1].eval()
    with pytest.raises(RuntimeError, match="size"):
        infer(model, torch.zeros(2, 3, 2, 2, dtype=torch.uint8), mean=MEAN, std=STD)
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True, True]


def test_modes_are_restored_after_an_interruption() -> None:
    model, seen = mixed_network().train(), []

    def interrupt(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.append((module.training, model.training))
        raise KeyboardInterrupt

    model[1].register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        infer(model, random_images(2), mean=MEAN, std=STD)
    assert seen == [(False, True)]
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(0, 3, 8, 8, dtype=torch.uint8)],
)
def test_infer_refuses_what_are_no_images(images: Tensor) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        infer(mixed_network(), images, mean=MEAN, std=STD)


def test_infer_in_bfloat16_gives_float32(colours: Classifier) -> None:
    logits = infer(colours.bfloat16(), plain(2), mean=colours.mean, std=colours.std)
    assert logits.dtype == torch.float32
    assert logits.tolist() == [[0.0, 0.0, 10.0]]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_end_the_run(colours: Classifier, bad: float) -> None:
    with torch.no_grad():
        next(colours.parameters())[0, 0] = bad
    expected = "model colours gives nan or infinite logits for 2 of 2 images"
    with pytest.raises(RunError, match=expected):
        evaluate(colours, dataset(plain(0, 0), [0, 0]))
    with pytest.raises(RunError, match="model colours gives nan"):
        predict(plain(0), colours)


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
    for own in ({"name": "mine"}, {"name": "plain", "sha256": "0" * 64}):
        colours.data = own
        with pytest.raises(UserError, match=f"^colours was trained on {own['name']}, which Thimble cannot find by"):
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


def test_predict_gives_probabilities_best_first(colours: Classifier) -> None:
    image = torch.tensor([51, 102, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8)  # logits 2, 4, 0
    (prediction,) = predict(image, colours.train())
    total = math.exp(2) + math.exp(4) + 1
    assert prediction.image == "image 0"
    assert [name for name, _ in prediction.top] == ["green", "red", "blue"]
    expected = [math.exp(4) / total, math.exp(2) / total, 1 / total]
    assert [value for _, value in prediction.top] == pytest.approx(expected, abs=1e-6)
    assert colours.training


def test_predict_takes_files_pil_images_and_tensors_alike(colours: Classifier, tmp_path: Path) -> None:
    paths = [tmp_path / "green.png", tmp_path / "blue.png"]
    for path, channel in zip(paths, (1, 2), strict=True):
        Image.fromarray(plain(channel)[0].permute(1, 2, 0).numpy()).resize((37, 21)).save(path)
    by_paths = predict(paths, colours)
    assert [prediction.image for prediction in by_paths] == [str(path) for path in paths]
    assert [prediction.top[0][0] for prediction in by_paths] == ["green", "blue"]
    assert predict(str(paths[1]), colours) == [by_paths[1]]
    assert predict(Image.open(paths[1]), colours) == [by_paths[1]]
    by_tensors = predict(plain(1, 2).repeat(1, 1, 3, 5), colours)
    assert [prediction.image for prediction in by_tensors] == ["image 0", "image 1"]
    assert [prediction.top for prediction in by_tensors] == [prediction.top for prediction in by_paths]
    assert predict([], colours) == []


def test_predict_brings_images_to_height_and_width_of_the_model(colours: Classifier) -> None:
    """Of a wide image for a tall model, the middle is kept: blue, between red and red."""
    colours.input_size = (3, 8, 4)
    images = torch.cat([plain(0), plain(2), plain(0)], dim=3)
    assert predict(images, colours)[0].top[0][0] == "blue"


def test_top_names_as_many_classes_as_there_are(colours: Classifier) -> None:
    assert len(predict(plain(0), colours, top=2)[0].top) == 2
    assert len(predict(plain(0), colours, top=99)[0].top) == 3
    with pytest.raises(UserError, match="top 0: expected"):
        predict(plain(0), colours, top=0)


def test_prediction_to_dict_is_plain_json() -> None:
    values = Prediction("cat.png", (("cat", 0.75), ("dog", 0.25))).to_dict()
    assert json.loads(json.dumps(values)) == {
        "image": "cat.png",
        "top": [{"class": "cat", "probability": 0.75}, {"class": "dog", "probability": 0.25}],
    }


def test_what_is_no_image_is_the_users_mistake(colours: Classifier, tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    with pytest.raises(UserError, match=r"notes\.png"):
        predict(text, colours)
    with pytest.raises(UserError, match="missing"):
        predict(tmp_path / "missing.png", colours)
    for tensor in (torch.zeros(3, 8, 8), torch.zeros(8, 8, 3, dtype=torch.uint8), plain(0)[:, :, :0]):
        with pytest.raises(UserError, match=r"expected uint8 \(\[N,\] 3, height, width\)"):
            predict(tensor, colours)
    with pytest.raises(UserError, match="image 0 is of type int"):
        predict([7], colours)  # type: ignore[list-item]
    with pytest.raises(UserError, match="0x5 pixels"):
        predict(Image.new("RGB", (0, 5)), colours)


def test_a_pil_image_cut_short_is_the_users_mistake(colours: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "cut.bmp"
    Image.new("RGB", (64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with Image.open(path) as image, pytest.raises(UserError, match=r"cut\.bmp is damaged or closed"):
        predict(image, colours)


def test_predict_without_a_shipped_model_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing-here"):
        predict(plain(0), tmp_path / "nothing-here")
