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
    """Write a report of MODEL: one HTML file with how it learned, how good it is, where it fails and why.

    Args:
        model: A shipped model's name, a weights file or a run folder. Only of a run folder are the curves known.
        output: HTML file to write; its plots go into a folder beside it, of its name without the ending. Default:
            report.html in the run folder, for other MODELs here.
        data: The dataset whose test images to use. Default: the one that MODEL was trained on.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
    """
    from thimble.reporting.report import write_report

    say(f"wrote {write_report(model, output, data=data, data_dir=data_dir)}")
    return 0
