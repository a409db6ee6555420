"""Choose whether training images may be mirrored: a mirrored character is another character, or none.

The rule asks a classifier that needs no training. Each image takes the class of the image most like it, once as it is
and once mirrored. If mirrored images find their class less than half as often, mirroring would teach something false.
docs/log.md has the shares on eight datasets, and what mirroring did to the accuracy of some.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from thimble.data.dataset import ImageDataset

from .settings import AugmentConfig

_MOST_IMAGES = 3_000
_SIDE = 16
_CHUNK = 250
"""Images that are read at a time: 250 of 128 pixels are 49 MB as floats."""
_LEAST_SHARE = 0.5
_SEED = 2_021


def choose_flip(data: ImageDataset) -> tuple[Literal["none", "horizontal"], str]:
    """Choose whether to mirror images horizontally.

    Args:
        data: the training images; at most 3,000 of them are looked at.

    Returns:
        the choice, and the reason in words that follow "as".
    """
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(_SEED))[:_MOST_IMAGES]
    plain, turned = [], []
    for some in torch.split(chosen, _CHUNK):
        images = data.images[some].cpu()
        plain.append(_features(images))
        turned.append(_features(images.flip(3)))
    known, mirrored, labels = torch.cat(plain), torch.cat(turned), data.labels[chosen].cpu()
    kept, still = _share_found(known, known, labels), _share_found(mirrored, known, labels)
    share = still / kept if kept > 0 else 1.0
    reason = f"the most similar image has the same class for {kept:.0%} of the images, and for {still:.0%} if mirrored"
    return ("horizontal" if share >= _LEAST_SHARE else "none"), reason


def decided(config: AugmentConfig, data: ImageDataset) -> AugmentConfig:
    """The settings with ``flip`` chosen by the training images if it is auto."""
    return dataclasses.replace(config, flip=choose_flip(data)[0]) if config.flip == "auto" else config


def _features(images: Tensor) -> Tensor:
    """Small versions of images, uint8 (N, channels, h, w), without their mean colour, as unit vectors."""
    small = F.interpolate(images.float(), size=(_SIDE, _SIDE), mode="bilinear", antialias=True, align_corners=False)
    return F.normalize((small - small.mean((2, 3), keepdim=True)).flatten(1), dim=1)


def _share_found(asked: Tensor, known: Tensor, labels: Tensor) -> float:
    """The share of images (N, features) whose most similar other image has their label."""
    similarity = (asked @ known.T).fill_diagonal_(-2.0)
    return (labels[similarity.argmax(1)] == labels).double().mean().item()
