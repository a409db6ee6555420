"""Weight the classes in the loss, so that rare classes are not neglected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from thimble.system.lazily import torch
from thimble.system.settings import adopt, later, require_types

Weights = Literal["auto", "balanced", "sqrt", "none"]
_EXPONENTS = {"balanced": 1.0, "sqrt": 0.5}


@dataclass(frozen=True)
class ClassWeightsConfig:
    """Weights of the classes in the loss."""

    class_weights: Weights = later("none", before="none")
    """Weights of the classes in the loss: balanced gives all classes the same share of it; sqrt is half-way; none
    weights all images alike. auto: by the classes' sizes."""

    def __post_init__(self) -> None:
        adopt(self)
        require_types(self)


def class_weights(labels: torch.Tensor, num_classes: int, kind: Weights) -> torch.Tensor | None:
    """Compute the classes' weights from the training labels.

    Args:
        labels: int64 (N,), N at least 1.
        num_classes: the number of classes; one without images gets the weight 0.
        kind: balanced weights a class by one over its number of images, sqrt by the square root of that.

    Returns:
        float32 (num_classes,) on the labels' device, whose mean over the images is 1; None if all are alike.
    """
    if kind not in _EXPONENTS:
        return None
    counts = torch.bincount(labels, minlength=num_classes).double()
    weights = torch.where(counts > 0, counts.clamp_min(1) ** -_EXPONENTS[kind], 0.0)
    return (weights * len(labels) / (weights * counts).sum()).float()
