"""Build the Thimble family: ``thimble-78k``, ``thimble-97k`` and ``thimble-150k``, for the most accuracy per parameter.

Each network is a stem, two stages of equal residual blocks, and a head; ``TABLE`` lists the stages. Most parameters
work at 16x16, where each makes 256 multiply-adds per image; the others work at 32x32. The stem brings larger images, of
64 to 128 pixels, down to 32x32, without more parameters. A block is

    depthwise 3x3 -> pointwise, wider -> BatchNorm, ReLU -> pointwise, narrow -> BatchNorm, scaled -> add

and uses

- depthwise-separable convolutions, which mix space and channels in separate layers, with about a ninth of the
  parameters: L. Sifre and S. Mallat (2014); A. Howard et al., "MobileNets" (2017, arXiv:1704.04861);
- a residual connection around a block that is wide inside and narrow outside, without an activation after its last
  convolution: M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018, arXiv:1801.04381);
- the depthwise convolution first, while there are few channels: Z. Liu et al., "A ConvNet for the 2020s" (2022,
  arXiv:2201.03545);
- a small learned scale per channel at the end of each branch, so that a block begins near the identity: H. Touvron et
  al., "Going deeper with Image Transformers" (2021, arXiv:2103.17239). Here the last BatchNorm's weight is this scale.

We use BatchNorm, not LayerNorm, because an export can fold it into the convolutions. All kernels are 3x3: splitting the
channels among 3x3, 7x7 and dilated 7x7 kernels was no better in a short training and took twice the time (docs/log.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from .classifier import Classifier, Residual


@dataclass(frozen=True)
class Stage:
    """A sequence of equal blocks.

    Attributes:
        width: channels between the blocks.
        hidden: channels inside a block.
        blocks: the number of blocks.
    """

    width: int
    hidden: int
    blocks: int


TABLE: dict[str, tuple[int, tuple[Stage, ...]]] = {
    "thimble-78k": (78_666, (Stage(32, 72, 4), Stage(48, 88, 6))),
    "thimble-97k": (97_530, (Stage(32, 88, 4), Stage(48, 96, 7))),
    "thimble-150k": (150_576, (Stage(40, 64, 4), Stage(64, 112, 8))),
}
"""By name: the maximum number of parameters for ten classes, and the stages; the first works at full resolution. The
budgets are the sizes of MLPerf Tiny's ResNet-8, of the best published network of this size, and of the reference
network."""

_SCALE = 0.2
"""The initial scale of a branch. With 0, the branch would learn nothing in the first step."""


_STEM_CHANNELS = 12
"""Channels inside the stem for images of 128 pixels."""


def block(width: int, hidden: int) -> Residual:
    """A residual block that mixes space, then channels: (N, width, h, w) to the same shape."""
    scale = nn.BatchNorm2d(width)
    nn.init.constant_(scale.weight, _SCALE)
    return Residual(
        _depthwise(width),
        nn.Conv2d(width, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, width, 1, bias=False),
        scale,
    )


def _stem(in_channels: int, width: int, stride: int) -> nn.Sequential:
    """The first layers: (N, in_channels, h, w) to (N, width, h / stride, w / stride), for a stride of 1 to 4."""
    if stride < 4:
        # Squares of 3x3 pixels tile an image of 96 pixels exactly; the others overlap.
        first = nn.Conv2d(in_channels, width, 3, max(1, stride), padding=0 if stride == 3 else 1, bias=False)
        return nn.Sequential(first, nn.BatchNorm2d(width), nn.ReLU())
    # Twice a stride of 2. The few channels between keep it as small as the stem of 3x3.
    return nn.Sequential(
        nn.Conv2d(in_channels, _STEM_CHANNELS, 3, 2, padding=1, bias=False),
        nn.BatchNorm2d(_STEM_CHANNELS),
        nn.ReLU(),
        HalvingDepthwise(_STEM_CHANNELS),
        nn.Conv2d(_STEM_CHANNELS, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)


class HalvingDepthwise(nn.Conv2d):
    """A depthwise 3x3 convolution of stride 2: (N, channels, h, w) to (N, channels, (h + 1) // 2, (w + 1) // 2).

    In training it computes every pixel and keeps every second one, which gives the same values. On a CPU, the gradient
    of a strided depthwise convolution takes an eighth of a training step; without a stride it is cheap.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, channels, h, w) to half its height and width."""
        if not self.training:
            return super().forward(images)
        return F.conv2d(images, self.weight, padding=1, groups=self.groups)[:, :, ::2, ::2]


class GlobalAverage(nn.AdaptiveAvgPool2d):
    """The mean over all pixels: (N, channels, h, w) to (N, channels, 1, 1).

    In training it pools over a window of the image's size: the same function, but its gradient keeps the memory format
    of the input. The gradient of ``nn.AdaptiveAvgPool2d`` is always NCHW. The backward pass would keep that format
    through the whole last stage, and its BatchNorms and additions would run up to five times slower.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, channels, h, w) to (N, channels, 1, 1)."""
        return F.avg_pool2d(images, images.shape[-2:]) if self.training else super().forward(images)


def thimble(
    name: str,
    num_classes: int = 10,
    dropout: float = 0.0,
    in_channels: int = 3,
    input_size: tuple[int, int] = (32, 32),
) -> Classifier:
    """Build a network of the family: see ``Architecture``.

    Args:
        name: one of ``TABLE``.
        num_classes: the number of logits. With more than ten, the network has more parameters than its name says.
        dropout: the probability, in 0..1, of the dropout before the head.
        in_channels: the images' channels.
        input_size: (height, width) of the images; any. From 64 pixels on, the stem has a stride.

    Raises:
        ValueError: its stages in the table have more parameters than its budget.
    """
    budget, stages = TABLE[name]
    width = stages[0].width
    blocks: dict[str, nn.Module] = {"stem": _stem(in_channels, width, min(input_size) // 32)}
    for number, stage in enumerate(stages, start=1):
        if number > 1:
            blocks[f"down{number - 1}"] = nn.Sequential(
                HalvingDepthwise(width), nn.Conv2d(width, stage.width, 1, bias=False), nn.BatchNorm2d(stage.width)
            )
        width = stage.width
        blocks[f"stage{number}"] = nn.Sequential(*(block(width, stage.hidden) for _ in range(stage.blocks)))
    blocks["head"] = nn.Sequential(GlobalAverage(), nn.Dropout(dropout), nn.Conv2d(width, num_classes, 1))
    arguments = {"num_classes": num_classes, "dropout": dropout}
    model = Classifier(blocks, name=name, arguments=arguments, input_size=(in_channels, *input_size))
    if num_classes <= 10 and in_channels <= 3 and model.num_parameters > budget:
        raise ValueError(f"{name} has {model.num_parameters:,} parameters: expected at most {budget:,}, see TABLE")
    return model


MODELS = {name: partial(thimble, name) for name in TABLE}
