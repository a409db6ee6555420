"""The verb evaluate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from thimble.cli.options import Data, Model, print_json


def evaluate(
    model: Model,
    data: Data | None = None,
    data_dir: Path | None = None,
    flip: bool = False,
    json: bool = False,
) -> int:
    """Measure MODEL on the test images: accuracy, precision and recall with intervals, calibration, confusion.

    Args:
        model: A shipped model's name, a weights file, a run folder or an ONNX file written by thimble export.
        data: The dataset to measure on: its test images; all its images, if it is another folder than the one that
            MODEL was trained on and has no parts. Default: the dataset that MODEL was trained on.
        data_dir: Folder that contains `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        flip: Test-time augmentation: average the logits of every image and its mirror image.
        json: Print JSON instead of tables: everything, also what the tables leave out if there are many classes.
    """
    from thimble.data.sources import source_for
    from thimble.exporting.exported import ExportedModel, open_exported
    from thimble.measuring.evaluation import evaluate as evaluate_model
    from thimble.measuring.evaluation import part_of
    from thimble.storage.find import load_model

    # Load the model first: a wrong name should not wait for a download.
    loaded = open_exported(model) if model.endswith(".onnx") else load_model(model)
    source = source_for(data, loaded, model, data_dir)
    if isinstance(loaded, ExportedModel):
        measured = loaded.evaluate(source.load("test", progress=True), flip=flip)
        result = dataclasses.replace(measured, part=part_of(source))
    else:
        result = evaluate_model(loaded, source, flip=flip, progress=True)
    if json:
        print_json(result.to_dict())
    else:
        from thimble.cli.tables import print_evaluation

        print_evaluation(result)
    return 0
