"""The reference network: 150,576 parameters, receptive field 93, no pooling but the last.

Four convolutional blocks and an output block. Every choice keeps the count down or the receptive field up:

- strided 3x3 convolutions halve the resolution, so that the network learns what to keep
  (Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015, arXiv:1412.6806);
- a depthwise-separable pair in the first block, where the images are largest
  (Howard et al., "MobileNets", 2017, arXiv:1704.04861);
- 1x1 convolutions squeeze 64 channels to 16 before every new block of 3x3
  (Lin et al., "Network In Network", 2014, arXiv:1312.4400, as is the global average pooling at the end);
- a 3x3 convolution of dilation 3 in the last block, which widens the receptive field by 48 pixels at the price of none
  (Yu and Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", 2016, arXiv:1511.07122).
"""

from __future__ import annotations

from torch import nn

from .classifier import Classifier


def _conv(
    in_channels: int, out_channels: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1, dropout: float | None
) -> list[nn.Module]:
    """A bias-free convolution that keeps the size at stride 1, BatchNorm, ReLU and, unless it is None, dropout."""
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    ]
    return layers if dropout is None else [*layers, nn.Dropout(dropout)]


def reference(
    num_classes: int = 10, dropout: float = 0.0, in_channels: int = 3, input_size: tuple[int, int] = (32, 32)
) -> Classifier:
    """Build the reference network: see ``Architecture``.

    Args:
        num_classes: the number of logits; 10 gives exactly 150,576 parameters.
        dropout: the probability, in 0..1, of each of its nine dropout layers. Zero by default: in a short training so
            small a network underfits, and has nothing to regularise (docs/reference_network.md).
        in_channels: of the images.
        input_size: (height, width) of the images; any.
    """
    p = dropout
    blocks = {
        "c1": nn.Sequential(
            *_conv(in_channels, 16, dropout=p),
            *_conv(16, 32, dropout=p),
            nn.Conv2d(32, 32, 3, padding=1, groups=32),
            nn.Conv2d(32, 64, 1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            *_conv(64, 64, stride=2, dropout=p),
        ),
        "c2": nn.Sequential(
            *_conv(64, 16, 1, dropout=None),
            *_conv(16, 32, dropout=p),
            *_conv(32, 32, dropout=p),
            *_conv(32, 64, stride=2, dropout=p),
        ),
        "c3": nn.Sequential(
            *_conv(64, 16, 1, dropout=None),
            *_conv(16, 32, dropout=p),
            *_conv(32, 64, dropout=p),
            *_conv(64, 64, stride=2, dropout=p),
        ),
        "c4": nn.Sequential(
            *_conv(64, 16, 1, dropout=None),
            *_conv(16, 64, dilation=3, dropout=None),
        ),
        "output": nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(64, num_classes, 1, bias=False),
        ),
    }
    arguments = {"num_classes": num_classes, "dropout": dropout}
    return Classifier(blocks, name="reference", arguments=arguments, input_size=(in_channels, *input_size))
