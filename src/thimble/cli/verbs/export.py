"""The verb export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from thimble.cli.options import Data, Model, print_json
from thimble.exporting.formats import FormatName, describe_formats

_FORMATS = f"The file format. {describe_formats()}."


def export(
    model: Model,
    format: Annotated[FormatName, tyro.conf.arg(help=_FORMATS)] = "onnx",
    output: Path | None = None,
    preprocess: bool = True,
    softmax: bool = False,
    pixels: Literal["uint8", "int8"] = "uint8",
    data: Data | None = None,
    data_dir: Path | None = None,
    json: bool = False,
) -> int:
    """Export MODEL to a file that runs without Thimble.

    The file is compared with PyTorch on 1,000 images first; if it differs too much, it is not written; exit code 1. An
    int8 file is calibrated on training images. FILE.labels.txt, beside it, has the names of the classes, one a line; of
    a project for a device, labels.txt in its folder.

    Args:
        model: A shipped model's name, a weights file or a run folder.
        output: File to write; an existing file and its labels are replaced. Of a project: a new or an empty folder.
            Default: in the current folder, named after the run or, of another MODEL, its architecture, and the format.
        preprocess: Without this flag the file takes uint8 images (N, height, width, channels) and normalises them
            itself. With it, it takes normalised float32 images (N, channels, height, width).
        softmax: Output probabilities instead of logits.
        pixels: With int8, a tflite file takes pixels less 128 and returns int8 logits, for microcontrollers and
            accelerators; with uint8, it returns float32 logits.
        data: The dataset that MODEL was trained on: its training images calibrate int8 files, its test images check the
            file. Default: the one that MODEL records.
        data_dir: Folder that contains `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        json: Print JSON instead of a table.
    """
    from thimble.exporting.export import export as export_model

    result = export_model(
        model,
        format,
        output,
        preprocess=preprocess,
        softmax=softmax,
        pixels=pixels,
        data=data,
        data_dir=data_dir,
        progress=True,
    )
    if json:
        print_json(result.to_dict())
    else:
        from thimble.cli.tables import print_export

        print_export(result)
    return 0
