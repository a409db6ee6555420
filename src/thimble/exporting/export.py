"""Export a model to a file, and write the file only if it passes the check against PyTorch."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.data.instructions import instructions
from thimble.data.pixels import Fitting, to_input, to_picture
from thimble.data.shapes10 import shapes10
from thimble.data.sources import source_for
from thimble.errors import UserError
from thimble.measuring.evaluation import check_fit
from thimble.models.classifier import Classifier
from thimble.storage.find import Model, load_described, name_of
from thimble.system.arguments import described, expanded, take
from thimble.system.files import write_atomically
from thimble.system.folders import check_folder, write_folder
from thimble.system.names import one_a_line
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
NUM_SAMPLES = 3
"""The test images in a project for a device."""
# The calibration images are not a setting, so that the same weights always give the same file.
_SEED = 2_009


@dataclass(frozen=True)
class Export:
    """An exported file.

    Attributes:
        output: the file, or a project's folder.
        labels: the file beside it, or in the folder, with the names of the classes: see ``labels_of``.
        format: one of ``FORMATS``.
        num_bytes: its size in bytes, or the sum of the folder's files.
        metadata: the metadata inside it.
        parity: how its predictions compare with PyTorch's.
        untested: why it was compared on drawings instead of the model's test images; None if it was not.
    """

    output: Path
    labels: Path
    format: str
    num_bytes: int
    metadata: dict[str, Any]
    parity: Parity
    untested: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "output": str(self.output),
            "labels": str(self.labels),
            "format": self.format,
            "num_bytes": self.num_bytes,
            "parity": self.parity.to_dict(),
            "untested": self.untested,
            "metadata": self.metadata,
        }


def export(
    model: Model,
    format: FormatName = "onnx",
    output: str | Path | None = None,
    *,
    preprocess: bool = True,
    softmax: bool = False,
    pixels: Literal["uint8", "int8"] = "uint8",
    data: Data | None = None,
    data_dir: str | Path | None = None,
    progress: bool = False,
) -> Export:
    """Export a model to a file that runs without Thimble, and check that the file computes the same.

    The file's input is ``images``, any number at a time (the C file: one), its output ``logits``. It is built in a
    temporary folder, compared with PyTorch there, and moved to ``output`` only if it passes. The names of the classes
    are written beside it, see ``labels_of``.

    Args:
        model: a shipped model's name, a weights file, a run folder or a classifier; it is not changed.
        format: one of ``FORMATS``.
        output: the file; an existing one and its labels are replaced. Of a project, the folder: a new or an empty one.
            Default: named after the run or the network, in the current folder.
        preprocess: whether the file takes uint8 (N, height, width, channels), 0..255, red first, and normalises it; if
            not, it takes normalised float32 (N, channels, height, width).
        softmax: whether the file returns ``probabilities`` instead of logits.
        pixels: with "int8", a tflite file takes int8 pixels, less 128, and returns int8 logits, as TensorFlow Lite for
            Microcontrollers is used to; else it takes uint8 pixels and returns float32 logits.
        data: the data on which the model was trained: a name, a path or an ``ImageDataset``. Training images calibrate
            an int8 file, and test images check every file. Default: the dataset that the model records.
        data_dir: the folder that has CIFAR-10. Default: $THIMBLE_DATA, else the user's cache.
        progress: show a progress bar on stderr during a download of CIFAR-10, whose images an int8 file may need.

    Raises:
        UserError: the model, the format or the data do not exist, or the format does not support what is asked for.
        RunError: the file does not compute the same, or could not be written; an existing file is untouched.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise UserError(f"unknown format {described(format)}: expected one of {', '.join(FORMATS)}")
    path: Path | None = take("output", output, Path | None, "a path")
    folder: Path | None = take("data_dir", data_dir, Path | None, "a path")
    preprocess = take("preprocess", preprocess, bool, "true or false")
    softmax = take("softmax", softmax, bool, "true or false")
    pixels = take("pixels", pixels, Literal["uint8", "int8"], "uint8 or int8")
    kind = FORMATS[format]
    if not kind.bare and (softmax or not preprocess):
        asked = "--softmax" if softmax else "--no-preprocess"
        raise UserError(f"--format {format} always takes pixels and returns logits: drop {asked}")
    if pixels != "uint8" and format != "tflite":
        raise UserError(f"--format {format} always takes uint8 pixels: use --pixels with --format tflite")
    classifier, metadata, sha256 = load_described(model)
    file_name = f"{_stem(model, classifier)}{kind.ending}"
    path = path or Path(file_name)
    if kind.folder:
        check_folder(path)
    elif path.is_dir():
        example = path / file_name
        raise UserError(f"--output {path} is a folder: expected a file name, such as {example}")
    kind.require(f"--format {format}")
    name = name_of(model)
    source: Source | str
    try:
        source = source_for(data, classifier, name, folder)
    except UserError as error:
        if data is not None or not kind.exact:
            raise
        source = str(error)  # the built-in drawings suffice to compare logits
    calibration = None if kind.exact else _calibration_images(classifier, source, progress=progress)
    images, untested = _parity_images(classifier, source, name if data is not None else "")
    deployment = deploy(
        classifier,
        preprocess=preprocess,
        softmax=softmax,
        pixels=pixels,
        metadata=describe(classifier, metadata, sha256, preprocess=preprocess, softmax=softmax, pixels=pixels)
        | kind.needs,
        calibration=calibration,
        samples=_samples(images) if kind.folder else None,
    )
    content = kind.build(deployment)
    with temporary_folder() as temporary:
        file = temporary / f"model{Path(kind.ending).suffix}"
        _write(file, content)
        twin = _twin(deployment, temporary / "twin.onnx") if kind.twin else None
        parity = compare(kind.load(file), deployment, images, is_test=untested is None, twin=twin)
    check(parity, exact=kind.exact, twin=kind.twin)
    _write(path, content)
    if isinstance(content, dict):
        num_bytes = sum(map(len, content.values()))
        return Export(path, path / "labels.txt", format, num_bytes, deployment.metadata, parity, untested)
    labels = path.with_name(f"{path.name}.labels.txt")
    write_atomically(labels, labels_of(classifier))
    return Export(path, labels, format, len(content), deployment.metadata, parity, untested)


