"""ResNet-8, the network of MLPerf Tiny's image classification, to compare with; untrained.

C. Banbury et al., "MLPerf Tiny Benchmark" (2021, arXiv:2106.07597); its quality target is 85% on CIFAR-10. Built from
the published layers: 12.5 million multiply-adds and, as Keras counts, 78,666 parameters, of which 480 are BatchNorm's
statistics, which PyTorch calls buffers: here it has 78,186. Keras pads nothing before and one pixel behind where a 3x3
convolution halves an even size; here it is one on each side, which costs the same time and gives the same shapes. The
dense layer is a 1x1 convolution behind the pooling, which is the same product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thimble.data.dataset import normalize
from thimble.models.classifier import Classifier


class Block(nn.Sequential):
    """The sum of two branches, a row of layers each; an empty one gives its input.

    A Sequential, so that what takes networks apart finds the branches.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, channels, height, width) to the sum of what the branches make of it."""
        branch, shortcut = self
        result: Tensor = branch(images) + shortcut(images)
        return result


def resnet8(num_classes: int = 10) -> Classifier:
    """Build the network: 3x32x32 to ``num_classes`` logits, without the softmax that the published one ends with."""
    blocks: dict[str, nn.Module] = {"stem": nn.Sequential(_conv(3, 16), nn.BatchNorm2d(16), nn.ReLU())}
    for number, (inputs, width, stride) in enumerate([(16, 16, 1), (16, 32, 2), (32, 64, 2)], start=1):
        branch = nn.Sequential(
            _conv(inputs, width, stride), nn.BatchNorm2d(width), nn.ReLU(), _conv(width, width), nn.BatchNorm2d(width)
        )
        shortcut = nn.Sequential() if stride == 1 else nn.Sequential(nn.Conv2d(inputs, width, 1, stride))
        blocks[f"stack{number}"] = nn.Sequential(Block(branch, shortcut), nn.ReLU())
    blocks["head"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(64, num_classes, 1))
    return Classifier(blocks, name="resnet8", arguments={"num_classes": num_classes})


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


def settle(model: Classifier, images: Tensor) -> Classifier:
    """Give an untrained network the BatchNorm statistics of images, uint8 (N, 3, 32, 32), in place; evaluation mode.

    Without them activations have any range, and an int8 file would be made of numbers that no network has.
    """
    inputs = normalize(images, model.mean, model.std)
    model.train()
    with torch.no_grad():
        for _ in range(50):  # at a momentum of 0.1 less than 1% of where they began is left
            model(inputs)
    return model.eval()
