"""From MODEL to a checked file of a format, or to an error and no file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import shapes10
from thimble.data.sources import source_for
from thimble.errors import UserError
from thimble.models.classifier import Classifier
from thimble.storage.find import Model, load_described, name_of
from thimble.system.arguments import described, take
from thimble.system.files import write_atomically
from thimble.system.scratch import temporary_folder
from thimble.version import __version__

from . import onnx_file
from .deployment import Deployment, deploy
from .formats import FORMATS, FormatName
from .parity import NUM_IMAGES, Parity, Run, check, compare

if TYPE_CHECKING:
    from thimble.data.source import Source
    from thimble.data.sources import Data

CALIBRATION_IMAGES = 1_000
# Which images calibrate is no setting: the same file is made of the same weights.
_SEED = 2_009


@dataclass(frozen=True)
class Export:
    """A file that was made.

    Attributes:
        output: the file.
        format: one of ``FORMATS``.
        num_bytes: its size.
        metadata: what it says of itself.
        parity: how its answers compare with PyTorch's.
    """

    output: Path
    format: str
    num_bytes: int
    metadata: dict[str, Any]
    parity: Parity

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "output": str(self.output),
            "format": self.format,
            "num_bytes": self.num_bytes,
            "parity": self.parity.to_dict(),
            "metadata": self.metadata,
        }


def export(
    model: Model,
    format: FormatName = "onnx",
    output: str | Path | None = None,
    *,
    preprocess: bool = True,
    softmax: bool = False,
    data: Data | None = None,
    data_dir: str | Path | None = None,
    progress: bool = False,
) -> Export:
    """Turn a model into a file that runs without Thimble, and prove that it is the same network.

    The file takes ``images`` and gives ``logits``, any number at a time (the C file: one). It is made in a temporary
    folder, compared with PyTorch there, and put in its place only if it passes.

    Args:
        model: a shipped model's name, a weights file, a run folder or a classifier, which stays as it is.
        format: one of ``FORMATS``.
        output: the file, replaced if it exists. Default: named after the model, in the current folder.
        preprocess: take uint8 (N, height, width, 3), 0..255, red first, and normalise inside; else normalised float32
            (N, 3, height, width).
        softmax: give ``probabilities`` instead of logits.
        data: the data that the model was trained on, by name, path or as an ``ImageDataset``: training images calibrate
            an int8 file, test images check every file. Default: what the model records.
        data_dir: the folder that holds CIFAR-10. Default: $THIMBLE_DATA, else the user's cache.
        progress: show a progress bar on stderr while downloading CIFAR-10, which an int8 file of its classes needs.

    Raises:
        UserError: there is no such model, format or data, or the format cannot do what is asked for.
        RunError: the file is not the same network, or could not be written. What was there before is untouched.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise UserError(f"unknown format {described(format)}: expected one of {', '.join(FORMATS)}")
    path: Path | None = take("output", output, Path | None, "a path")
    folder: Path | None = take("data_dir", data_dir, Path | None, "a path")
    preprocess = take("preprocess", preprocess, bool, "true or false")
    softmax = take("softmax", softmax, bool, "true or false")
    kind = FORMATS[format]
    if not kind.bare and (softmax or not preprocess):
        asked = "--softmax" if softmax else "--no-preprocess"
        raise UserError(f"{asked} beside --format {format}, which takes pixels and gives logits: expected neither")
    classifier, metadata, sha256 = load_described(model)
    path = path or Path(f"{classifier.name}{kind.ending}")
    if path.is_dir():
        example = path / f"{classifier.name}{kind.ending}"
        raise UserError(f"--output {path} is a folder: expected the name of a file, such as {example}")
    kind.require(f"--format {format}")
    try:
        source = source_for(data, classifier.data, name_of(model), folder)
    except UserError:
        if data is not None or not kind.exact:
            raise
        source = None  # drawings will do to compare answers
    deployment = deploy(
        classifier,
        preprocess=preprocess,
        softmax=softmax,
        metadata=describe(classifier, metadata, sha256, preprocess=preprocess, softmax=softmax) | kind.needs,
        calibration=None if kind.exact else _calibration_images(classifier, source, progress=progress),
    )
    images, is_test = _parity_images(classifier, source)
    content = kind.build(deployment)
    with temporary_folder() as temporary:
        file = temporary / f"model{Path(kind.ending).suffix}"
        file.write_bytes(content)
        twin = _twin(deployment, temporary / "twin.onnx") if format == "c" else None
        parity = compare(kind.load(file), deployment, images, is_test=is_test, twin=twin)
    check(parity, exact=kind.exact)
    write_atomically(path, content)
    return Export(path, format, len(content), deployment.metadata, parity)


def _twin(deployment: Deployment, path: Path) -> Run:
    """The ONNX int8 file of the same quantisation, which the C file must agree with."""
    path.write_bytes(onnx_file.build_int8(deployment))
    return onnx_file.load(path)


def describe(
    model: Classifier, metadata: dict[str, Any], sha256: str, *, preprocess: bool, softmax: bool
) -> dict[str, Any]:
    """What a file says of itself: all that it takes to use it, and where it is from."""
    channels, height, width = model.input_size
    metrics = metadata.get("metrics")
    test = metrics.get("test") if isinstance(metrics, dict) else None
    return {
        "model": model.name,
        "num_parameters": model.num_parameters,
        "classes": list(model.classes),
        "mean": list(model.mean),
        "std": list(model.std),
        "data": {key: value for key, value in model.data.items() if key in ("name", "sha256")},
        "input": {
            "shape": ["batch", height, width, channels] if preprocess else ["batch", channels, height, width],
            "type": "uint8" if preprocess else "float32",
            "values": "red, green, blue, 0..255" if preprocess else "red, green, blue, (pixel / 255 - mean) / std",
        },
        "output": "probabilities" if softmax else "logits",
        "licence": metadata.get("licence", "not stated"),
        "weights_sha256": sha256,
        "test": {key: test.get(key) for key in ("data", "num_images", "accuracy")} if isinstance(test, dict) else None,
        "thimble": __version__,
    }


def _calibration_images(model: Classifier, source: Source | None, *, progress: bool) -> Tensor:
    """Training images, uint8 (N, 3, height, width), the same for every file: the test set has no part in it."""
    assert source is not None
    dataset = source.load("train", progress=progress)
    chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(_SEED))[:CALIBRATION_IMAGES]
    return _resize(dataset.images[chosen], model.input_size)


def _parity_images(model: Classifier, source: Source | None) -> tuple[ImageDataset, bool]:
    """The test images of the model's data, and true; drawings, and false, if they are not at hand or do not fit."""
    if source is not None and source.is_here():
        test = source.load("test")
        if test.classes == model.classes and tuple(test.images.shape[1:]) == model.input_size:
            return test, True
    drawings = shapes10(NUM_IMAGES, seed=_SEED)
    return dataclasses.replace(drawings, images=_resize(drawings.images, model.input_size)), False


def _resize(images: Tensor, size: tuple[int, int, int]) -> Tensor:
    if tuple(images.shape[1:]) == size:
        return images
    return F.interpolate(images.float(), size[1:], mode="bilinear", antialias=True).round().clamp(0, 255).byte()
