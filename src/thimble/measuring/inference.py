"""Compute a model's logits on images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thimble.data.dataset import normalize
from thimble.errors import RunError
from thimble.models import frozen

_IMAGES, _IMAGES_PER_THREAD = 32, 16
"""Images of 32x32 pixels at a time on a CPU, at least, and for each thread. What a layer returns then stays in the
processor's cache and in the allocator's hands: 500 at a time take up to 6 times as long (benchmarks/results/
inference_batch_2026-11-27.txt)."""
_IMAGES_ON_GPU = 500


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
            as many as the processor's cache bears, on a GPU 500, of 32x32 pixels; fewer of larger images.
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
    parameter = next(model.parameters(), torch.empty(0))
    size = batch_size or _batch_size(math.prod(images.shape[2:]), on_cpu=parameter.device.type == "cpu")
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


def _batch_size(pixels: int, *, on_cpu: bool) -> int:
    """How many images of so many pixels to compute at a time."""
    most = max(_IMAGES, _IMAGES_PER_THREAD * torch.get_num_threads()) if on_cpu else _IMAGES_ON_GPU
    return max(1, min(most, most * 32 * 32 // max(1, pixels)))
