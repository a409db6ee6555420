"""Define the rules for every architecture; ``tests/models/test_architectures.py`` checks them."""

from __future__ import annotations

from typing import Protocol

from .classifier import Classifier


class Architecture(Protocol):
    """A function that builds an untrained network. Every entry of ``MODELS`` follows these rules, and only these:

    1. It takes these four arguments by name, with these defaults, and returns a ``Classifier`` that stores them: its
       ``arguments`` are ``num_classes`` and ``dropout``, its ``input_size`` is (in_channels, height, width).
    2. The network maps float (N, in_channels, height, width) to float (N, num_classes). It also takes the smaller
       images that training may begin with: half of each side, but at least 8 pixels.
    3. It consists of layers, and its computation does not branch on the values of an image: it can be exported.
    4. Only the last layer depends on ``num_classes``, and only the first convolution on ``in_channels``.
    5. One adaptive pooling layer pools the last feature maps to 1x1; explanations use these feature maps.
    6. In eval mode, an image's logits do not depend on the other images of its batch.
    7. The initial weights depend on PyTorch's random generator alone.
    8. It raises a ValueError, which says what it expects, for an input size or a number of classes that it cannot take.
    """

    def __call__(
        self,
        num_classes: int = 10,
        dropout: float = 0.0,
        in_channels: int = 3,
        input_size: tuple[int, int] = (32, 32),
    ) -> Classifier:
        """Build the network.

        Args:
            num_classes: the number of logits, at least 1.
            dropout: the probability, in 0..1, of each dropout layer, if there are any.
            in_channels: the images' channels: 3 for colour, 1 for grey.
            input_size: (height, width) of the images, in pixels.
        """
