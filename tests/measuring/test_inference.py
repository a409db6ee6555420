"""From a model and images to logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from colour_network import MEAN, STD, dataset, mixed_network, one_by_one, plain, random_images
from torch import Tensor, nn

from thimble.errors import RunError
from thimble.measuring.evaluation import evaluate
from thimble.measuring.inference import infer
from thimble.measuring.prediction import predict
from thimble.models.classifier import Classifier


def test_infer_in_batches_is_infer_one_by_one() -> None:
    model, images = mixed_network(), random_images(7)
    logits = infer(model.train(), images, mean=MEAN, std=STD, batch_size=3)
    assert (logits.dtype, logits.shape, logits.requires_grad) == (torch.float32, (7, 5), False)
    np.testing.assert_allclose(logits.numpy(), one_by_one(model, images), atol=1e-5)


@pytest.mark.parametrize(
    ("side", "threads", "expected"),
    [(28, 1, [32, 8]), (32, 2, [32, 8]), (32, 4, [64, 6]), (64, 2, [8] * 4 + [3]), (400, 1, [1, 1])],
)
def test_large_images_come_in_smaller_batches_and_more_threads_get_more(
    side: int, threads: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    infer(model, torch.zeros(sum(expected), 3, side, side, dtype=torch.uint8), mean=MEAN, std=STD)
    assert sizes == expected


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
