"""Whether a file does what the network does: the same images through both, and how far apart their answers are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.errors import RunError
from thimble.measuring import metrics

from .deployment import Deployment

NUM_IMAGES = 1_000
MAX_DIFFERENCE = 1e-4
"""The most by which a float32 file's logits may differ from PyTorch's: both round, in another order."""
MAX_DROP = 0.005
"""The most accuracy, of 1, that a file may lose on the whole test set."""
MIN_AGREEMENT = 0.95
"""The least share of images that an int8 file must label like the network. Where accuracy cannot be measured it is all
that is known; where it can, ``MAX_DROP`` is the stricter."""
MIN_TWIN_AGREEMENT = 0.99
"""The least share of images that the C file must label like the ONNX int8 file of the same quantisation."""

Run = Callable[[Tensor], Tensor]
_BATCH = 250


@dataclass(frozen=True)
class Parity:
    """How a file's answers compare with PyTorch's.

    Attributes:
        images: what the images are, such as ``"cifar10 test"``.
        num_images: their number.
        max_difference: the greatest absolute difference of a logit (or a probability, where the file gives those).
        agreement: the share of images, in 0..1, of which both name the same class.
        twin_agreement: the same share against the ONNX int8 file; None where that is no matter.
        test_images: the images of the whole test set that the accuracies are of; None where it is not on disk.
        pytorch_accuracy: in 0..1, of the network in PyTorch on the test set.
        accuracy: in 0..1, of the file on the test set.
    """

    images: str
    num_images: int
    max_difference: float
    agreement: float
    twin_agreement: float | None = None
    test_images: int | None = None
    pytorch_accuracy: float | None = None
    accuracy: float | None = None

    @property
    def drop(self) -> float | None:
        """The accuracy that the file lost on the test set, in 0..1; below 0 where it gained."""
        if self.accuracy is None or self.pytorch_accuracy is None:
            return None
        return self.pytorch_accuracy - self.accuracy

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON can hold it."""
        return {**vars(self), "drop": self.drop}


def answers(run: Run, deployment: Deployment, images: Tensor) -> Tensor:
    """What ``run`` makes of images, uint8 (N, 3, height, width): float32 (N, classes).

    The first image goes alone, so that a file whose batch is not free is found out.
    """
    parts = [images[:1], *torch.split(images[1:], _BATCH)]
    return torch.cat([run(deployment.inputs(part)).float() for part in parts if len(part)])


def compare(
    run: Run, deployment: Deployment, images: ImageDataset, *, is_test: bool, twin: Run | None = None
) -> Parity:
    """Put the same images through the file and through PyTorch.

    Args:
        run: the file, as its format's ``load`` gives it.
        deployment: what the file was made of.
        images: at least one. The answers for the first 1,000 are compared.
        is_test: whether they are the test set of the network's classes: then accuracies are measured too, on all.
        twin: another file that must agree too.

    Raises:
        RunError: the file gives something else than logits.
    """

    def pytorch(inputs: Tensor) -> Tensor:
        with torch.inference_mode():
            outputs: Tensor = deployment.network(inputs)
            return outputs

    pixels = images.images if is_test else images.images[:NUM_IMAGES]
    found, expected = (answers(one, deployment, pixels) for one in (run, pytorch))
    if found.shape != expected.shape:
        shapes = f"{tuple(found.shape)} for {len(pixels):,} images of {images.name}; expected {tuple(expected.shape)}"
        raise RunError(f"the file gives {shapes}: nothing was written")
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
    )


def check(parity: Parity, *, exact: bool) -> None:
    """Hold a comparison against the limits above.

    Args:
        parity: the comparison.
        exact: whether the file is of float32; else it is of int8.

    Raises:
        RunError: the file is not the same network.
    """
    agreement, where = parity.agreement, f"on {parity.num_images:,} images of {parity.images}"
    if not parity.max_difference < float("inf"):
        raise RunError(f"the file gives nan or infinite values {where}; expected finite ones")
    if exact and (parity.max_difference > MAX_DIFFERENCE or agreement < 1):
        raise RunError(
            f"the file differs from PyTorch by {parity.max_difference:.2g} and agrees on {agreement:.2%} of labels "
            f"{where}: expected at most {MAX_DIFFERENCE:g} and 100%; nothing was written"
        )
    if agreement < MIN_AGREEMENT:
        raise RunError(
            f"the file agrees with PyTorch on {agreement:.2%} of labels {where}: expected at least "
            f"{MIN_AGREEMENT:.0%}; nothing was written, --format onnx keeps float32"
        )
    if parity.twin_agreement is not None and parity.twin_agreement < MIN_TWIN_AGREEMENT:
        raise RunError(
            f"the file agrees with the ONNX int8 file on {parity.twin_agreement:.2%} of labels {where}: expected at "
            f"least {MIN_TWIN_AGREEMENT:.0%}; nothing was written"
        )
    if parity.drop is not None and parity.drop > MAX_DROP:
        raise RunError(
            f"the file is right about {parity.accuracy:.2%} of {parity.test_images:,} test images, PyTorch about "
            f"{parity.pytorch_accuracy:.2%}: expected to lose at most {100 * MAX_DROP:g} points; nothing was written, "
            "--format onnx keeps float32"
        )


def _share(one: Tensor, other: Tensor) -> float:
    return float((one == other).float().mean())
