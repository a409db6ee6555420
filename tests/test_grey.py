"""Grey images from one end to the other: trained on, measured, predicted, explained, exported, shared."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import thimble
from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import ImageDataset
from thimble.data.pixels import Fitting, to_picture
from thimble.data.rows import rows_of
from thimble.data.shapes10 import shapes10
from thimble.data.source import Given
from thimble.exporting.exported import open_exported
from thimble.measuring.comparison import compare
from thimble.measuring.evaluation import evaluate
from thimble.measuring.summary import summarize
from thimble.storage.find import load_model
from thimble.training.config import TrainConfig
from thimble.training.train import train
from thimble.training.tricks.bank import make_bank
from thimble.training.tricks.view_config import ViewConfig

SIZES = [(28, 28), (20, 36)]
Pair = tuple[ImageDataset, ImageDataset]


def grey(count: int, seed: int, size: tuple[int, int]) -> ImageDataset:
    """Drawings as a photograph without colour has them, cut out of the middle of 40x40 pixels."""
    drawings = shapes10(count, seed=seed)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    images = (drawings.images * weights).sum(1, keepdim=True).round().to(torch.uint8)
    images = torch.nn.functional.pad(images, (4, 4, 4, 4), value=90)
    top, left = ((40 - side) // 2 for side in size)
    images = images[:, :, top : top + size[0], left : left + size[1]].contiguous()
    return ImageDataset("grey shapes", images, drawings.labels, drawings.classes, (0.38,), (0.2,))


@pytest.fixture(params=SIZES, ids=str)
def pair(request: pytest.FixtureRequest) -> Pair:
    return grey(120, 1, request.param), grey(40, 2, request.param)


def settings(runs: Path, **changes: Any) -> TrainConfig:
    plain = {"model": "tiny", "validation": 20, "epochs": 2, "batch_size": 16, "device": "cpu", "workers": 0}
    return TrainConfig.of(**{**plain, "runs": runs, "name": "run", **changes})


@pytest.mark.slow
def test_from_training_to_every_use(pair: Pair, tmp_path: Path) -> None:
    _, test = pair
    size = (1, *test.images.shape[2:])
    result = train(settings(tmp_path), data=pair)
    model = load_model(result.run)
    assert model.input_size == size
    assert (model.mean, model.std, model.fit, model.depth) == ((0.38,), (0.2,), "crop", None)
    measured = evaluate(result.run, test)
    assert measured.num_images == 40
    assert summarize(result.run).input_size == size
    comparison = compare([result.run, result.run], test)
    assert comparison.models[0].accuracy == comparison.models[1].accuracy == measured.accuracy

    colour = shapes10(3, seed=9).images
    by_tensor = thimble.predict(colour, result.run)
    by_picture = thimble.predict([to_picture(image) for image in colour], result.run)
    assert [each.top for each in by_tensor] == [each.top for each in by_picture]
    correct = [
        each.top[0][0] == test.classes[int(label)]
        for each, label in zip(thimble.predict(test.images, model), test.labels, strict=True)
    ]
    assert sum(correct) / 40 == measured.accuracy

    pytest.importorskip("captum")
    (explanation,) = thimble.explain(colour[0], result.run)
    assert explanation.grad_cam.shape == explanation.integrated_gradients.shape == size[1:]

    exported = thimble.export(result.run, output=tmp_path / "grey.onnx", data=pair)
    assert exported.parity.accuracy == measured.accuracy
    assert exported.labels.read_text().split() == list(test.classes)
    found = open_exported(exported.output)
    assert Fitting.of(found) == Fitting.of(model)
    assert found.evaluate(test).confusion == measured.confusion
    small = thimble.export(result.run, "onnx-int8", tmp_path / "grey-int8.onnx", data=pair)
    assert small.parity.accuracy is not None
    assert open_exported(small.output).evaluate(test).accuracy == small.parity.accuracy

    hub = pytest.importorskip("thimble.sharing.hub")
    hub.HubClassifier.of(result.run).save_pretrained(tmp_path / "hub")
    again = hub.HubClassifier.from_pretrained(tmp_path / "hub")
    assert evaluate(again, test).confusion == measured.confusion


@pytest.mark.parametrize("augmenter", ["albumentations", "batched"])
def test_every_trick_takes_grey_images(augmenter: str, tmp_path: Path) -> None:
    pair = grey(120, 1, (28, 28)), grey(40, 2, (28, 28))
    augment = AugmentConfig(color_probability=0.5, sharpen_probability=0.5, augmenter=augmenter)  # type: ignore[arg-type]
    tricks = {"whiten": True, "mix_probability": 1.0, "skip_easy": 0.2, "ema_decay": 0.9, "optimizer": "muon"}
    sizes = {"image_sizes": (0.5, 1.0)}
    first = train(settings(tmp_path, augment=augment, **tricks, **sizes, name="teacher"), data=pair)
    assert all(torch.isfinite(torch.tensor(row["train_loss"])) for row in first.history)
    taught = train(settings(tmp_path, teacher=str(first.run), augment=augment), data=pair)
    assert len(taught.history) == 2


def test_a_bank_of_grey_images(tmp_path: Path) -> None:
    pair = grey(120, 1, (28, 28)), grey(40, 2, (28, 28))
    first = train(settings(tmp_path, name="teacher"), data=pair)
    views = ViewConfig(views=3, mixed_views=1)
    bank = make_bank([str(first.run)], tmp_path / "bank", views, data=Given(*pair))
    assert bank.logits.shape == (3, 120, 10)
    found = train(settings(tmp_path, bank=bank.path), data=pair)
    assert len(found.history) == 2


def test_images_on_disk_train_to_the_same_bits(tmp_path: Path) -> None:
    loaded, test = grey(120, 1, (28, 28)), grey(40, 2, (28, 28))
    order = torch.arange(120).flip(0)
    mapped = dataclasses.replace(loaded, images=rows_of(loaded.images.flip(0), order))
    states = []
    for number, data in enumerate((loaded, mapped)):
        run = train(settings(tmp_path, name=f"run{number}"), data=(data, test)).run
        states.append(load_model(run).state_dict())
    assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items())
