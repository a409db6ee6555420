"""The whitened first convolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from thimble.data.dataset import normalize
from thimble.data.shapes10 import shapes10
from thimble.models import build_model
from thimble.training.tricks.whitening import whiten_first_convolution


def images() -> torch.Tensor:
    data = shapes10(200)
    return normalize(data.images, data.mean, data.std)


def test_its_outputs_are_uncorrelated_and_of_one_variance_with_both_signs() -> None:
    model = build_model("reference")
    later = [parameter.clone() for name, parameter in model.named_parameters() if name != "c1.0.weight"]
    whiten_first_convolution(model, images())
    weight = model.get_parameter("c1.0.weight")
    assert weight.norm().item() == pytest.approx(4.0)
    torch.testing.assert_close(weight[:8], -weight[8:])
    outputs = F.conv2d(images(), weight[:8]).transpose(0, 1).flatten(1).double()
    second = outputs @ outputs.T / outputs.shape[1]
    scale = second.diagonal().mean()
    # To within the floor, which takes a little from the weaker components.
    assert (second / scale - torch.eye(8)).abs().max() < 0.1
    for before, (name, after) in zip(later, list(model.named_parameters())[1:], strict=True):
        assert torch.equal(before, after), name


def test_it_is_the_same_each_time_whatever_the_weights_were() -> None:
    first, second = build_model("reference"), build_model("reference")
    whiten_first_convolution(first, images())
    whiten_first_convolution(second, images())
    assert torch.equal(first.get_parameter("c1.0.weight"), second.get_parameter("c1.0.weight"))


@pytest.mark.parametrize("name", ["reference", "thimble-150k"])
def test_of_grey_images_with_more_filters_than_components(name: str) -> None:
    """A patch has nine values, so nine components, of which the family's 40 filters are eighteen."""
    grey = images().mean(1, keepdim=True)
    model = build_model(name, in_channels=1)
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    whiten_first_convolution(model, grey)
    half = first.out_channels // 2
    assert first.weight.norm().item() == pytest.approx(first.out_channels**0.5)
    torch.testing.assert_close(first.weight[:half], -first.weight[half:])
    outputs = F.conv2d(grey, first.weight[:half]).transpose(0, 1).flatten(1).double()
    second = outputs @ outputs.T / outputs.shape[1]
    whitened = min(half, 9)
    scale = second.diagonal()[: whitened - 1].mean()
    # But for the weakest, of noise, from which the floor takes much.
    assert (second[: whitened - 1, : whitened - 1] / scale - torch.eye(whitened - 1)).abs().max() < 0.1
    assert ((second.diagonal() / scale - 1).abs() < 0.3).all()
    assert len({tuple(row) for row in first.weight.flatten(1).tolist()}) == first.out_channels


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 15, 3), nn.Conv2d(3, 6, 3, groups=3), nn.Linear(3, 4)])
def test_another_first_layer_is_refused(layer: nn.Module) -> None:
    with pytest.raises(ValueError, match="the first convolution is"):
        whiten_first_convolution(nn.Sequential(layer), images())


def test_images_smaller_than_the_first_convolution_are_refused() -> None:
    with pytest.raises(ValueError, match="smaller than the first convolution"):
        whiten_first_convolution(build_model("reference"), torch.zeros(4, 3, 1, 40))
