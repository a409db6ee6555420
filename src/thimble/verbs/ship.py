"""Verbs that ship a model: export, card."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .options import Model, print_json, say


def export(
    model: Model,
    format: Literal["onnx", "onnx-int8", "torch", "executorch", "c"] = "onnx",
    output: Path | None = None,
    preprocess: bool = True,
    softmax: bool = False,
    data_dir: Path | None = None,
    json: bool = False,
) -> int:
    """Turn MODEL into a file that runs without Thimble, checked against PyTorch on 1,000 images before it is written.

    onnx and torch are float32; onnx-int8, executorch (XNNPACK) and c (one C99 file, for a microcontroller) are int8,
    with ranges from training images. A file that fails its check is not written; exit code 1.

    Args:
        model: A shipped model's name, a weights file or a run folder.
        format: What to write. executorch needs pip install 'thimble-nets[executorch]', c a C compiler for its check.
        output: The file, replaced if it exists. Default: MODEL's architecture and the format's ending, here.
        preprocess: Normalise inside the file, which takes uint8 pixels (N, height, width, 3), red first; without, it
            takes normalised float32 (N, 3, height, width).
        softmax: Give probabilities instead of logits.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        json: Print JSON instead of a table.
    """
    from thimble.exporting.export import export as export_model

    result = export_model(
        model, format, output, preprocess=preprocess, softmax=softmax, data_dir=data_dir, progress=True
    )
    if json:
        print_json(result.to_dict())
    else:
        from thimble.console import print_export

        print_export(result)
    return 0


def card(
    model: Model,
    output: Path | None = None,
    repo: str | None = None,
    measure: bool = False,
    data_dir: Path | None = None,
) -> int:
    """Write a model card of MODEL, as Hugging Face shows it: only what its file records, or what is measured now.

    Args:
        model: A shipped model's name, a weights file or a run folder.
        output: Markdown file to write, replaced if it exists. Default: the card is printed.
        repo: The repository that it is for, OWNER/NAME.
        measure: Test MODEL on the test images now, instead of telling what its file records.
        data_dir: Folder that holds `cifar-10-batches-bin/`, to measure. Default: $THIMBLE_DATA, else the user's cache.
    """
    from thimble.card import model_card, write_card

    if output is None:
        print(model_card(model, repo=repo, measure=measure, data_dir=data_dir), end="")
    else:
        say(f"wrote {write_card(model, output, repo=repo, measure=measure, data_dir=data_dir)}")
    return 0
