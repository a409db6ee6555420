"""The verb evaluate."""

from __future__ import annotations

from pathlib import Path

from thimble.cli.options import Data, Model, print_json


def evaluate(
    model: Model,
    data: Data | None = None,
    data_dir: Path | None = None,
    flip: bool = False,
    json: bool = False,
) -> int:
    """Measure MODEL on the test images: accuracy and its interval, likelihood, calibration, confusion matrix.

    Args:
        model: A shipped model's name, a weights file, a run folder or an ONNX file written by thimble export.
        data: The dataset to measure on. Default: the one that MODEL was trained on.
        data_dir: Folder that contains `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        flip: Test-time augmentation: average the logits of every image and its mirror image.
        json: Print JSON instead of tables.
    """
    from thimble.data.sources import source_for
    from thimble.exporting.exported import ExportedModel, open_exported
    from thimble.measuring.evaluation import evaluate as evaluate_model
    from thimble.storage.find import load_model

    # Load the model first: a wrong name should not wait for a download.
    loaded = open_exported(model) if model.endswith(".onnx") else load_model(model)
    dataset = source_for(data, loaded, model, data_dir).load("test", progress=True)
    if isinstance(loaded, ExportedModel):
        result = loaded.evaluate(dataset, flip=flip)
    else:
        result = evaluate_model(loaded, dataset, flip=flip)
    if json:
        print_json(result.to_dict())
    else:
        from thimble.cli.tables import print_evaluation

        print_evaluation(result)
    return 0
