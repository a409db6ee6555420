"""Compute Grad-CAM with captum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thimble.data.dataset import normalize
from thimble.errors import UserError
from thimble.models import frozen
from thimble.models.classifier import Classifier

STEPS = 64
"""Steps of the sum that approximates the integral of integrated gradients."""


def grad_cam(model: Classifier, pixels: Tensor, targets: Tensor) -> Tensor:
    """Compute where in each image the last feature maps support a class.

    Args:
        model: a network that pools its last feature maps to 1x1.
        pixels: uint8 (N, channels, height, width), of the model's input size.
        targets: the classes, int64 (N,).

    Returns:
        float32 (N, height, width) on the CPU, 0..1; all zero if nothing in the image supports its class.

    Raises:
        UserError: the model has no global pooling.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    double = frozen(model)
    with torch.inference_mode(False), torch.enable_grad():
        inputs = as_inputs(model, pixels).requires_grad_()
        found = LayerGradCam(double, _pooling(model, double)).attribute(
            inputs, targets.to(inputs.device), attribute_to_layer_input=True, relu_attributions=True
        )
        maps = LayerAttribution.interpolate(found.detach(), model.input_size[1:], "bilinear")[:, 0].float().cpu()
    scaled: Tensor = maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return scaled


def as_inputs(model: Classifier, pixels: Tensor) -> Tensor:
    parameter = next(model.parameters())
    return normalize(pixels.to(parameter.device), model.mean, model.std).to(parameter.dtype)


def _pooling(model: Classifier, double: nn.Module) -> nn.Module:
    """Find the layer in the model's copy that pools the last feature maps to 1x1."""
    for module in double.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
            return module
    raise UserError(
        f"model {model.name} has no global pooling: Grad-CAM needs a layer that pools the feature maps to 1x1"
    )
