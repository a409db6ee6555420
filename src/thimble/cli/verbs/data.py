"""The verb data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from thimble.cli.options import Data, Flat, print_json, say, value_of
from thimble.data.augment.settings import AugmentConfig
from thimble.data.own.settings import ImagesConfig
from thimble.errors import UserError

if TYPE_CHECKING:
    from thimble.data.source import Source

Place = Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="PATH")]


def data(arguments: Sequence[str]) -> Callable[..., int]:
    """Return the verb; it knows which settings of the augmentation were asked for."""
    names = [each.name for each in dataclasses.fields(AugmentConfig)]
    asked = [name for name in names if value_of(arguments, f"--{name.replace('_', '-')}") is not None]

    def data(
        path: Place = None,
        images: Annotated[ImagesConfig, Flat] = ImagesConfig(),  # noqa: B008 - frozen, so a default like any other
        augment: Annotated[AugmentConfig, Flat] = AugmentConfig(),  # noqa: B008
        data: Data = "cifar10",
        data_dir: Path | None = None,
        page: Path | None = None,
        preview: Path | None = None,
        json: bool = False,
        seed: int = 0,
    ) -> int:
        """Look at a dataset before training: classes, parts, sizes, duplicates, and what is left out.

        Args:
            path: Your own images: a folder, a manifest, an archive or hf:OWNER/NAME. They are only read.
            data: Instead of PATH: a dataset's name, or a path.
            data_dir: Folder of a named dataset's files. Default: $THIMBLE_DATA, else the user's cache.
            page: HTML file to write: samples of each class, sizes, what the fit cuts off, duplicates. Only of own
                images.
            preview: Image file to write: one image of each class, next to versions of it as training would show them.
            json: Print JSON instead of tables.
            seed: Random seed of the preview: chooses the images and the augmentations.
        """
        from thimble.data.image_files import check_picture
        from thimble.data.own.own_images import OwnImages
        from thimble.data.sources import find_source
        from thimble.system.files import check_output

        if seed < 0:
            raise UserError(f"--seed {seed}: expected a whole number of at least 0")
        if preview is not None:
            check_picture(preview)
        source = find_source(path or data, data_dir, images)
        if page is not None:
            if not isinstance(source, OwnImages):
                raise UserError(
                    f"--page is for your own images, and {source.title} is not: expected thimble data PATH --page"
                )
            check_output(page)
        _tell(source, json)
        if page is not None and isinstance(source, OwnImages):
            from thimble.reporting.images_page import write_images_page

            write_images_page(source.examine(), page)
            if not json:
                say(f"wrote {page}")
        if preview is not None:
            from thimble.data.augment.preview import preview as drawn
            from thimble.data.image_files import save_image

            save_image(drawn(source.load("train"), _augmentation(source, augment, asked), seed=seed), preview)
            if not json:
                say(f"wrote {preview}")
        return 0

    return data


def _augmentation(source: Source, augment: AugmentConfig, asked: Sequence[str]) -> AugmentConfig:
    """What training would do: with own images as their recipe has it, but for the settings that were asked for."""
    from thimble.data.own.own_images import OwnImages
    from thimble.training.recipes import own

    if not isinstance(source, OwnImages):
        return augment
    return dataclasses.replace(own().augment, **{name: getattr(augment, name) for name in asked})


def _tell(source: Source, json: bool) -> None:
    """Print what a dataset contains."""
    from thimble.data.own.own_images import OwnImages

    if isinstance(source, OwnImages):
        found = source.examine(progress=True)
        if json:
            print_json(found.to_dict())
            found.check()
            return
        from thimble.cli.examination_text import print_examination

        print_examination(found)
        found.check()
        return
    parts = {"train": source.load("train", progress=True), "test": source.load("test")}
    if json:
        counts = {part: found.labels.bincount(minlength=len(found.classes)).tolist() for part, found in parts.items()}
        names = parts["train"].classes
        table = {name: {part: counts[part][index] for part in parts} for index, name in enumerate(names)}
        print_json({"title": source.title, "classes": table, "mean": parts["train"].mean, "std": parts["train"].std})
        return
    from thimble.cli.tables import print_dataset

    print_dataset(parts)
