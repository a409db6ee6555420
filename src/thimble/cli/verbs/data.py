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
    """Download a dataset, check it and show what it contains; draw examples of the augmentation.

    Args:
        data: The dataset: a name, or a path.
        data_dir: Folder for `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        preview: Image file to write: one image of each class, next to augmented versions of it.
        seed: Random seed of the preview: chooses the images and the augmentations.
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
