"""Initialise the first convolution from the training images instead of at random."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def whiten_first_convolution(model: nn.Module, images: Tensor) -> None:
    """Set the first convolution to the strongest principal components of image patches, each with both signs.

    The components are scaled to unit variance (with a small floor, so that noise is not amplified), then the whole
    weight to the norm ``sqrt(out_channels)``. Because each component has both signs, ReLU loses no information. The
    method is from cifar10-airbench (K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024,
    arXiv:2404.00498), which has it from tysam-code's hlb-CIFAR10; here, unlike there, training changes these weights.

    Args:
        model: its first convolution must have groups 1 and an even number of output channels. If they are more than
            twice the values in a patch, as of grey images, the others become random directions among the components.
        images: float (N, channels, height, width), normalised; a few thousand suffice.

    Raises:
        ValueError: the first convolution is unsuitable, or larger than the images.
    """
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.groups != 1 or first.out_channels % 2:
        raise ValueError(f"the first convolution is {first}: expected groups=1 and an even number of output channels")
    if any(side < size for side, size in zip(images.shape[2:], first.kernel_size, strict=True)):
        raise ValueError(f"images of {tuple(images.shape[2:])} are smaller than the first convolution, {first}")
    patches = F.unfold(images, first.kernel_size).transpose(1, 2).flatten(0, 1)
    # In float64, because the smallest variances are as small as a float32 sum's rounding error.
    variances, components = torch.linalg.eigh((patches.T @ patches).double() / len(patches))
    count = min(first.out_channels // 2, len(variances))
    strongest = torch.arange(len(variances) - 1, len(variances) - 1 - count, -1)
    filters = (components[:, strongest] / (variances[strongest] + 5e-4).sqrt()).T
    if count < first.out_channels // 2:  # of unit variance too, as the components are independent
        drawn = first.weight[: first.out_channels // 2 - count].flatten(1).double()
        filters = torch.cat([filters, F.normalize(drawn) @ filters])
    # The linear algebra library chooses an eigenvector's sign; choose our own, so that all machines start alike.
    signs = filters.gather(1, filters.abs().argmax(1, keepdim=True)).sign()
    weight = torch.cat([filters * signs, -filters * signs]).view_as(first.weight)
    first.weight.copy_(weight * (math.sqrt(first.out_channels) / weight.norm()))
