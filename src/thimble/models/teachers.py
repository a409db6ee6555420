"""Build teachers: large networks that train fast, for the distillation of small ones (``training/tricks``).

A teacher is a stem, three stages and a head. Each stage halves the resolution by max-pooling after its first
convolution; if two more convolutions follow, they form a residual branch. The layout is from D. Page's "How to Train
Your ResNet" (2018); widths and depths are from cifar10-airbench (K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a
Single GPU", 2024, arXiv:2404.00498).
"""

from __future__ import annotations

from functools import partial

from torch import nn

from .classifier import Classifier, Residual

TEACHERS: dict[str, tuple[tuple[int, ...], int]] = {
    "teacher-2m": ((64, 256, 256), 2),
    "teacher-10m": ((128, 384, 512), 3),
    "teacher-20m": ((128, 512, 768), 3),
}
"""By name: the widths of the stages, and the convolutions in each."""


def stage(in_channels: int, out_channels: int, depth: int) -> nn.Sequential:
    """Halve the resolution and widen: (N, in_channels, h, w) to (N, out_channels, h // 2, w // 2), h and w above 1.

    Args:
        in_channels, out_channels: channels of the first convolution; the others keep out_channels.
        depth: the number of convolutions, at least 1. From 3 on, those after the first form a residual branch.
    """
    first = [_conv(in_channels, out_channels), nn.MaxPool2d(2), *_norm(out_channels)]
    rest = [layer for _ in range(depth - 1) for layer in (_conv(out_channels, out_channels), *_norm(out_channels))]
    return nn.Sequential(*first, *([Residual(*rest)] if depth > 2 else rest))


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)


def _norm(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.GELU()]


def teacher(
    name: str,
    num_classes: int = 10,
    dropout: float = 0.0,
    in_channels: int = 3,
    input_size: tuple[int, int] = (32, 32),
) -> Classifier:
    """Build a teacher: see ``Architecture``.

    Args:
        name: one of ``TEACHERS``.
        num_classes: the number of logits.
        dropout: the probability, in 0..1, of the dropout before the head.
        in_channels: the images' channels.
        input_size: (height, width) of the images, at least 8 pixels each: three poolings halve them.

    Raises:
        ValueError: the images are too small.
    """
    if min(input_size) < 8:
        raise ValueError(f"{name} cannot take images of {input_size} pixels: expected at least 8 by 8")
    widths, depth = TEACHERS[name]
    blocks: dict[str, nn.Module] = {"stem": nn.Sequential(_conv(in_channels, 32), *_norm(32))}
    for number, (before, width) in enumerate(zip((32, *widths), widths, strict=False), start=1):
        blocks[f"stage{number}"] = stage(before, width, depth)
    blocks["head"] = nn.Sequential(
        nn.AdaptiveMaxPool2d(1), nn.Dropout(dropout), nn.Conv2d(widths[-1], num_classes, 1, bias=False)
    )
    arguments = {"num_classes": num_classes, "dropout": dropout}
    return Classifier(blocks, name=name, arguments=arguments, input_size=(in_channels, *input_size))


MODELS = {name: partial(teacher, name) for name in TEACHERS}
