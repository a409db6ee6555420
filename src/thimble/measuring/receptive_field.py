"""Compute receptive fields, in two ways: by a recurrence over the layers, and by measuring gradients.

The receptive field of a unit is the part of the image that it depends on. The two ways share no code, so each checks
the other.

Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill, 2019,
doi:10.23915/distill.00021.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_POOLING = (nn.MaxPool2d, nn.AvgPool2d)
_ADAPTIVE_POOLING = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_BATCH_NORM = nn.modules.batchnorm._BatchNorm

# In eval mode, each output unit of these layers depends on one input unit, so the field does not change.
_POINTWISE = (
    *(_BATCH_NORM, nn.Dropout, nn.Dropout2d, nn.Identity),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh),
)


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of a layer's units; it is a square.

    Attributes:
        size: side of the square, in pixels of the input, including any padding.
        jump: distance between the squares of neighbouring units, in pixels of the input; the product of the strides.
    """

    size: int
    jump: int


def receptive_fields(model: nn.Module) -> dict[str, ReceptiveField]:
    """Compute the receptive field after each layer of a sequential model, by recurrence.

    Each convolution or pooling widens the field by ``(kernel - 1) * dilation * jump`` and multiplies the jump by its
    stride. Pooling to 1x1 (``nn.AdaptiveAvgPool2d(1)``) and later layers do not change them. As is usual, we report the
    field of a unit before this pooling; a unit after it sees the whole image.

    Args:
        model: ``nn.Sequential``, which may be nested, of plain layers.

    Returns:
        the fields by layer path (``"c1.0"``), in the order of the layers, without containers.

    Raises:
        ValueError: the model is not sequential, or a layer is not square or of an unknown kind.
    """
    fields: dict[str, ReceptiveField] = {}
    size, jump = 1, 1
    pooled = False
    for name, layer in _sequential_layers(model):
        pooled = pooled or _is_global_pooling(layer)
        if not pooled:
            kernel, stride, dilation = _window(name, layer)
            size += (kernel - 1) * dilation * jump
            jump *= stride
        fields[name] = ReceptiveField(size, jump)
    return fields


def receptive_field_by_gradient(model: nn.Module, layer: str | None = None, *, size: int = 256) -> int:
    """Measure the receptive field: the extent of the pixels from which the central unit of a layer has a gradient.

    The gradient is computed on a copy in which no path can be blocked or cancelled: a convolution's weights are equal
    and positive, BatchNorm is removed, max-pooling becomes average pooling, and the image is all ones, so that every
    ReLU is active. The model need not be sequential, and does not change.

    Args:
        model: takes images (N, channels, height, width), with the channels of its first convolution.
        layer: the layer's path, as in ``model.named_modules()``. Default: the last one before pooling to 1x1.
        size: the side of the square image to measure on, in pixels. It must be larger than the field.

    Returns:
        the side of the field in pixels; the longer side, if it is a rectangle.

    Raises:
        ValueError: there is no such layer, the model has no convolution, the field reaches the border of the image,
            or a max-pooling is dilated.
    """
    path = _last_local_layer(model) if layer is None else layer
    if path not in dict(model.named_modules()):
        raise ValueError(f"no layer {path!r}: expected one of {', '.join(filter(None, dict(model.named_modules())))}")
    with torch.inference_mode(False), torch.enable_grad():  # even if the caller disabled gradients
        images, output = _trace_open_paths(model, path, size)
        if output.ndim != 4:
            raise ValueError(f"layer {path!r} gives {tuple(output.shape)}: expected (N, channels, height, width)")
        unit = output[0, :, output.shape[2] // 2, output.shape[3] // 2].sum()
        (gradient,) = torch.autograd.grad(unit, images)
    seen = gradient[0].abs().amax(0) > 0
    extents: list[int] = []
    for axis in (0, 1):
        touched = seen.any(1 - axis).nonzero().flatten().tolist()
        if touched[0] == 0 or touched[-1] == size - 1:
            raise ValueError(
                f"the field of layer {path!r} reaches the border of the {size}x{size} image: "
                "expected a larger size, or a layer before pooling to 1x1"
            )
        extents.append(touched[-1] - touched[0] + 1)
    return max(extents)


def _sequential_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers without children, with their paths; a layer that is used twice appears twice."""
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Sequential):
            continue
        if any(True for _ in module.children()):
            raise ValueError(
                f"{name or 'the model'} is a {type(module).__name__}: expected nn.Sequential, whose layers run in order"
            )
        yield name, module


def _is_global_pooling(layer: nn.Module) -> bool:
    return isinstance(layer, _ADAPTIVE_POOLING) and layer.output_size in (1, (1, 1), [1, 1])


def _window(name: str, layer: nn.Module) -> tuple[int, int, int]:
    """A layer's kernel size, stride and dilation; 1, 1, 1 for a pointwise layer."""
    if isinstance(layer, _POINTWISE):
        return 1, 1, 1
    if not isinstance(layer, (nn.Conv2d, *_POOLING)):
        raise ValueError(f"layer {name!r} is {layer}: expected a convolution, pooling, norm, activation or dropout")
    # Average pooling has no dilation.
    sides = [_side(name, layer, key, getattr(layer, key, 1)) for key in ("kernel_size", "stride", "dilation")]
    return sides[0], sides[1], sides[2]


def _side(name: str, layer: nn.Module, key: str, value: Any) -> int:
    """The side of a square window, given as a number or as (height, width)."""
    height, width = (value, value) if isinstance(value, int) else value
    if height != width:
        raise ValueError(f"layer {name!r} ({type(layer).__name__}) has {key} {value}: expected the same on both axes")
    return int(height)


def _last_local_layer(model: nn.Module) -> str:
    """The path of the last layer before pooling to 1x1; without such pooling, of the last layer."""
    last = ""
    for name, module in model.named_modules():
        if _is_global_pooling(module):
            break
        if not any(True for _ in module.children()):
            last = name
    return last


class _ReachedError(Exception):
    """Ends the forward pass at the wanted layer, as later layers may not accept an image of this size."""


def _trace_open_paths(model: nn.Module, layer: str, size: int) -> tuple[Tensor, Tensor]:
    """Run an image of ones through a copy of the model without blocked paths; returns it and the layer's output."""
    # In float64, because the gradient at the corners of the field is a product of many small weights.
    twin = copy.deepcopy(model).cpu().double().eval().requires_grad_(False)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BATCH_NORM):
                setattr(parent, name, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                setattr(parent, name, _average_pool(child))
    convolutions = [module for module in twin.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise ValueError("the model has no Conv2d layer: expected at least one")
    for convolution in convolutions:
        convolution.weight.fill_(1 / convolution.weight[0].numel())
        if convolution.bias is not None:
            convolution.bias.zero_()

    outputs: list[Tensor] = []

    def stop(module: nn.Module, inputs: Any, output: Tensor) -> None:
        outputs.append(output)
        raise _ReachedError

    twin.get_submodule(layer).register_forward_hook(stop)
    images = torch.ones(1, convolutions[0].in_channels, size, size, dtype=torch.float64, requires_grad=True)
    with contextlib.suppress(_ReachedError):
        twin(images)
    if not outputs:
        raise ValueError(f"layer {layer!r} did not run in the forward pass: expected a layer that runs")
    return images, outputs[0]


def _average_pool(pool: nn.MaxPool2d) -> nn.AvgPool2d:
    """Average pooling over the same window, so that all its units have a gradient, not only the largest."""
    if pool.dilation not in (1, (1, 1)):
        raise ValueError(f"{pool}: expected max-pooling without dilation")
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode)
