"""Prepare a network for export: remove what only training needs, and add the preprocessing.

BatchNorm is folded into the preceding convolution (B. Jacob et al., "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", 2018, arXiv:1712.05877, section 3.2), dropout is removed, and the head
becomes a mean and a matrix product. All formats are built from this.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from thimble.data.dataset import normalize
from thimble.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Deployment:
    """A network prepared for export, from which a format builds its file.

    Attributes:
        network: in eval mode, on the CPU, float32. It takes what ``inputs`` returns.
        input_size: (channels, height, width) of the images.
        mean: per channel (red, green, blue; or grey), for pixels in 0..1.
        std: per channel (red, green, blue; or grey), for pixels in 0..1.
        preprocess: whether the network normalises its input itself.
        softmax: whether the network returns probabilities instead of logits.
        metadata: the file's metadata, as JSON values.
        pixels: the type of the pixels that a .tflite file takes, "uint8" or "int8"; the other formats have no choice.
        calibration: training images, uint8 (N, channels, height, width), to find the value ranges for an int8 file;
            None for a float32 file.
        samples: test images, uint8 (N, channels, height, width), to try the file with on a device; or None.
    """

    network: nn.Module
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preprocess: bool
    softmax: bool
    metadata: dict[str, Any]
    calibration: Tensor | None = None
    pixels: str = "uint8"
    samples: Tensor | None = None

    def inputs(self, images: Tensor) -> Tensor:
        """Convert images, uint8 (N, channels, height, width), to the network's inputs; see ``as_inputs``."""
        return as_inputs(images, self.preprocess, self.mean, self.std)

    def example(self, num_images: int = 2) -> Tensor:
        """Grey images as inputs, to trace the network."""
        return self.inputs(torch.full((num_images, *self.input_size), 128, dtype=torch.uint8))


def as_inputs(images: Tensor, preprocess: bool, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Convert images to an exported file's inputs.

    Args:
        images: uint8 (N, channels, height, width).
        preprocess: whether the file normalises them itself.
        mean, std: per channel, for pixels in 0..1.

    Returns:
        With ``preprocess``, uint8 (N, height, width, channels), red first, the layout of Pillow; else normalised
        float32 (N, channels, height, width).
    """
    if preprocess:
        return images.permute(0, 2, 3, 1).contiguous()
    return normalize(images.contiguous(), mean, std)


def deploy(
    model: Classifier,
    *,
    preprocess: bool = True,
    softmax: bool = False,
    metadata: dict[str, Any] | None = None,
    calibration: Tensor | None = None,
    pixels: str = "uint8",
    samples: Tensor | None = None,
) -> Deployment:
    """Prepare a copy of the model for export; see ``Deployment``. The model itself does not change."""
    network: nn.Module = _strip(copy.deepcopy(model).cpu().float().eval())
    if preprocess or softmax:
        network = _Whole(network, model.mean if preprocess else None, model.std, softmax)
    return Deployment(
        network=network.eval().requires_grad_(False),
        input_size=model.input_size,
        mean=model.mean,
        std=model.std,
        preprocess=preprocess,
        softmax=softmax,
        metadata=metadata or {},
        calibration=calibration,
        pixels=pixels,
        samples=samples,
    )


class GlobalMean(nn.Module):
    """Global average pooling, (N, channels, height, width) to (N, channels).

    ``nn.AdaptiveAvgPool2d`` would be exported with operations on strides, which not every runtime supports.
    """

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class _Whole(nn.Module):
    """A network with its preprocessing and its softmax."""

    scale: Tensor
    shift: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...] | None, std: tuple[float, ...], softmax: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.softmax = softmax
        self.preprocess = mean is not None
        if mean is not None:  # one multiplication and one addition per value, like thimble.data.dataset.normalize
            self.register_buffer("scale", torch.tensor([1.0 / (255.0 * s) for s in std]))
            self.register_buffer("shift", torch.tensor([-m / s for m, s in zip(mean, std, strict=True)]))

    def forward(self, images: Tensor) -> Tensor:
        if self.preprocess:
            images = (images.to(torch.float32) * self.scale + self.shift).permute(0, 3, 1, 2)
        logits: Tensor = self.network(images)
        return logits.softmax(1) if self.softmax else logits


def _strip(module: nn.Module) -> Any:
    """Remove BatchNorm and dropout from a module that is a plain sequence of layers, in place."""
    layers: list[nn.Module] = []
    pooled = False
    for layer in module.children():
        if isinstance(layer, nn.Sequential):
            layers.append(_strip(layer))
        elif isinstance(layer, nn.BatchNorm2d):
            _fold(layer, layers)
        elif isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
            layers.append(GlobalMean())
            pooled = True
        elif isinstance(layer, nn.Conv2d) and pooled:
            layers.append(_as_linear(layer))
        elif isinstance(layer, nn.ReLU) and layers and isinstance(layers[-1], nn.MaxPool2d):
            layers.insert(-1, layer)  # the same, and int8 spends no values on what is negative
        elif not isinstance(layer, nn.Dropout):
            layers.append(layer)
    _replace(module, layers)
    return module


def _fold(norm: nn.BatchNorm2d, layers: list[nn.Module]) -> None:
    """Fold a BatchNorm into the convolution before it, also through a max-pooling between them.

    The maximum of scaled values is the scaled maximum only if the scale is positive. After anything else, the BatchNorm
    becomes a depthwise 1x1 convolution, which every format knows.
    """
    pooled = len(layers) > 1 and isinstance(layers[-1], nn.MaxPool2d) and bool((norm.weight > 0).all())
    at = len(layers) - (2 if pooled else 1)
    before = layers[at] if at >= 0 else None
    if isinstance(before, nn.Conv2d):
        layers[at] = fuse_conv_bn_eval(before, norm)
        return
    channels = norm.num_features
    identity = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
    nn.init.ones_(identity.weight)
    layers.append(fuse_conv_bn_eval(identity.eval(), norm))


def _replace(module: nn.Module, layers: list[nn.Module]) -> None:
    for name, _ in list(module.named_children()):
        delattr(module, name)
    for index, layer in enumerate(layers):
        module.add_module(str(index), layer)


def _as_linear(conv: nn.Conv2d) -> nn.Linear:
    """Convert a 1x1 convolution, which follows the pooling and so sees a single pixel, to a linear layer."""
    linear = nn.Linear(conv.in_channels, conv.out_channels, bias=conv.bias is not None)
    linear.weight = nn.Parameter(conv.weight.detach().flatten(1))
    if conv.bias is not None:
        linear.bias = nn.Parameter(conv.bias.detach())
    return linear
