"""Make views: K augmentations of every training image, identical on every device and in every run.

A bank of a teacher's predictions is useful only if the student sees the same pixels as the teacher did. Therefore all
random numbers for a view are drawn beforehand, on the CPU, from a generator seeded by (seed, view): one row per image,
which a batch looks up by the image's number.

Some views may mix two images (see ``mixing``). The partner is augmented in the same view, and the teacher classified
the mixed image: F. Faghri et al., "Reinforce Data, Multiply Impact" (2023, arXiv:2303.08983).
"""

from __future__ import annotations

import torch
from torch import Tensor

from thimble.data.augment.batched import BatchAugmenter
from thimble.data.dataset import ImageDataset, normalize
from thimble.system.seeds import derive_seed

from .mixing import blend
from .view_config import ViewConfig


class Views:
    """The views of a dataset's images, made on demand, on the images' device.

    The first ``config.mixed_views`` views mix two images each; the others show one.

    Args:
        config: the settings of the views.
        data: the images, all or a subset of the dataset's; an image can be mixed only if its partner is in ``data``.
        num_images: the number of images in the whole dataset.
    """

    def __init__(self, config: ViewConfig, data: ImageDataset, num_images: int) -> None:
        self.config, self.data, self.num_images = config, data, num_images
        self.augmenter = BatchAugmenter(config.augment, data.mean)
        device = data.images.device
        self.numbers = torch.arange(num_images) if data.numbers is None else data.numbers.cpu()
        draws, mixing, partners = zip(*(self._drawn(view) for view in range(config.views)), strict=True)
        self.draws = torch.cat(draws).to(device)
        self.mixing = torch.cat(mixing[: config.mixed_views] or mixing[:1]).to(device)
        self.places = torch.full((num_images,), -1)
        self.places[self.numbers] = torch.arange(len(self.numbers))
        # For each mixed view and image: the partner's index in the data; -1 if the data lack it.
        others = torch.cat(partners[: config.mixed_views] or partners[:1])
        self.partners = self.places[others].to(device)
        self.partner_rows = (others + torch.arange(len(others)) // num_images * num_images).to(device)
        self.numbers = self.numbers.to(device)

    def _drawn(self, view: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a view's random numbers.

        Returns:
            The augmenter's draws (N, num_draws); mixing (N, 4): share, kind, centre row and column; partners (N,).
        """
        generator = torch.Generator().manual_seed(derive_seed(self.config.seed, view))
        draws = torch.rand(self.num_images, self.augmenter.num_draws, generator=generator)
        mixing = torch.rand(self.num_images, 4, generator=generator)
        return draws, mixing, torch.randperm(self.num_images, generator=generator)

    def possible(self, indices: Tensor, views: Tensor) -> Tensor:
        """Replace an image's mixed view by an unmixed one if its partner is not in the data; int64 (n,)."""
        mixed = self.config.mixed_views
        if mixed == 0:
            return views
        rows = views.clamp_max(mixed - 1) * self.num_images + self.numbers[indices]
        plain = mixed + views % (self.config.views - mixed)
        return torch.where((views < mixed) & (self.partners[rows] < 0), plain, views)

    def make(self, indices: Tensor, views: Tensor, blended: bool = True) -> tuple[Tensor, Tensor]:
        """Make views as network inputs, and their targets from the labels.

        Args:
            indices: indices into the data, int64 (n,), on its device.
            views: each image's view, int64 (n,), from 0; as ``possible`` returns them.
            blended: whether to mix the mixed views; if not, they show only their first image.

        Returns:
            Normalised float32 images (n, channels, height, width) in channels-last memory; and labels, int64 (n,), or,
            if views may be mixed, targets, float32 (n, num_classes).
        """
        rows = views * self.num_images + self.numbers[indices]
        images, labels = self._seen(indices, rows), self.data.labels[indices]
        if self.config.mixed_views == 0 or not blended:
            return images, labels
        is_mixed = views < self.config.mixed_views
        rows = rows.where(is_mixed, 0)
        partners = self.partners[rows].clamp_min(0)
        shares, kinds, *middles = self.mixing[rows].unbind(1)
        images, shares = blend(
            images,
            self._seen(partners, self.partner_rows[rows]),
            shares=shares * is_mixed,
            boxed=kinds < 0.5,
            middles=torch.stack(middles),
        )
        targets = torch.eye(len(self.data.classes), device=labels.device)
        return images, targets[labels].lerp(targets[self.data.labels[partners]], shares.unsqueeze(1))

    def _seen(self, indices: Tensor, rows: Tensor) -> Tensor:
        draws = self.draws[rows].t().reshape(-1, len(rows), 1, 1)
        return normalize(self.augmenter.transform(self.data.images[indices], draws), self.data.mean, self.data.std)
