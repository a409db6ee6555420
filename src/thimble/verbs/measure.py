"""Verbs that measure a model: evaluate, compare, report, summary."""

from __future__ import annotations

from pathlib import Path

from thimble.config import RunError, UserError

from .options import Datasets, Model, Models, fail, print_json, say


def evaluate(
    model: Model,
    data: Datasets | None = None,
    data_dir: Path | None = None,
    flip: bool = False,
    json: bool = False,
) -> int:
    """Measure MODEL on the test images: accuracy with its interval, per class, confusion, likelihood, calibration.

    Args:
        model: A shipped model's name, a weights file, a run folder or an ONNX file that thimble export wrote.
        data: The dataset whose test images to use. Default: the one of MODEL's classes.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        flip: Average the logits of every image and its mirror image (test-time augmentation).
        json: Print JSON instead of tables.
    """
    from thimble.checkpoint import load_model
    from thimble.data import dataset_of, load_dataset
    from thimble.evaluation import evaluate as evaluate_model
    from thimble.exporting.exported import ExportedModel, open_exported

    # Before the data: a wrong name should not wait for a download.
    loaded = open_exported(model) if model.endswith(".onnx") else load_model(model)
    dataset = load_dataset(data or dataset_of(loaded.classes), "test", data_dir, progress=True)
    if isinstance(loaded, ExportedModel):
        result = loaded.evaluate(dataset, flip=flip)
    else:
        result = evaluate_model(loaded, dataset, flip=flip)
    if json:
        print_json(result.to_dict())
    else:
        from thimble.console import print_evaluation

        print_evaluation(result)
    return 0


def compare(
    models: Models,
    data: Datasets | None = None,
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
    from thimble.comparison import compare as compare_models
    from thimble.overlay import check_drawing, save_drawing

    if output is not None:
        check_drawing(output)
    result = compare_models(models, data, data_dir, progress=True)
    if json:
        print_json(result.to_dict())
    else:
        from thimble.console import print_comparison

        print_comparison(result)
    if output is None:
        return 0
    if not result.curves:
        return fail(f"--output {output}: none of the models has curves to draw; expected a run folder among them", 2)
    save_drawing(result.curves, output)
    if not json:
        say(f"wrote {output}")
    return 0


def report(
    model: Model,
    output: Path | None = None,
    data: Datasets | None = None,
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
    from thimble.reporting import write_report

    say(f"wrote {write_report(model, output, data=data, data_dir=data_dir)}")
    return 0


def summary(model: Model = "reference", max_params: int | None = None, json: bool = False) -> int:
    """Show what MODEL is made of: per layer its output, parameters, multiply-adds and receptive field; and the budget.

    Args:
        model: A shipped model's name, an architecture's name, a weights file or a run folder.
        max_params: The most parameters that MODEL may have; exit code 1 if it has more. Default: Thimble's 150,576,
            which is only shown.
        json: Print JSON instead of a table.
    """
    from thimble.summary import BUDGET, summarize

    if max_params is not None and max_params < 1:
        raise UserError(f"--max-params {max_params}: expected a whole number of at least 1")
    result = summarize(model, budget=BUDGET if max_params is None else max_params)
    if json:
        print_json(result.to_dict())
    else:
        from thimble.console import print_summary

        print_summary(result)
    if max_params is not None and not result.within_budget:
        raise RunError(f"{model} has {result.num_parameters:,} parameters: expected at most {max_params:,}")
    return 0
