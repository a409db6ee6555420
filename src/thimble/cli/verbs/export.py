"""The verb export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from thimble.cli.options import Data, Model, print_json
from thimble.exporting.formats import FormatName, describe_formats

_FORMATS = f"What to write. {describe_formats()}."


def export(
    model: Model,
    format: Annotated[FormatName, tyro.conf.arg(help=_FORMATS)] = "onnx",
    output: Path | None = None,
    preprocess: bool = True,
    softmax: bool = False,
    data: Data | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> int:
    """Turn MODEL into a file that runs without Thimble, checked against PyTorch on 1,000 images before it is written.

    The ranges of an int8 file are those of training images. A file that fails its check is not written; exit code 1.

    Args:
        model: A shipped model's name, a weights file or a run folder.
        output: The file, replaced if it exists. Default: MODEL's architecture and the format's ending, here.
        preprocess: Normalise inside the file, which takes uint8 pixels (N, height, width, 3), red first; without, it
            takes normalised float32 (N, 3, height, width).
        softmax: Give probabilities instead of logits.
        data: The dataset that MODEL was trained on: its training images calibrate int8 files, and its test images check
            every file. Default: the one that MODEL records.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        json: Print JSON instead of a table.
    """
    from thimble.exporting.export import export as export_model

    result = export_model(
        model, format, output, preprocess=preprocess, softmax=softmax, data=data, data_dir=data_dir, progress=True
    )
    if json:
        print_json(result.to_dict())
    else:
        from thimble.cli.tables import print_export

        print_export(result)
    return 0
