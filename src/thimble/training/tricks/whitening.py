"""Where the weights begin, when they begin better than at random: a first convolution that knows the data."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def whiten_first_convolution(model: nn.Module, images: Tensor) -> None:
    """Set the first convolution to the strongest principal components of image patches, each with both signs.

    The components are scaled to unit variance (up to a small floor, so that noise is not blown up), and the whole bank
    to the norm ``sqrt(out_channels)``. With both signs, ReLU loses nothing of them. From cifar10-airbench (K. Jordan,
    "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, arXiv:2404.00498), which has it from tysam-code's
    hlb-CIFAR10; unlike there, the weights go on being trained.

    Args:
        model: begins with a Conv2d of groups 1, of an even number of output channels, at most twice its patch's size.
        images: float (N, channels, height, width), normalised; some thousands are enough.

    Raises:
        ValueError: the first convolution is of another kind.
    """
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.groups != 1 or first.out_channels % 2 or first.out_channels > 2 * first.weight[0].numel():
        raise ValueError(f"the first convolution is {first}: expected a dense one of few and even output channels")
    patches = F.unfold(images, first.kernel_size).transpose(1, 2).flatten(0, 1)
    # In float64: the smallest variances are of the order of a float32 sum's rounding.
    variances, components = torch.linalg.eigh((patches.T @ patches).double() / len(patches))
    strongest = torch.arange(len(variances) - 1, len(variances) - 1 - first.out_channels // 2, -1)
    filters = (components[:, strongest] / (variances[strongest] + 5e-4).sqrt()).T
    # An eigenvector's sign is the linear algebra library's choice; ours makes every machine begin alike.
    signs = filters.gather(1, filters.abs().argmax(1, keepdim=True)).sign()
    weight = torch.cat([filters * signs, -filters * signs]).view_as(first.weight)
    first.weight.copy_(weight * (math.sqrt(first.out_channels) / weight.norm()))
