"""Define ``Classifier``, the base of every network, with its classes and normalisation; and ``Residual``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Classifier(nn.Sequential):
    """A stack of blocks, with its classes, its normalisation and its input size.

    The input is a float tensor (N, channels, height, width) of pixels in 0..1, normalised as ``(pixel - mean) / std``;
    the output is a float tensor (N, num_classes) of logits.

    Attributes:
        name: the architecture's name, as ``build_model`` takes it.
        arguments: the arguments of ``build_model`` except the input size; a weights file stores them to build the
            network again.
        classes: the class names, in the order of the logits.
        mean: per channel (red, green, blue; or grey), for pixels in 0..1.
        std: per channel (red, green, blue; or grey), for pixels in 0..1.
        input_size: (channels, height, width) of the training images.
        fit: how images of another shape are fitted: crop, pad or squash, see ``thimble.data.pixels.Fitting``.
        depth: the values that become 0 and 255 in grey images of more than 8 bits; None for the range of their format.
        data: the record of the training data, with at least its ``name``; empty if nothing is recorded.
    """

    def __init__(
        self,
        blocks: Mapping[str, nn.Module],
        *,
        name: str,
        arguments: dict[str, Any],
        input_size: tuple[int, int, int] = (3, 32, 32),
    ) -> None:
        super().__init__()
        for block_name, block in blocks.items():
            self.add_module(block_name, block)
        self.name = name
        self.arguments = arguments
        self.classes: tuple[str, ...] = tuple(str(label) for label in range(arguments["num_classes"]))
        self.mean: tuple[float, ...] = (0.5,) * input_size[0]
        self.std: tuple[float, ...] = (0.25,) * input_size[0]
        self.input_size: tuple[int, int, int] = input_size
        self.fit = "crop"
        self.depth: tuple[float, float] | None = None
        self.data: dict[str, Any] = {}

    @property
    def num_parameters(self) -> int:
        """The number of parameters, trainable or frozen."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(self, images: Tensor) -> Tensor:
        """Map normalised images (N, channels, height, width) to logits (N, num_classes)."""
        # Flattened here, not by a layer: the published list of layers ends with the 1x1 convolution.
        logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return logits.flatten(1)


class Residual(nn.Sequential):
    """A stack of layers whose output is added to its input; both have the same shape.

    K. He et al., "Deep Residual Learning for Image Recognition" (2015, arXiv:1512.03385).
    """

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, channels, height, width) to the same shape."""
        branch: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return images + branch


def as_classifier(model: object) -> Classifier | None:
    """Return a classifier without its wrappers; None if the object is not a classifier.

    Args:
        model: any object. ``torch.compile``, ``nn.DataParallel``, ``DistributedDataParallel`` and lightning-fabric wrap
            a classifier, whose weights they share.
    """
    while isinstance(model, nn.Module) and not isinstance(model, Classifier):
        model = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
    return model if isinstance(model, Classifier) else None
