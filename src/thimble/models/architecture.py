"""What an architecture must obey, in one place: ``tests/models/test_architectures.py`` holds every one to it."""

from __future__ import annotations

from typing import Protocol

from .classifier import Classifier


class Architecture(Protocol):
    """A function that builds an untrained network. An entry of ``MODELS`` obeys this, and nothing else is asked of it:

    1. It takes these four arguments by name, with these defaults, and returns a ``Classifier`` that carries them: its
       ``arguments`` are ``num_classes`` and ``dropout``, its ``input_size`` is (in_channels, height, width).
    2. Its network maps float (N, in_channels, height, width) to float (N, num_classes), also at the smaller sizes of a
       training with growing images: half the sides, at least 8 pixels each.
    3. It is built of layers alone, no code of its own decides by what is in an image: it can be exported.
    4. Its last layer alone depends on ``num_classes``, its first convolution alone on ``in_channels``.
    5. It pools its last feature maps to 1x1 by one adaptive pooling layer: what explanations look at.
    6. In eval mode an image's logits do not depend on the rest of its batch.
    7. Its initial weights follow from PyTorch's generator alone.
    8. An input size or a number of classes that it cannot take is a ValueError that says what it expects.
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
            in_channels: of the images: 3 for colour, 1 for grey.
            input_size: (height, width) of the images, in pixels.
        """
