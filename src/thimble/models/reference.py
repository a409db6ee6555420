"""Build the reference network: 150,576 parameters, receptive field 93, no pooling except at the end.

It has four convolutional blocks and an output block. Every choice saves parameters or widens the receptive field:

- strided 3x3 convolutions, not pooling, halve the resolution, so that the network learns what to keep
  (Springenberg et al., "Striving for Simplicity: The All Convolutional Net", 2015, arXiv:1412.6806);
- the first block, where the images are largest, has a depthwise-separable pair
  (Howard et al., "MobileNets", 2017, arXiv:1704.04861);
- 1x1 convolutions squeeze 64 channels to 16 before each further block of 3x3 convolutions; like the global average
  pooling at the end, they come from Lin et al., "Network In Network", 2014, arXiv:1312.4400;
- a 3x3 convolution of dilation 3 in the last block widens the receptive field by 48 pixels without extra parameters
  (Yu and Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", 2016, arXiv:1511.07122).
"""

from __future__ import annotations

from torch import nn

from .classifier import Classifier


def _conv(
    in_channels: int, out_channels: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1, dropout: float | None
) -> list[nn.Module]:
    """Convolution without bias, which keeps the size at stride 1; BatchNorm; ReLU; Dropout unless it is None."""
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
        dropout: the probability, in 0..1, of each of its nine dropout layers. Zero by default: in a short training,
            such a small network underfits and needs no regularisation (docs/reference_network.md).
        in_channels: the images' channels.
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
