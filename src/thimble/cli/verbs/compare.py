"""The verb compare."""

from __future__ import annotations

from pathlib import Path

from thimble.cli.options import Data, Models, fail, print_json, say


def compare(
    models: Models,
    data: Data | None = None,
    data_dir: Path | None = None,
    output: Path | None = None,
    json: bool = False,
) -> int:
    """Compare MODELs with the same classes: the size and accuracy of each, and which differ by more than chance.

    McNemar's exact test compares each pair image by image; Holm's method corrects the p-values for the number of
    pairs. The result is about these weights on these test images. To compare recipes, train several seeds of each.

    Args:
        models: At least two: shipped models' names, weights files or run folders.
        data: The dataset to measure on. Default: the one that the first MODEL was trained on.
        data_dir: Folder that contains `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        output: Image file (.png or .svg) for the training curves of the run folders in one plot. Default: no plot.
        json: Print JSON instead of tables.
    """
    from thimble.measuring.comparison import compare as compare_models
    from thimble.reporting.curves import check_drawing, save_drawing

    if output is not None:
        check_drawing(output)
    result = compare_models(models, data, data_dir, progress=True)
    if json:
        print_json(result.to_dict())
    else:
        from thimble.cli.tables import print_comparison

        print_comparison(result)
    if output is None:
        return 0
    if not result.curves:
        return fail(f"--output {output}: none of the models has training curves; expected at least one run folder", 2)
    save_drawing(result.curves, output)
    if not json:
        say(f"wrote {output}")
    return 0
