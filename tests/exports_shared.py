"""What the tests of exports share: data that stands in for CIFAR-10, networks whose BatchNorms have seen images."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thimble.data.cifar10 import CLASSES, MEAN, STD, Cifar10
from thimble.data.dataset import ImageDataset, normalize
from thimble.data.pixels import Fitting, to_input, to_picture
from thimble.data.shapes10 import shapes10
from thimble.data.source import Part
from thimble.exporting import onnx_file
from thimble.exporting.deployment import Deployment, deploy
from thimble.exporting.export import describe
from thimble.exporting.integer_graph import IntegerGraph, read
from thimble.measuring.inference import infer
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.find import load_pretrained


@cache
def stand_in() -> ImageDataset:
    """1,000 drawings that the shipped network is sure of, as CIFAR-10 with the classes that it takes them for.

    The tests have no photographs. Of drawings that it is not sure of, rounding to int8 changes what it takes them for.
    """
    model, drawings = load_pretrained("reference"), shapes10(3_000, seed=3)
    probabilities, labels = infer(model, drawings.images, mean=MEAN, std=STD).softmax(1).max(1)
    sure = probabilities.argsort(descending=True)[:1_000].sort().values
    return ImageDataset("cifar10", drawings.images[sure], labels[sure], CLASSES, MEAN, STD)


class StandIn(Cifar10):
    """In place of CIFAR-10: 600 images to train on, 400 others to test with."""

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        return stand_in().subset(torch.arange(600) if part == "train" else torch.arange(600, 1_000))

    def is_here(self) -> bool:
        return True


def save_onnx(path: Path, model: Classifier, *, preprocess: bool = True, softmax: bool = False) -> Path:
    """A float32 file with all its metadata, unchecked."""
    metadata = describe(model, {}, "0" * 64, preprocess=preprocess, softmax=softmax)
    deployment = deploy(model, preprocess=preprocess, softmax=softmax, metadata=metadata)
    path.write_bytes(onnx_file.build_float(deployment))
    return path


def deployments_of_int8(monkeypatch: pytest.MonkeyPatch) -> list[Deployment]:
    """The deployments that int8 files are built of from now on; the files are float32, which is quick."""
    seen: list[Deployment] = []

    def build(deployment: Deployment) -> bytes:
        seen.append(deployment)
        return onnx_file.build_float(deployment)

    monkeypatch.setattr(onnx_file, "build_int8", build)
    return seen


def seasoned(name: str = "reference", **arguments: Any) -> Classifier:
    """An untrained network whose BatchNorms have seen images, so that folding them is no small matter."""
    return copy.deepcopy(_seasoned(name, **arguments))


@cache
def _seasoned(name: str, **arguments: Any) -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = build_model(name, **arguments)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
        season(model)
    return model.eval()


def season(model: Classifier) -> None:
    """Show a network drawings of its input size, three times."""
    drawings, channels = shapes10(30, seed=4), model.input_size[0]
    model.mean, model.std = drawings.mean[:channels], drawings.std[:channels]
    images = fitted(drawings.images, model)
    for _ in range(3):
        model.train()(normalize(images, model.mean, model.std))
    model.eval()


def fitted(images: Tensor, model: Classifier) -> Tensor:
    """Images as uint8 of a model's input size."""
    if tuple(images.shape[1:]) == model.input_size:
        return images
    return torch.stack([to_input(to_picture(image), Fitting.of(model)) for image in images])


@cache
def quantised(name: str) -> tuple[Deployment, bytes]:
    """An untrained network and its int8 ONNX file, made once for all tests that only read them."""
    deployment = deploy(seasoned(name), calibration=stand_in().images[:20])
    return deployment, onnx_file.build_int8(deployment)


def integer_graph(name: str) -> IntegerGraph:
    """Of that file."""
    return read(quantised(name)[1])
