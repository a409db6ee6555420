"""Verbs that look at images: predict, explain, data, demo."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import tyro

from thimble.config import AugmentConfig, UserError

from .options import Datasets, Flat, Images, fail, print_json, say


def predict(images: Images, model: str = "reference", top: int = 5, json: bool = False) -> int:
    """Say what images show: the most probable classes of each.

    Args:
        images: Image files such as PNG, JPEG, WebP or TIFF, of any size that decodes in 600 MB. One that is none is
            reported, and the others are still answered; exit code 2.
        model: A shipped model's name, a weights file or a run folder.
        top: How many classes to name.
        json: Print JSON instead of a table.
    """
    if not images:
        raise UserError("no image given: expected thimble predict IMAGE...")
    from thimble.checkpoint import load_model
    from thimble.evaluation import predict as predict_images

    classifier = load_model(model)
    answers, code = [], 0
    for image in images:
        try:
            answers += predict_images(image, classifier, top=top)
        except UserError as error:
            code = fail(str(error), 2)
    if json:
        print_json([answer.to_dict() for answer in answers])
    elif answers:
        from thimble.console import print_predictions

        print_predictions(answers)
    return code


def explain(
    images: Images,
    model: str = "reference",
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None,
    output: Path = Path("explanation.png"),
) -> int:
    """Show what in an image speaks for a class: Grad-CAM and integrated gradients over it, a row for each image.

    Args:
        images: Image files. One that is none is reported, and the others are still explained; exit code 2.
        model: A shipped model's name, a weights file or a run folder.
        class_name: The class to explain. Default: of each image, the one that MODEL takes it for.
        output: Image file to draw, in the format that its ending says.
    """
    if not images:
        raise UserError("no image given: expected thimble explain IMAGE...")
    from thimble.checkpoint import load_model
    from thimble.data import check_picture, picture_size, save_image
    from thimble.explanation import draw, find_class, page_size
    from thimble.explanation import explain as explain_images

    check_picture(output)
    classifier = load_model(model)
    check_picture(output, page_size([picture_size(classifier.input_size[1:])] * len(images)))
    if class_name is not None:
        find_class(classifier, class_name)  # a mistake to be told once, not of every image
    explanations, code = [], 0
    for image in images:
        try:
            explanations += explain_images(image, classifier, class_name=class_name)
        except UserError as error:
            code = fail(str(error), 2)
    if explanations:
        from thimble.console import print_explanations

        save_image(draw(explanations), output)
        print_explanations(explanations)
        say(f"wrote {output}")
    return code


def data(
    augment: Annotated[AugmentConfig, Flat] = AugmentConfig(),  # noqa: B008 - frozen, so a default like any other
    data: Datasets = "cifar10",
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
    from thimble.console import print_dataset
    from thimble.data import check_picture, load_dataset, save_image

    if seed < 0:
        raise UserError(f"--seed {seed}: expected a whole number of at least 0")
    if preview is not None:
        check_picture(preview)
    parts = {part: load_dataset(data, part, data_dir, progress=True) for part in ("train", "test")}
    print_dataset(parts)
    if preview is not None:
        from thimble.augment import preview as drawn

        save_image(drawn(parts["train"], augment, seed=seed), preview)
        say(f"wrote {preview}")
    return 0


def demo(
    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL...")] = (),
    host: str = "127.0.0.1",
    port: int = 7860,
) -> int:
    """Serve a page to drop images on: what a model takes them for, how sure it is, where it looked, and how fast.

    Args:
        model: More models to choose from than the shipped ones: weights files or run folders. The first is shown first.
        host: The address to serve at, and the name that is answered beside localhost. The default is for this machine
            alone; 0.0.0.0 lets the whole network in, by every IP address and by this machine's name.
        port: The port to serve at; 0 for any that is free.
    """
    from thimble.demo import Models
    from thimble.demo_page import serve

    with serve(Models(model), host, port) as address:
        say(f"Thimble is at {address}; Ctrl-C ends it")
        while True:
            time.sleep(3600)
