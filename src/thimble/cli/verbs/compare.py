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
    """Compare MODELs of the same classes: cost and score of each, and which differ by more than chance.

    Each two are tested, image by image, with McNemar's exact test, and its p-values corrected by Holm's method for so
    many pairs. It tells about these weights on these test images, not about the recipes, for which it takes several
    seeds of each.

    Args:
        models: At least two, each a shipped model's name, a weights file or a run folder.
        data: The dataset whose test images to use. Default: the one that the first MODEL was trained on.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        output: Image file for the curves of the run folders over one another, .png or .svg. Default: none is drawn.
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
        return fail(f"--output {output}: none of the models has curves to draw; expected a run folder among them", 2)
    save_drawing(result.curves, output)
    if not json:
        say(f"wrote {output}")
    return 0
