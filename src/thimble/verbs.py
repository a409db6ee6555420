"""The verbs but ``train``, which ``cli`` makes: each reads its options, calls what does the work, and prints."""

from __future__ import annotations

import json as json_format
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from .config import AugmentConfig, RunError, UserError

Flat = tyro.conf.arg(name="")
_Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
_Models = Annotated[list[str], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")]
_Images = Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")]
_Datasets = Literal["cifar10", "shapes10"]


def fail(message: str, code: int) -> int:
    """Say in one line on stderr what is wrong; returns the exit code."""
    print(f"thimble: {message}", file=sys.stderr)
    return code


def evaluate(
    model: _Model,
    data: _Datasets | None = None,
    data_dir: Path | None = None,
    flip: bool = False,
    json: bool = False,
) -> int:
    """Measure MODEL on the test images: accuracy with its interval, per class, confusion, likelihood, calibration.

    Args:
        model: A shipped model's name, a weights file or a run folder.
        data: The dataset whose test images to use. Default: the one of MODEL's classes.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        flip: Average the logits of every image and its mirror image (test-time augmentation).
        json: Print JSON instead of tables.
    """
    from .checkpoint import load_model
    from .data import dataset_of, load_dataset
    from .evaluation import evaluate as evaluate_model

    classifier = load_model(model)  # before the data: a wrong name should not wait for a download
    name = data or dataset_of(classifier.classes)
    result = evaluate_model(classifier, load_dataset(name, "test", data_dir, progress=True), flip=flip)
    if json:
        _print_json(result.to_dict())
    else:
        from .console import print_evaluation

        print_evaluation(result)
    return 0


def compare(
    models: _Models,
    data: _Datasets | None = None,
    data_dir: Path | None = None,
    output: Path | None = None,
    json: bool = False,
) -> int:
    """Compare MODELs of the same classes: cost and score of each, and which differ by more than chance.

    Each two are tested, image by image, with McNemar's exact test, and its p-values corrected by Holm's method for so
    many pairs. It tells about these weights on these test images, not about the recipes, for which it takes several
    seeds of each.

    Args:
        models: At least two, each a shipped model's name, a weights file or a run folder.
        data: The dataset whose test images to use. Default: the one of the MODELs' classes.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        output: Image file for the curves of the run folders over one another, .png or .svg. Default: none is drawn.
        json: Print JSON instead of tables.
    """
    from .comparison import compare as compare_models
    from .overlay import check_drawing, save_drawing

    if output is not None:
        check_drawing(output)
    result = compare_models(models, data, data_dir, progress=True)
    if json:
        _print_json(result.to_dict())
    else:
        from .console import print_comparison

        print_comparison(result)
    if output is None:
        return 0
    if not result.curves:
        return fail(f"--output {output}: none of the models has curves to draw; expected a run folder among them", 2)
    save_drawing(result.curves, output)
    if not json:
        print(f"wrote {output}")
    return 0


def predict(images: _Images, model: str = "reference", top: int = 5, json: bool = False) -> int:
    """Say what images show: the most probable classes of each. Any file that Pillow reads, of any size.

    Args:
        images: Image files. One that is none is reported, and the others are still answered; exit code 2.
        model: A shipped model's name, a weights file or a run folder.
        top: How many classes to name.
        json: Print JSON instead of a table.
    """
    if not images:
        raise UserError("no image given: expected thimble predict IMAGE...")
    from .checkpoint import load_model
    from .evaluation import predict as predict_images

    classifier = load_model(model)
    answers, code = [], 0
    for image in images:
        try:
            answers += predict_images(image, classifier, top=top)
        except UserError as error:
            code = fail(str(error), 2)
    if json:
        _print_json([answer.to_dict() for answer in answers])
    elif answers:
        from .console import print_predictions

        print_predictions(answers)
    return code


def explain(
    images: _Images,
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
    from .checkpoint import load_model
    from .data import save_image
    from .explanation import draw, find_class
    from .explanation import explain as explain_images

    classifier = load_model(model)
    if class_name is not None:
        find_class(classifier, class_name)  # a mistake to be told once, not of every image
    explanations, code = [], 0
    for image in images:
        try:
            explanations += explain_images(image, classifier, class_name=class_name)
        except UserError as error:
            code = fail(str(error), 2)
    if explanations:
        from .console import print_explanations

        save_image(draw(explanations), output)
        print_explanations(explanations)
        print(f"wrote {output}")
    return code


def report(
    model: _Model,
    output: Path | None = None,
    data: _Datasets | None = None,
    data_dir: Path | None = None,
) -> int:
    """Write a report of MODEL: one HTML file with how it learned, how good it is, where it fails and why.

    Args:
        model: A shipped model's name, a weights file or a run folder. Only of a run folder are the curves known.
        output: HTML file to write; its plots go into a folder beside it, of its name without the ending. Default:
            report.html in the run folder, for other MODELs here.
        data: The dataset whose test images to use. Default: the one of MODEL's classes.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
    """
    from .reporting import write_report

    print(f"wrote {write_report(model, output, data=data, data_dir=data_dir)}")
    return 0


def summary(model: _Model = "reference", max_params: int | None = None, json: bool = False) -> int:
    """Show what MODEL is made of: per layer its output, parameters, multiply-adds and receptive field; and the budget.

    Args:
        model: A shipped model's name, an architecture's name, a weights file or a run folder.
        max_params: The most parameters that MODEL may have; exit code 1 if it has more. Default: Thimble's 150,576,
            which is only shown.
        json: Print JSON instead of a table.
    """
    from .summary import BUDGET, summarize

    if max_params is not None and max_params < 1:
        raise UserError(f"--max-params {max_params}: expected a whole number of at least 1")
    result = summarize(model, budget=BUDGET if max_params is None else max_params)
    if json:
        _print_json(result.to_dict())
    else:
        from .console import print_summary

        print_summary(result)
    if max_params is not None and not result.within_budget:
        raise RunError(f"{model} has {result.num_parameters:,} parameters: expected at most {max_params:,}")
    return 0


def data(
    augment: Annotated[AugmentConfig, Flat] = AugmentConfig(),  # noqa: B008 - frozen, so a default like any other
    data: _Datasets = "cifar10",
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
    from .console import print_dataset
    from .data import load_dataset, save_image

    if seed < 0:
        raise UserError(f"--seed {seed}: expected a whole number of at least 0")
    parts = {part: load_dataset(data, part, data_dir, progress=True) for part in ("train", "test")}
    print_dataset(parts)
    if preview is not None:
        from .augment import preview as drawn

        save_image(drawn(parts["train"], augment, seed=seed), preview)
        print(f"wrote {preview}")
    return 0


def demo(
    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL...")] = (),
    host: str = "127.0.0.1",
    port: int = 7860,
) -> int:
    """Serve a page to drop images on: what a model takes them for, how sure it is, where it looked, and how fast.

    Args:
        model: More models to choose from than the shipped ones: weights files or run folders. The first is shown first.
        host: The address to serve at. The default is for this machine alone; 0.0.0.0 lets the whole network in.
        port: The port to serve at; 0 for any that is free.
    """
    from .demo import Models
    from .demo_page import serve

    with serve(Models(model), host, port) as address:
        print(f"Thimble is at {address}; Ctrl-C ends it", flush=True)
        while True:
            time.sleep(3600)


def _print_json(value: Any) -> None:
    print(json_format.dumps(value, indent=2))


VERBS: dict[str, Callable[..., int]] = {
    "evaluate": evaluate,
    "compare": compare,
    "predict": predict,
    "explain": explain,
    "report": report,
    "summary": summary,
    "data": data,
    "demo": demo,
}
