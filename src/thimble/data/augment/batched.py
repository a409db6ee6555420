"""Augment a whole batch at once, on the device of the images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .settings import AugmentConfig, fill_color


class BatchAugmenter:
    """The transforms and distributions of ``Augmenter``, for a whole batch at once.

    Flip, shift, scale, rotation, border and rectangle are combined into one index of source pixels. Rounding follows
    Albumentations: shifts and the rectangle's sides are whole pixels, rounded towards zero. Also as there, height and
    width are scaled independently. Only changes of colour and sharpening compute new pixel values.

    Args:
        config: probabilities and ranges.
        mean: as for ``Augmenter``.
    """

    def __init__(self, config: AugmentConfig, mean: tuple[float, ...]) -> None:
        self.config = config
        self.fill = torch.tensor([fill_color(mean)], dtype=torch.uint8)

    def augment(self, images: Tensor, seed: int) -> Tensor:
        """Augment uint8 images (N, channels, height, width); the result is a new tensor in channels-last memory.

        The same images, seed and kind of device give the same result. Nothing here waits for a GPU.
        """
        count, device = len(images), images.device
        generator = torch.Generator(device).manual_seed(seed)
        draws = torch.rand(12, count, 1, 1, generator=generator, device=device)
        if self.num_draws > 12:  # drawn separately, so that a seed gives the same batch as in older versions
            more = torch.rand(8, count, 1, 1, 1, generator=generator, device=device)
            draws = torch.cat([draws, more.view(8, count, 1, 1)])
        return self.transform(images, draws)

    @property
    def num_draws(self) -> int:
        """The number of random numbers per image: 12, and 8 more if there are changes of colour or sharpening."""
        return 20 if self.config.color_probability > 0 or self.config.sharpen_probability > 0 else 12

    def transform(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment images with given random numbers, float32 (num_draws, N, 1, 1), uniform in 0..1, on their device.

        The same images and draws give the same result on every device, except that a rotation's sine may differ in its
        last bit.
        """
        count, channels, height, width = images.shape
        first = torch.arange(count, device=images.device).view(-1, 1, 1) * (height * width)
        sources = first + self._sources(draws[:7], height, width)
        # Rows of channels: one index fetches a whole pixel, and the result is in channels-last memory.
        pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
        if self.num_draws > 12:
            moved = pixels.index_select(0, sources.flatten()).view(count, height, width, channels).permute(0, 3, 1, 2)
            pixels = self._recolor(moved, draws[12:].unsqueeze(4)).permute(0, 2, 3, 1).reshape(-1, channels)
            sources = torch.arange(len(pixels), device=images.device).view_as(sources)
        if self.config.cutout_probability > 0:
            sources = sources.masked_fill(self._hole(draws[7:12], height, width), len(pixels))
            pixels = torch.cat([pixels, self.fill.to(images.device, non_blocking=True)])
        augmented = pixels.index_select(0, sources.flatten()).view(count, height, width, channels)
        return augmented.permute(0, 3, 1, 2)

    def _recolor(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change brightness, contrast, saturation and sharpness as Albumentations does: uint8, the same shape."""
        config = self.config
        changes = config.color_limit * (2 * draws[:3] - 1) * (draws[3:6] < config.color_probability)
        brightness, contrast, saturation = 1 + changes
        sharpness = config.sharpen_limit * draws[6] * (draws[7] < config.sharpen_probability)
        pixels = (images * brightness).clamp(0, 255)
        pixels = pixels.lerp(_gray(pixels).mean((2, 3), keepdim=True).round(), 1 - contrast).clamp(0, 255)
        pixels = pixels.lerp(_gray(pixels), 1 - saturation).clamp(0, 255)
        # The mean of each pixel's 3x3 neighbourhood, itself included; at the edges, pixels are mirrored as in OpenCV.
        means = F.avg_pool2d(F.pad(pixels, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
        sharpened: Tensor = pixels + 9 * sharpness * (pixels - means)
        return sharpened.round().clamp(0, 255).to(torch.uint8)

    def _sources(self, draws: Tensor, height: int, width: int) -> Tensor:
        """The index, row by row, of the source pixel of each pixel in its image: int64 (N, height, width)."""
        config, device = self.config, draws.device
        across, down = config.flip_probabilities
        flip, move = draws[0] < across, draws[1] < config.affine_probability
        shift_x, shift_y, scale_x, scale_y, turn = (2 * draws[2:] - 1) * move  # -1..1; 0 if an image does not move
        # The inverse of "scale, rotate, shift about the centre", as each pixel looks up its source. Without rotation,
        # rows and columns stay separate, small tensors.
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        x = (
            torch.arange(width, device=device).view(1, 1, -1)
            - middle_x
            - (config.shift_limit * width * shift_x).trunc()
        )
        y = (
            torch.arange(height, device=device).view(1, -1, 1)
            - middle_y
            - (config.shift_limit * height * shift_y).trunc()
        )
        if config.rotate_limit_degrees > 0:
            angle = torch.deg2rad(config.rotate_limit_degrees * turn)
            x, y = x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()
        columns = _reflect((x / (1 + config.scale_limit * scale_x) + middle_x).round(), width)
        rows = _reflect((y / (1 + config.scale_limit * scale_y) + middle_y).round(), height)
        # The flip comes first in the pipeline, so last in its inverse. The indices are small whole numbers, so float32
        # is exact.
        columns = torch.where(flip, width - 1 - columns, columns)
        if down:
            # Decided by the lower half of the same random number's bits, so that no other number changes.
            rows = torch.where((1024 * draws[0]).frac() < down, height - 1 - rows, rows)
        return (rows * width + columns).long()

    def _hole(self, draws: Tensor, height: int, width: int) -> Tensor:
        """Whether the rectangle covers each pixel: bool (N, height, width)."""
        cover, tall, wide, top, left = draws
        smallest, largest = self.config.cutout_size
        tall = (height * (smallest + (largest - smallest) * tall)).trunc()
        wide = (width * (smallest + (largest - smallest) * wide)).trunc()
        rows = torch.arange(height, device=draws.device).view(1, -1, 1) - (top * (height - tall + 1)).trunc()
        columns = torch.arange(width, device=draws.device).view(1, 1, -1) - (left * (width - wide + 1)).trunc()
        in_rows = (rows >= 0) & (rows < tall) & (cover < self.config.cutout_probability)
        inside: Tensor = in_rows & (columns >= 0) & (columns < wide)
        return inside


def _gray(images: Tensor) -> Tensor:
    """The luminance by ITU-R BT.601, as in OpenCV: (N, 3 or 1, height, width) to (N, 1, height, width)."""
    if images.shape[1] == 1:
        return images
    gray: Tensor = 0.299 * images[:, :1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:]
    return gray


def _reflect(indices: Tensor, size: int) -> Tensor:
    """Mirror indices outside 0..size-1 into it, without repeating the edge: OpenCV's BORDER_REFLECT_101."""
    last = size - 1
    mirrored: Tensor = last - (last - indices.abs() % max(1, 2 * last)).abs()
    return mirrored
