"""A network of 1,996 parameters for tests of what surrounds a network: training, run folders, reports.

It has what the training loop treats in a way of its own: BatchNorm, dropout, a first convolution to whiten, strided and
dense hidden ones for Muon, a depthwise one and biases for SGD, and a global pooling. Its blocks are called as the
reference network's are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from torch import nn

from thimble.models import MODELS
from thimble.models.classifier import Classifier

NAME = "tiny"


def tiny(
    num_classes: int = 10, dropout: float = 0.0, in_channels: int = 3, input_size: tuple[int, int] = (32, 32)
) -> Classifier:
    """Build the tiny network."""
    blocks = {
        "c1": nn.Sequential(
            *_conv(in_channels, 8, dropout=dropout),
            *_conv(8, 8, stride=2, dropout=dropout),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.Conv2d(8, 12, 1),
            nn.BatchNorm2d(12),
            nn.ReLU(),
        ),
        "c2": nn.Sequential(*_conv(12, 8, stride=2, dropout=dropout)),
        "output": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, num_classes, 1, bias=False)),
    }
    arguments = {"num_classes": num_classes, "dropout": dropout}
    return Classifier(blocks, name=NAME, arguments=arguments, input_size=(in_channels, *input_size))


def _conv(in_channels: int, out_channels: int, *, stride: int = 1, dropout: float) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU(), nn.Dropout(dropout)]


@contextmanager
def registered() -> Iterator[None]:
    """``build_model`` knows it, and every file that it is saved to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, NAME, tiny)
        yield
