"""Build ``sprint``, the network that learns the most in a minute of a CPU.

Its training takes less than two thirds of the reference network's time (docs/fast_recipe.md), at the same budget of
parameters, because

- every layer is a dense convolution, which does the most arithmetic for every byte that it moves; depthwise and 1x1
  convolutions wait for memory;
- max-pooling follows the first convolution of each stage at once, so that BatchNorm and ReLU, which are nothing but
  traffic, see a quarter of the pixels;
- little happens at full resolution, and there are 8 layers with weights, not 17.

The layout is from cifar10-airbench (K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024,
arXiv:2404.00498), at a thirteenth of its size, with ReLU, which an int8 export can compute.
"""

from __future__ import annotations

from torch import nn

from .classifier import Classifier
from .family import GlobalAverage

_STEM = 24
"""Channels of the first layer: the 12 principal components of 2x2 pixels, with both signs (``tricks.whitening``)."""
_WIDTHS = (32, 64, 64)
"""Channels of the stages, which halve the resolution."""


def stage(in_channels: int, out_channels: int) -> nn.Sequential:
    """Halve the resolution, then look again: (N, in_channels, h, w) to (N, out_channels, h // 2, w // 2)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def sprint(
    num_classes: int = 10, dropout: float = 0.0, in_channels: int = 3, input_size: tuple[int, int] = (32, 32)
) -> Classifier:
    """Build the network: see ``Architecture``. With ten classes it has 146,768 parameters.

    Args:
        num_classes: the number of logits.
        dropout: the probability, in 0..1, of the dropout before the head.
        in_channels: the images' channels.
        input_size: (height, width) of the images, at least 18 pixels each, so that three poolings can halve images of
            half that size. From 64 pixels on, the first layer has a stride and a larger window.

    Raises:
        ValueError: the images are too small.
    """
    if min(input_size) < 18:
        raise ValueError(f"sprint cannot take images of {input_size} pixels: expected at least 18 by 18")
    stride = max(1, min(input_size) // 32)
    blocks = {
        "stem": nn.Sequential(
            nn.Conv2d(in_channels, _STEM, stride + 1, stride, bias=False), nn.BatchNorm2d(_STEM), nn.ReLU()
        ),
        **{
            f"stage{number}": stage(before, width)
            for number, (before, width) in enumerate(zip((_STEM, *_WIDTHS), _WIDTHS, strict=False), 1)
        },
        "output": nn.Sequential(
            GlobalAverage(), nn.Dropout(dropout), nn.Conv2d(_WIDTHS[-1], num_classes, 1, bias=False)
        ),
    }
    arguments = {"num_classes": num_classes, "dropout": dropout}
    return Classifier(blocks, name="sprint", arguments=arguments, input_size=(in_channels, *input_size))
