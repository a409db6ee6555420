"""Compute a model's logits on images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thimble.data.dataset import normalize
from thimble.errors import RunError
from thimble.models import frozen

_MOST_IMAGES = 500
_MOST_PIXELS = _MOST_IMAGES * 32 * 32


def infer(
    model: nn.Module,
    images: Tensor,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    batch_size: int | None = None,
    flip: bool = False,
) -> Tensor:
    """Compute the logits of images, in eval mode, on the device of the model's parameters.

    Several threads may use one model at once, also while it trains: each uses its own copy in eval mode (``frozen``).

    Args:
        model: takes normalised float images (N, channels, height, width); its mode does not change.
        images: uint8 (N, channels, height, width), N at least 1, on any device.
        mean: per channel, for pixels in 0..1.
        std: per channel, for pixels in 0..1.
        batch_size: images at a time; it limits the memory and does not change the result, except for rounding. Default:
            500, or fewer of more than 32x32 pixels, so that as many pixels are computed at a time.
        flip: test-time augmentation: average the logits of each image and its mirror image.

    Returns:
        float32 (N, num_classes) on the CPU, all finite.

    Raises:
        ValueError: the images have another type or shape, or there are none.
        RunError: a logit is nan or infinite.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
        raise ValueError(
            f"images {images.dtype} {tuple(images.shape)}: expected uint8 (N, channels, height, width), N >= 1"
        )
    size = batch_size or max(1, min(_MOST_IMAGES, _MOST_PIXELS // max(1, math.prod(images.shape[2:]))))
    parameter = next(model.parameters(), torch.empty(0))
    batches: list[Tensor] = []
    asked = frozen(model) if any(module.training for module in model.modules()) else model
    with torch.inference_mode():
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            # Convolutions are fast in channels-last memory; normalize keeps it.
            batch = batch.to(parameter.device, memory_format=torch.channels_last)
            inputs = normalize(batch, mean, std).to(parameter.dtype)
            logits = asked(inputs).float()
            if flip:
                logits = (logits + asked(inputs.flip(3)).float()) / 2
            batches.append(logits.cpu())
    result = torch.cat(batches)
    num_bad = len(result) - int(result.isfinite().all(1).sum())
    if num_bad:
        name = getattr(model, "name", type(model).__name__)
        raise RunError(
            f"model {name} gives nan or infinite logits for {num_bad} of {len(result)} images: expected finite numbers;"
            " train it again, with a lower learning rate if this repeats"
        )
    return result
