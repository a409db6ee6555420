"""Mix pairs of training images by mixup or CutMix, a whole batch at once, on the batch's device.

H. Zhang et al., "mixup: Beyond Empirical Risk Minimization" (2018, arXiv:1710.09412); S. Yun et al., "CutMix:
Regularization Strategy to Train Strong Classifiers with Localizable Features" (2019, arXiv:1905.04899).
"""

from __future__ import annotations

from dataclasses import dataclass

from thimble.system.lazily import np, torch
from thimble.system.settings import adopt, require, require_fraction, require_positive, require_types


@dataclass(frozen=True)
class MixingConfig:
    """Mix pairs of images by mixup and CutMix."""

    mix_probability: float = 0.0
    """Fraction of the batches, 0..1, in which images and their labels are mixed in pairs. Half of them use mixup (a
    weighted mean of both images), half CutMix (a rectangle of one image pasted on the other)."""

    mix_alpha: float = 0.5
    """How evenly to mix: one image's share is drawn from Beta(alpha, alpha). A small alpha gives shares near 0 or 1."""

    mix_ramp: tuple[float, float] = (0.0, 1.0)
    """Two fractions of the epochs, 0..1: up to the first, the fraction of mixed batches rises linearly from zero to
    `--mix-probability`; after the second, no batch is mixed."""

    def __post_init__(self) -> None:
        adopt(self)
        require_fraction(self, "mix_probability")
        require_positive(self, "mix_alpha")
        growing = "two increasing fractions from 0 to 1"
        require(self, "mix_ramp", lambda ramp: 0.0 <= ramp[0] <= ramp[1] <= 1.0, growing)
        require_types(self)


def mix_probability(epoch: int, num_epochs: int, greatest: float, ramp: tuple[float, float]) -> float:
    """The probability that a batch of this epoch is mixed.

    Args:
        epoch: from 0 to num_epochs - 1.
        num_epochs: epochs in the whole run.
        greatest: the probability after the rise, 0..1.
        ramp: two fractions of the epochs, 0..1: the rise from zero ends at the first, mixing at the second.
    """
    start, end = ramp
    if epoch >= round(end * num_epochs):
        return 0.0
    return greatest * min(1.0, epoch / (start * num_epochs)) if start > 0 else greatest


def mix(
    images: torch.Tensor, labels: torch.Tensor, num_classes: int, *, probability: float, alpha: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """With the given probability, mix every image of a batch with its predecessor (the first with the last).

    The whole batch is mixed by mixup or the whole batch by CutMix, each with probability 1/2. Each image has its own
    share and, for CutMix, its own rectangle. The same batch and seed give the same result. Nothing waits for a GPU.

    Args:
        images: float (N, channels, height, width).
        labels: int64 (N,).
        num_classes: the number of classes in the targets.
        probability: the probability that the batch is mixed, 0..1.
        alpha: the partner's share of an image is drawn from Beta(alpha, alpha); above 0.
        seed: seeds all random draws.

    Returns:
        The mixed images and their targets, float32 (N, num_classes), whose rows sum to 1; or ``images`` and ``labels``
        unchanged.
    """
    random = np.random.default_rng(seed)
    if random.random() >= probability:
        return images, labels
    partners = images.roll(1, 0)
    shares = torch.from_numpy(random.beta(alpha, alpha, len(images)).astype(np.float32))
    shares = shares.to(images.device, non_blocking=True)
    if random.random() < 0.5:
        mixed = images.lerp(partners, shares.view(-1, 1, 1, 1).to(images.dtype))
    else:
        middles = torch.from_numpy(random.random((2, len(images)), np.float32))
        boxes = _boxes(shares, middles.to(images.device, non_blocking=True), images.shape[2:])
        mixed = torch.where(boxes.unsqueeze(1), partners, images)
        shares = boxes.float().mean((1, 2))
    targets = torch.eye(num_classes, device=labels.device)[labels]
    return mixed, targets.lerp(targets.roll(1, 0), shares.unsqueeze(1))


def blend(
    images: torch.Tensor, partners: torch.Tensor, *, shares: torch.Tensor, boxed: torch.Tensor, middles: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix images with their partners by mixup or CutMix, with random numbers drawn beforehand.

    Args:
        images, partners: float (N, channels, height, width).
        shares: the partner's share of each image, float32 (N,), 0..1.
        boxed: whether to mix an image by CutMix (else by mixup), bool (N,).
        middles: rows and columns of the rectangles' centres, as fractions of the sides, float32 (2, N).

    Returns:
        The mixed images, and the partners' actual shares, float32 (N,): CutMix rounds its rectangles to whole pixels.
    """
    boxes = _boxes(shares, middles, images.shape[2:])
    weights = torch.where(boxed.view(-1, 1, 1), boxes.float(), shares.view(-1, 1, 1))
    mixed = images.lerp(partners, weights.unsqueeze(1).to(images.dtype))
    return mixed, torch.where(boxed, boxes.float().mean((1, 2)), shares)


def _boxes(shares: torch.Tensor, middles: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Masks of rectangles, bool (N, h, w): the image's aspect ratio, about the given shares, clipped at the edges."""
    inside = torch.ones(1, dtype=torch.bool, device=shares.device)
    for axis, (side, middle) in enumerate(zip(size, middles, strict=True)):
        length = (shares.sqrt() * side).round().view(-1, 1, 1)
        first = (middle.view(-1, 1, 1) * side).floor() - (length / 2).floor()
        places = torch.arange(side, device=shares.device).view((-1, 1) if axis == 0 else (1, -1))
        inside = inside & (places >= first) & (places < first + length)
    return inside


def main_labels(targets: torch.Tensor) -> torch.Tensor:
    """The class with the greatest share in each image, int64 (N,), from the labels or targets that ``mix`` returns."""
    return targets if targets.ndim == 1 else targets.argmax(1)
