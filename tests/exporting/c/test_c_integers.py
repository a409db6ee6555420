"""The C file computes the integer network: every logit to the last bit, at any size, of one channel or three."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from exports_shared import fitted, season, seasoned
from test_c_source import needs_compiler
from torch import Tensor, nn
from torch.nn import functional as F

from thimble.data.shapes10 import shapes10
from thimble.exporting import onnx_file
from thimble.exporting.c import source as c_file
from thimble.exporting.c.text import fixed_point
from thimble.exporting.deployment import deploy
from thimble.exporting.integer_graph import Feature, IntegerGraph, Layer, read
from thimble.models.classifier import Classifier


def centred(numbers: Tensor, feature: Feature) -> Tensor:
    return numbers - feature.zero_point


def sums_of(layer: Layer, known: dict[str, Tensor]) -> Tensor:
    """A layer's sums, whole numbers in float64, which are exact: (N, channels, height, width)."""
    (feature,) = layer.inputs
    values = centred(known[feature.name], feature)
    if layer.kind == "average":
        return values.sum((2, 3), keepdim=True)
    assert layer.kind == "convolution"
    assert layer.weights is not None
    assert layer.bias is not None
    window, (height, width) = layer.window, values.shape[2:]
    weights = torch.from_numpy(layer.weights.astype(np.float64)).permute(0, 3, 1, 2)
    bias = torch.from_numpy(layer.bias.astype(np.float64))
    (top, left), reach = (
        window.padding,
        [(size - 1) * step for size, step in zip(window.kernel, window.dilation, strict=True)],
    )
    values = F.pad(values, (left, reach[1], top, reach[0]))
    full = F.conv2d(values, weights, bias, stride=window.stride, dilation=window.dilation, groups=layer.groups)
    if layer.output is None:
        return full
    assert layer.output.height <= height
    assert layer.output.width <= width
    return full[:, :, : layer.output.height, : layer.output.width]


def requantised(layer: Layer, sums: Tensor) -> Tensor:
    """Sums in the steps of the layer's output, by the documented fixed-point arithmetic."""
    (feature,), output = layer.inputs, layer.output
    assert output is not None
    scales = layer.weight_scales
    if scales is None:
        scales = np.full(feature.channels, 1.0 / (feature.height * feature.width))
    factors = np.float32(feature.scale) * np.asarray(scales, np.float32) / np.float32(output.scale)
    multipliers, shifts = (each.astype(np.int64)[:, None, None] for each in fixed_point(factors.astype(np.float64)))
    products = sums.numpy().astype(np.int64) * multipliers
    return torch.from_numpy((((products >> (shifts - 1)) + 1) >> 1) + output.zero_point)


def added(layer: Layer, known: dict[str, Tensor]) -> Tensor:
    assert layer.output is not None
    ratios = [feature.scale / layer.output.scale for feature in layer.inputs]
    shift = 31 - math.ceil(math.log2(255 * sum(ratios) + 256))
    factors = [round(ratio * 2.0**shift) for ratio in ratios]
    total = sum(
        (known[feature.name] - feature.zero_point).long() * factor
        for feature, factor in zip(layer.inputs, factors, strict=True)
    )
    assert isinstance(total, Tensor)
    return (total + (layer.output.zero_point << shift) + (1 << (shift - 1))) >> shift


def integer_logits(graph: IntegerGraph, images: Tensor) -> Tensor:
    """Logits of uint8 images (N, height, width, channels), in whole numbers up to the last product."""
    looked_up = [torch.from_numpy(row)[images[..., channel].long()] for channel, row in enumerate(graph.table)]
    known = {graph.image.name: torch.stack(looked_up, 1).double()}
    for layer in graph.layers[:-1]:
        assert layer.output is not None
        values = added(layer, known) if layer.kind == "sum" else requantised(layer, sums_of(layer, known))
        least = layer.output.zero_point if layer.relu else 0
        assert values.shape[1:] == (layer.output.channels, layer.output.height, layer.output.width)
        known[layer.output.name] = values.clamp(least, 255).double()
    last = graph.layers[-1]
    scales = np.float32(last.inputs[0].scale) * np.asarray(last.weight_scales, np.float32)
    return sums_of(last, known)[:, :, 0, 0].float() * torch.from_numpy(scales)


def stem(channels: int, size: tuple[int, int], kernel: int, stride: int) -> Classifier:
    """A network whose first convolution is large and makes the image much smaller."""
    layers = {
        "stem": nn.Sequential(
            nn.Conv2d(channels, 20, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(20), nn.ReLU()
        ),
        "body": nn.Sequential(
            nn.Conv2d(20, 20, 3, padding=1, groups=20, bias=False), nn.Conv2d(20, 24, 1, bias=False), nn.BatchNorm2d(24)
        ),
        "head": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 7, 1)),
    }
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Classifier(layers, name="stem", arguments={"num_classes": 7}, input_size=(channels, *size))
        season(model)
    return model


def assert_equal_bits(model: Classifier, folder: Path) -> None:
    images = fitted(shapes10(24, seed=6).images, model)
    deployment = deploy(model, metadata={"model": model.name}, calibration=images[:16])
    path = folder / "model.c"
    path.write_bytes(c_file.build(deployment))
    inputs = deployment.inputs(images[12:])
    found = c_file.load(path)(inputs)
    expected = integer_logits(read(onnx_file.build_int8(deployment)), inputs)
    assert found.shape == (12, len(model.classes))
    assert torch.equal(found, expected)
    assert len({tuple(row) for row in found.tolist()}) > 1  # different images have different logits


@needs_compiler
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_strides_and_kernels_of_a_stem(kernel: int, stride: int, tmp_path: Path) -> None:
    assert_equal_bits(stem(1 if kernel == 5 else 3, (40, 54), kernel, stride), tmp_path)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "size", "num_classes"),
    [
        ("thimble-78k", (1, 64, 64), 242),
        ("thimble-78k", (1, 96, 96), 2),
        ("thimble-150k", (1, 128, 128), 242),
        ("thimble-78k", (3, 128, 128), 2),
        ("thimble-78k", (3, 64, 100), 10),
        ("thimble-78k", (1, 8, 8), 2),
        ("reference", (1, 28, 28), 10),
        ("reference", (3, 8, 40), 2),
    ],
)
def test_networks_of_all_sizes(name: str, size: tuple[int, int, int], num_classes: int, tmp_path: Path) -> None:
    model = seasoned(name, num_classes=num_classes, in_channels=size[0], input_size=size[1:])
    assert_equal_bits(model, tmp_path)
