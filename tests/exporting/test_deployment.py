"""A network made ready to leave gives the same answers, without what only training needs."""

from __future__ import annotations

import copy

import pytest
import torch
from exports_shared import seasoned
from torch import Tensor, nn

from thimble.data.dataset import normalize
from thimble.data.shapes10 import shapes10
from thimble.exporting.deployment import deploy
from thimble.models import MODELS
from thimble.models.classifier import Classifier, Residual

IMAGES = shapes10(20, seed=5).images


def logits(model: Classifier) -> Tensor:
    with torch.inference_mode():
        result: Tensor = model(normalize(IMAGES, model.mean, model.std))
    return result


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_answers_stay_with_and_without_preprocessing(name: str) -> None:
    model = seasoned(name)
    expected = logits(model)
    for preprocess in (True, False):
        deployment = deploy(model, preprocess=preprocess)
        found = deployment.network(deployment.inputs(IMAGES))
        assert found.shape == (20, 10)
        assert not found.requires_grad
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"teacher-2m", "teacher-10m", "teacher-20m"}))
def test_nothing_of_training_is_left(name: str) -> None:
    kinds = {type(module) for module in deploy(seasoned(name, dropout=0.5)).network.modules()}
    assert nn.Conv2d in kinds
    assert nn.Linear in kinds
    assert not kinds & {nn.BatchNorm2d, nn.Dropout, nn.AdaptiveAvgPool2d}
    assert (Residual in kinds) == (name not in ("reference", "sprint"))


def test_a_norm_behind_a_pooling_is_folded_if_its_scales_are_positive_and_else_stays_as_a_convolution() -> None:
    model = seasoned("sprint")
    norm = model.get_submodule("stage1.2")
    assert isinstance(norm, nn.BatchNorm2d)
    for sign, convolutions in ((1, 7), (-1, 8)):
        with torch.no_grad():
            norm.weight[3] = sign * norm.weight[3].abs()
        deployment = deploy(model)
        kinds = [type(module) for module in deployment.network.modules()]
        assert kinds.count(nn.Conv2d) == convolutions
        found, expected = deployment.network(deployment.inputs(IMAGES)), logits(model)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_relu_behind_a_pooling_moves_before_it() -> None:
    """Int8 then spends no values on what is negative."""
    kinds = [type(module) for module in deploy(seasoned("sprint")).network.modules()]
    before = {kinds[at - 1] for at, kind in enumerate(kinds) if kind is nn.MaxPool2d}
    assert before == {nn.ReLU}


def test_the_model_itself_stays_as_it_is() -> None:
    model = seasoned().train()
    before = copy.deepcopy(model.state_dict())
    deployment = deploy(model, softmax=True)
    deployment.network(deployment.inputs(IMAGES))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_softmax_is_the_softmax_of_the_logits() -> None:
    model = seasoned()
    deployment = deploy(model, softmax=True)
    found = deployment.network(deployment.inputs(IMAGES))
    torch.testing.assert_close(found, logits(model).softmax(1), rtol=1e-4, atol=1e-6)


def test_inputs_have_the_layout_of_cameras_or_of_pytorch() -> None:
    model = seasoned()
    whole, bare = deploy(model), deploy(model, preprocess=False)
    pixels = whole.inputs(IMAGES)
    assert (pixels.shape, pixels.dtype) == ((20, 32, 32, 3), torch.uint8)
    assert pixels.is_contiguous()
    assert torch.equal(pixels[3, 5, 7], IMAGES[3, :, 5, 7])
    assert torch.equal(bare.inputs(IMAGES), normalize(IMAGES, model.mean, model.std))
    assert whole.example(3).shape == (3, 32, 32, 3)


def test_a_network_of_another_size_and_number_of_classes() -> None:
    model = seasoned(num_classes=3)
    model.input_size = (3, 24, 16)
    deployment = deploy(model)
    assert deployment.network(deployment.example(5)).shape == (5, 3)
