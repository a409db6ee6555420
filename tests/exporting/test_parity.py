"""The comparison with PyTorch sees what is wrong with a file, and says so in one line."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from exports_shared import seasoned
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import shapes10
from thimble.errors import RunError
from thimble.exporting.deployment import deploy
from thimble.exporting.parity import Parity, check, compare

GOOD = Parity("cifar10", 1_000, 1e-6, 1.0, None, 10_000, 0.9, 0.9)


@pytest.fixture(scope="module")
def images() -> ImageDataset:
    return shapes10(40, seed=6)


def test_the_network_agrees_with_itself(images: ImageDataset) -> None:
    deployment = deploy(seasoned())
    parity = compare(deployment.network, deployment, images, is_test=True)
    assert (parity.num_images, parity.test_images, parity.images) == (40, 40, "shapes10")
    assert parity.agreement == 1
    assert parity.max_difference < 1e-6
    assert parity.accuracy == parity.pytorch_accuracy
    assert parity.drop == 0
    check(parity, exact=True)
    assert compare(deployment.network, deployment, images, is_test=False).drop is None


def test_a_difference_of_one_logit_of_one_image_is_seen(images: ImageDataset) -> None:
    deployment = deploy(seasoned())

    def off(inputs: Tensor) -> Tensor:
        outputs: Tensor = deployment.network(inputs).clone()
        if len(inputs) > 1:
            outputs[-1, 4] += 0.01
        return outputs

    parity = compare(off, deployment, images, is_test=False)
    assert parity.max_difference == pytest.approx(0.01, rel=0.01)
    with pytest.raises(
        RunError, match=r"differ from PyTorch's by up to 0\.01, .* expected at most 0\.0001 and 100%; nothing was"
    ):
        check(parity, exact=True)


def test_a_file_that_gives_something_else_than_logits_is_seen(images: ImageDataset) -> None:
    deployment = deploy(seasoned())
    with pytest.raises(
        RunError, match=r"^the exported file returns \(40, 9\) for 40 images of shapes10; expected \(40, 10\): nothing"
    ):
        compare(lambda inputs: deployment.network(inputs)[:, :9], deployment, images, is_test=False)


def test_a_file_with_a_fixed_batch_is_seen(images: ImageDataset) -> None:
    deployment = deploy(seasoned())

    def fixed(inputs: Tensor) -> Tensor:
        if len(inputs) != 2:
            raise ValueError(f"batch of {len(inputs)}")
        return torch.zeros(2, 10)

    with pytest.raises(ValueError, match="batch of 1"):
        compare(fixed, deployment, images, is_test=False)


def test_the_twin_is_asked_too(images: ImageDataset) -> None:
    deployment = deploy(seasoned())
    parity = compare(
        deployment.network, deployment, images, is_test=False, twin=lambda inputs: -deployment.network(inputs)
    )
    assert parity.agreement == 1
    assert parity.twin_agreement == 0


def test_what_passes() -> None:
    check(GOOD, exact=True)
    check(dataclasses.replace(GOOD, accuracy=0.8951, agreement=0.97, max_difference=3.0), exact=False)
    check(dataclasses.replace(GOOD, accuracy=0.91, agreement=0.97, twin_agreement=0.99), exact=False)
    check(dataclasses.replace(GOOD, agreement=0.86), exact=False)  # an unsure network, no less accurate
    check(dataclasses.replace(GOOD, num_images=100, twin_agreement=0.97), exact=False)


def test_on_few_test_images_a_loss_may_be_chance(images: ImageDataset) -> None:
    """Two of 40 images are 5 points, of which nothing follows; six are a loss."""
    deployment = deploy(seasoned())
    right = deployment.network(deployment.inputs(images.images)).argmax(1)
    tested = dataclasses.replace(images, labels=right)
    for wrong, fits in ((0, True), (2, True), (6, False)):

        def worse(inputs: Tensor, wrong: int = wrong) -> Tensor:
            outputs: Tensor = deployment.network(inputs).clone()
            if len(inputs) > 20:  # one of the batches of 40 images
                outputs[:wrong] = outputs[:wrong].roll(1, 1)
            return outputs

        parity = compare(worse, deployment, tested, is_test=True)
        assert parity.drop == pytest.approx(wrong / 40)
        assert parity.chance == pytest.approx(min(1.0, 2 * 0.5**wrong))
        if fits:
            check(parity, exact=False)
        else:
            with pytest.raises(RunError, match="expected a loss of at most 0"):
                check(dataclasses.replace(parity, agreement=1.0), exact=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(value: float) -> None:
    for exact in (True, False):
        with pytest.raises(RunError, match="nan or infinite values on 1,000 images of cifar10"):
            check(dataclasses.replace(GOOD, max_difference=value), exact=exact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"agreement": 0.849},
            r"84\.90% of .* predicted classes agree with PyTorch .* expected at least 85%; nothing was written",
        ),
        (
            {"agreement": 0.949, "test_images": None, "accuracy": None, "pytorch_accuracy": None},
            r"94\.90% of .* predicted classes agree with PyTorch .* expected at least 95%; nothing was written",
        ),
        (
            {"twin_agreement": 0.989},
            r"98\.90% of .* agree with the ONNX int8 file .* expected at least 99%; nothing was written",
        ),
        (
            {"twin_agreement": 0.96, "num_images": 100},
            r"96\.00% of .* agree with the ONNX int8 file .* expected at least 99%; nothing was written",
        ),
        ({"accuracy": 0.8949, "chance": 0.049}, "expected a loss of at most 0"),
        ({"accuracy": 0.8949}, r"accuracy is 89\.49% on 10,000 test images, PyTorch's 90\.00%: .* 0\.5 points"),
    ],
)
def test_an_int8_file_that_lost_too_much(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message) as error:
        check(dataclasses.replace(GOOD, max_difference=1.0, **change), exact=False)
    assert "\n" not in str(error.value)


def test_a_float_file_must_agree_on_every_label() -> None:
    with pytest.raises(RunError, match=r"99\.90% of predicted classes agree"):
        check(dataclasses.replace(GOOD, agreement=0.999), exact=True)
