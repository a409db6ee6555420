"""Compare an exported file with PyTorch: run the same images through both, and check how far their outputs differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.errors import RunError
from thimble.measuring import metrics
from thimble.measuring.statistics import mcnemar

from .deployment import Deployment

NUM_IMAGES = 1_000
MAX_DIFFERENCE = 1e-4
"""Largest allowed difference between a float32 file's logits and PyTorch's; both round, in a different order."""
MAX_DROP = 0.005
"""Largest allowed loss of accuracy on the whole test set, as a fraction; a larger one is allowed if it may be chance,
as on a few hundred test images."""
SIGNIFICANCE = 0.05
"""A loss may be chance if equally good files would differ as much with at least this probability."""
MIN_AGREEMENT, MIN_TESTED_AGREEMENT = 0.95, 0.85
"""Smallest allowed fractions of images for which an int8 file and PyTorch predict the same class, without and with test
images. Without, this is an int8 file's only check; with them, ``MAX_DROP`` is, and a network that is often unsure may
decide otherwise more often."""
MOST_UNLIKE_TWINS = 3
"""So many images may always get another class from a file than from the ONNX int8 file of the same quantisation."""

Run = Callable[[Tensor], Tensor]
_BATCH = 32
"""Images at a time; more do not fit a processor's cache and take several times as long: see ``measuring.inference``."""


@dataclass(frozen=True)
class Parity:
    """How a file's predictions compare with PyTorch's.

    Attributes:
        images: the name of the images.
        num_images: the number of images compared.
        max_difference: the largest absolute difference of a logit (of a probability, if the file returns those).
        agreement: the fraction of images, 0..1, for which both predict the same class.
        twin_agreement: the same fraction for the file and the ONNX int8 file; None except for C and tflite.
        test_images: the number of test images behind the accuracies; None if the test set is not on disk.
        pytorch_accuracy: PyTorch's accuracy on the test set, 0..1.
        accuracy: the file's accuracy on the test set, 0..1.
        chance: the probability of such different accuracies if both were equally good (McNemar's exact test), 0..1.
    """

    images: str
    num_images: int
    max_difference: float
    agreement: float
    twin_agreement: float | None = None
    test_images: int | None = None
    pytorch_accuracy: float | None = None
    accuracy: float | None = None
    chance: float | None = None

    @property
    def drop(self) -> float | None:
        """The accuracy that the file loses on the test set, as a fraction; below 0 if it gains."""
        if self.accuracy is None or self.pytorch_accuracy is None:
            return None
        return self.pytorch_accuracy - self.accuracy

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {**vars(self), "drop": self.drop}


def answers(run: Run, deployment: Deployment, images: Tensor) -> Tensor:
    """Run images, uint8 (N, channels, height, width), through ``run``; return float32 (N, classes).

    The first image is run alone: this fails if the file works only for one batch size.
    """
    starts = [0, *range(1, len(images), _BATCH)]  # slices, so that images that are mapped from disk are not all read
    parts = (images[start:end] for start, end in zip(starts, [*starts[1:], len(images)], strict=True))
    return torch.cat([run(deployment.inputs(part)).float() for part in parts])


def compare(
    run: Run, deployment: Deployment, images: ImageDataset, *, is_test: bool, twin: Run | None = None
) -> Parity:
    """Run the same images through the file and through PyTorch, and compare the outputs.

    Args:
        run: the file, as its format's ``load`` returns it.
        deployment: the network from which the file was built.
        images: at least one image. The outputs for the first 1,000 are compared.
        is_test: whether they are the model's test set; then accuracies are measured too, on all of them.
        twin: a second file whose predictions should agree too.

    Raises:
        RunError: the file's outputs have the wrong shape.
    """

    def pytorch(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            outputs: Tensor = deployment.network(inputs)
            return outputs

    pixels = images.images if is_test else images.images[:NUM_IMAGES]
    found, expected = (answers(one, deployment, pixels) for one in (run, pytorch))
    if found.shape != expected.shape:
        shapes = f"{tuple(found.shape)} for {len(pixels):,} images of {images.name}; expected {tuple(expected.shape)}"
        raise RunError(f"the exported file returns {shapes}: nothing was written")
    first, labels = found[:NUM_IMAGES], found[:NUM_IMAGES].argmax(1)
    twins = None if twin is None else answers(twin, deployment, pixels[:NUM_IMAGES]).argmax(1)
    return Parity(
        images=images.name,
        num_images=len(first),
        max_difference=float((first - expected[:NUM_IMAGES]).abs().max()),
        agreement=_share(labels, expected[:NUM_IMAGES].argmax(1)),
        twin_agreement=None if twins is None else _share(labels, twins),
        test_images=len(images) if is_test else None,
        pytorch_accuracy=metrics.accuracy(expected, images.labels) if is_test else None,
        accuracy=metrics.accuracy(found, images.labels) if is_test else None,
        chance=_chance(found, expected, images.labels) if is_test else None,
    )


def check(parity: Parity, *, exact: bool, twin: float = 0.99) -> None:
    """Check a comparison against the limits above.

    Args:
        parity: the comparison.
        exact: True for a float32 file, False for an int8 file.
        twin: the least fraction of images, 0..1, for which it must predict what its twin predicts.

    Raises:
        RunError: the file differs too much from PyTorch.
    """
    agreement, where = parity.agreement, f"on {parity.num_images:,} images of {parity.images}"
    if not parity.max_difference < float("inf"):
        raise RunError(
            f"the exported file returns nan or infinite values {where}: expected finite ones; nothing was written"
        )
    if exact and (parity.max_difference > MAX_DIFFERENCE or agreement < 1):
        raise RunError(
            f"the exported file's outputs differ from PyTorch's by up to {parity.max_difference:.2g}, and"
            f" {agreement:.2%} of predicted classes agree {where}: expected at most {MAX_DIFFERENCE:g} and 100%;"
            " nothing was written"
        )
    least = MIN_AGREEMENT if parity.accuracy is None else MIN_TESTED_AGREEMENT
    if agreement < least:
        raise RunError(
            f"{agreement:.2%} of the exported file's predicted classes agree with PyTorch {where}: expected at least"
            f" {least:.0%}; nothing was written, try --format onnx, which is float32"
        )
    twins = 1.0 if parity.twin_agreement is None else parity.twin_agreement
    if twins < twin and round((1 - twins) * parity.num_images) > MOST_UNLIKE_TWINS:
        raise RunError(
            f"{twins:.2%} of the exported file's predicted classes agree with the ONNX int8 file"
            f" {where}: expected at least {twin:.0%}; nothing was written"
        )
    may_be_chance = parity.chance is not None and parity.chance >= SIGNIFICANCE
    if parity.drop is not None and parity.drop > MAX_DROP and not may_be_chance:
        raise RunError(
            f"the exported file's accuracy is {parity.accuracy:.2%} on {parity.test_images:,} test images, PyTorch's"
            f" {parity.pytorch_accuracy:.2%}: expected a loss of at most {100 * MAX_DROP:g} points; nothing was"
            " written, try --format onnx, which is float32"
        )


def _chance(found: Tensor, expected: Tensor, labels: Tensor) -> float:
    labels = labels.cpu()
    return mcnemar(found.argmax(1) == labels, expected.argmax(1) == labels)[2]


def _share(one: Tensor, other: Tensor) -> float:
    return float((one == other).float().mean())
