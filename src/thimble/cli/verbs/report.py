"""The verb report."""

from __future__ import annotations

from pathlib import Path

from thimble.cli.options import Data, Model, say


def report(
    model: Model,
    output: Path | None = None,
    data: Data | None = None,
    data_dir: Path | None = None,
) -> int:
    """Write a report on MODEL, one HTML file: training curves, layers, accuracy, mistakes, explanations.

    Args:
        model: A shipped model's name, a weights file or a run folder. Only a run folder has training curves.
        output: HTML file to write; the plots are saved too, in a folder with the same name without .html. Default:
            report.html in the run folder, or in the current folder if MODEL is not a run folder.
        data: The dataset to measure on. Default: the one that MODEL was trained on.
        data_dir: Folder that contains `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
    """
    from thimble.reporting.report import write_report

    say(f"wrote {write_report(model, output, data=data, data_dir=data_dir)}")
    return 0
