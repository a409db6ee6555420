"""The verb data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from thimble.cli.options import Data, Flat, say
from thimble.data.augment.settings import AugmentConfig
from thimble.errors import UserError


def data(
    augment: Annotated[AugmentConfig, Flat] = AugmentConfig(),  # noqa: B008 - frozen, so a default like any other
    data: Data = "cifar10",
    data_dir: Path | None = None,
    preview: Path | None = None,
    seed: int = 0,
) -> int:
    """Get a dataset, check it and say what is in it; draw what the augmentation does to it.

    Args:
        data: The dataset.
        data_dir: Folder that holds (or will hold) `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the cache.
        preview: Image file to draw: one image of each class beside augmentations of it.
        seed: Which images and which augmentations to draw.
    """
    from thimble.cli.tables import print_dataset
    from thimble.data.image_files import check_picture, save_image
    from thimble.data.sources import find_source

    if seed < 0:
        raise UserError(f"--seed {seed}: expected a whole number of at least 0")
    if preview is not None:
        check_picture(preview)
    source = find_source(data, data_dir)
    parts = {"train": source.load("train", progress=True), "test": source.load("test")}
    print_dataset(parts)
    if preview is not None:
        from thimble.data.augment.preview import preview as drawn

        save_image(drawn(parts["train"], augment, seed=seed), preview)
        say(f"wrote {preview}")
    return 0