def _write(path: Path, content: bytes | dict[str, bytes]) -> None:
    """Write a format's product: a file, or a folder of files."""
    if isinstance(content, dict):
        write_folder(path, content)
    else:
        write_atomically(path, content)


def labels_of(model: Classifier) -> str:
    """The content of the file beside an export: one class name per line, in the order of the logits.

    The file is named after the export, ``model.onnx.labels.txt``, so that two exports never share one. What would break
    a line is escaped.
    """
    return one_a_line(model.classes)


def _stem(model: Model, classifier: Classifier) -> str:
    """What a file is called by default: as the run's folder, so that exports of two runs do not replace each other."""
    if isinstance(model, str | os.PathLike) and expanded(model).is_dir():
        return Path(os.path.abspath(expanded(model))).name
    return classifier.name


def _twin(deployment: Deployment, path: Path) -> Run:
    """Build the ONNX int8 file with the same quantisation; the C file's predictions must agree with it."""
    path.write_bytes(onnx_file.build_int8(deployment))
    return onnx_file.load(path)


def describe(
    model: Classifier, metadata: dict[str, Any], sha256: str, *, preprocess: bool, softmax: bool, pixels: str = "uint8"
) -> dict[str, Any]:
    """The file's metadata: everything needed to use it, and its origin."""
    channels, height, width = model.input_size
    values = "red, green, blue" if channels == 3 else "grey"
    metrics = metadata.get("metrics")
    test = metrics.get("test") if isinstance(metrics, dict) else None
    return {
        "model": model.name,
        "num_parameters": model.num_parameters,
        "classes": list(model.classes),
        "mean": list(model.mean),
        "std": list(model.std),
        "data": {key: value for key, value in model.data.items() if key in ("name", "sha256", "images")},
        "input": {
            "shape": ["batch", height, width, channels] if preprocess else ["batch", channels, height, width],
            "type": pixels if preprocess else "float32",
            "values": f"{values}, {'0..255' if pixels == 'uint8' else '-128..127: the pixels less 128'}"
            if preprocess
            else f"{values}, (pixel / 255 - mean) / std",
        },
        "fit": model.fit,
        "depth": None if model.depth is None else list(model.depth),
        "fitting": instructions(Fitting.of(model)),
        "output": "probabilities" if softmax else "logits",
        "licence": metadata.get("licence", "not stated"),
        "weights_sha256": sha256,
        "test": {key: test.get(key) for key in ("data", "num_images", "accuracy")} if isinstance(test, dict) else None,
        "thimble": __version__,
    }


def _calibration_images(model: Classifier, source: Source | str, *, progress: bool) -> Tensor:
    """Images to calibrate with, uint8 (N, channels, height, width): always the same training images, no test images."""
    assert not isinstance(source, str)
    dataset = source.load("train", progress=progress)
    chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(_SEED))[:CALIBRATION_IMAGES]
    return _fitted(dataset.images[chosen], model)


def _samples(images: ImageDataset) -> Tensor:
    """Some of the images, uint8 (N, channels, height, width), of different classes as far as there are any."""
    labels = images.labels.tolist()
    firsts = sorted({label: index for index, label in reversed([*enumerate(labels)])}.values())
    others = [index for index in range(len(labels)) if index not in firsts]
    return images.images[[*firsts, *others][:NUM_SAMPLES]]


def _parity_images(model: Classifier, source: Source | str, required_by: str) -> tuple[ImageDataset, str | None]:
    """Images for the check, and None if they are the model's test images, else why they are not.

    If there is no source but the reason why, or its test images are not on disk or do not fit the model, the images are
    the built-in drawings; but data that were asked for, by a model of the name ``required_by``, must fit.
    """
    if isinstance(source, str):
        return _drawings(model), source
    if not source.is_here() and not required_by:
        return _drawings(model), f"{source.title} is not on this disk"
    test = source.load("test")
    if required_by:
        check_fit(required_by, model, test)
    if test.classes == model.classes and tuple(test.images.shape[1:]) == model.input_size:
        return test, None
    return _drawings(model), f"{source.title} has other classes or images of another size than the model"


def _drawings(model: Classifier) -> ImageDataset:
    """The built-in drawings, as the model takes them: they suffice to compare outputs."""
    drawings, channels = shapes10(NUM_IMAGES, seed=_SEED), model.input_size[0]
    images, mean, std = _fitted(drawings.images, model), drawings.mean[:channels], drawings.std[:channels]
    return dataclasses.replace(drawings, images=images, mean=mean, std=std)


def _fitted(images: Tensor, model: Classifier) -> Tensor:
    """Fit images of another size or other channels, uint8, as ``predict`` would."""
    if tuple(images.shape[1:]) == model.input_size:
        return images
    fitting = Fitting.of(model)
    return torch.stack([to_input(to_picture(image), fitting) for image in images])
