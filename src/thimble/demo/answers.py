"""Compute what ``thimble demo`` shows for an image: top classes, Grad-CAM and time; refuse oversized uploads.

Plain functions, without Gradio; ``page`` is the page.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from thimble.data.image_files import read_image
from thimble.data.opening import opened
from thimble.data.pixels import Fitting, to_picture, view_of
from thimble.data.sources import SOURCES, recorded_source
from thimble.errors import UserError
from thimble.explaining.attribution import grad_cam
from thimble.explaining.picture import heat
from thimble.measuring.prediction import predict
from thimble.models import frozen
from thimble.models.classifier import Classifier
from thimble.storage.find import load_model
from thimble.storage.shipped import list_pretrained

MAX_BYTES = 10_000_000
MAX_PIXELS = 50_000_000
_PASSES = 5


@dataclass(frozen=True)
class Answer:
    """A model's result for one image.

    Attributes:
        top: (class name, softmax probability in 0..1), the five most probable, the most probable first.
        picture: the part of the image that the network sees, under the Grad-CAM heat map for the first class; its
            longer side has 256 pixels.
        milliseconds: the time of one forward pass of one image, the median of a few.
    """

    top: tuple[tuple[str, float], ...]
    picture: Image.Image
    milliseconds: float


def check_upload(path: Path) -> None:
    """Refuse an image that would take too long to read, by its file size and its header, without decoding pixels.

    A file without a known header passes here; ``read_image`` refuses it later.

    Raises:
        UserError: the image has more than 10 MB or 50 megapixels.
    """
    size = path.stat().st_size if path.is_file() else 0
    if size > MAX_BYTES:
        raise UserError(f"{path.name} has {size / 1e6:,.1f} MB: expected at most {MAX_BYTES / 1e6:.0f} MB")
    expected = f"expected at most {MAX_PIXELS / 1e6:.0f} megapixels"
    try:
        with opened(path, MAX_BYTES) as (image, _):
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise UserError(f"{path.name} has far too many pixels: {expected}") from error
    except Exception:  # a damaged header can raise anything
        return
    if width * height > MAX_PIXELS:
        raise UserError(f"{path.name} is {width:,} x {height:,} = {width * height / 1e6:,.1f} megapixels: {expected}")


def answer(path: Path, model: Classifier) -> Answer:
    """Classify an uploaded image and explain the predicted class. Messages name the file without its folder.

    Raises:
        UserError: ``check_upload`` refuses the image, or it cannot be read.
        RunError: the model's logits are nan or infinite.
    """
    check_upload(path)
    fitting = Fitting.of(model)
    try:
        view = view_of(read_image(path, fitting), fitting)
    except UserError as error:
        raise UserError(str(error).replace(str(path), path.name)) from error
    top = predict(view.pixels, model)[0].top
    cam = grad_cam(model, view.pixels.unsqueeze(0), torch.tensor([model.classes.index(top[0][0])]))[0]
    return Answer(top, heat(view.picture, cam), measure_milliseconds(model))


def measure_milliseconds(model: Classifier) -> float:
    """Time one forward pass of one image: the median of a few, after a warm-up pass."""
    parameter = next(model.parameters())
    image = torch.zeros(1, *model.input_size, device=parameter.device, dtype=parameter.dtype)
    seconds = []
    asked = frozen(model)
    with torch.inference_mode():
        asked(image)
        for _ in range(_PASSES):
            start = time.perf_counter()
            asked(image).cpu()  # on a GPU, the copy waits for the result
            seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def draw_samples(model: Classifier) -> tuple[list[tuple[str, Image.Image]], str]:
    """Return one (class name, image) per class to try the model on; or none, and a sentence that says why.

    A class without test images has none.
    They are test images of the dataset that the model was trained on. Nothing is downloaded for this.
    """
    try:
        source = recorded_source(model, model.name)
        if not source.is_here():
            return (
                [],
                f"No examples: they come from {source.title}, which is not on this machine; thimble data downloads it.",
            )
        dataset = source.load("test")
    except UserError:  # the model records no dataset, or its folder contains something else
        return [], f"No examples: they exist for models trained on {' or '.join(SOURCES)}."
    if dataset.classes != model.classes:
        return [], f"No examples: the classes of {dataset.name} are not the model's."
    places = [(name, (dataset.labels == label).nonzero()) for label, name in enumerate(dataset.classes)]
    return [(name, to_picture(dataset.images[int(found[0])])) for name, found in places if len(found)], ""


class Models:
    """The models that the page offers, loaded on first use; one answers at a time."""

    def __init__(self, named: Sequence[str] = ()) -> None:
        """Put the ``named`` models first and load them now, so that a wrong name is reported before the page opens.

        Raises:
            UserError: one of ``named`` is not a model, or there is no model at all.
        """
        self.names = list(dict.fromkeys([*named, *sorted(list_pretrained(), key=lambda name: name != "reference")]))
        if not self.names:
            raise UserError("no model is shipped: expected --model with a weights file or a run folder")
        self._loaded = {name: load_model(name) for name in named}
        self._lock = threading.Lock()  # Grad-CAM adds hooks to the model while it runs

    def load(self, name: str) -> Classifier:
        """Return the model with that name, one of ``names``: a request cannot open any other file."""
        if name not in self.names:
            raise UserError(f"no model {name!r} here: expected one of {', '.join(self.names)}")
        if name not in self._loaded:
            self._loaded[name] = load_model(name)
        return self._loaded[name]

    def answer(self, path: str, name: str) -> Answer:
        """Answer with the model of that name."""
        with self._lock:
            return answer(Path(path), self.load(name))
