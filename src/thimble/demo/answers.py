"""What the page of ``thimble demo`` answers: refusals, the top classes and where the model looked, samples.

Plain functions, without Gradio; ``demo_page`` is the page.
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
from thimble.data.pixels import view_of
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
    """What a model makes of one image.

    Attributes:
        top: (class name, softmax probability in 0..1), the five most probable, the most probable first.
        picture: the part of the image that the network sees, under Grad-CAM for the first class; its longer side has
            256 pixels.
        milliseconds: of one forward pass of one image, the median of a few.
    """

    top: tuple[tuple[str, float], ...]
    picture: Image.Image
    milliseconds: float


def check_upload(path: Path) -> None:
    """Refuse what would take a page's visitor too long to read, by the file's size and its header: no pixel is decoded.

    What has no header that Thimble knows passes, and is for ``read_image`` to tell.

    Raises:
        UserError: more than 10 MB or 50 megapixels.
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
    except Exception:  # a damaged header, in as many ways as there are
        return
    if width * height > MAX_PIXELS:
        raise UserError(f"{path.name} is {width:,} x {height:,} = {width * height / 1e6:,.1f} megapixels: {expected}")


def answer(path: Path, model: Classifier) -> Answer:
    """Say what an uploaded image shows, and where that is to be seen. Messages name the file without its folder.

    Raises:
        UserError: it is refused by ``check_upload``, or cannot be read.
        RunError: the model gives nan or infinite logits.
    """
    check_upload(path)
    size = model.input_size[1:]
    try:
        view = view_of(read_image(path, size), size)
    except UserError as error:
        raise UserError(str(error).replace(str(path), path.name)) from error
    top = predict(view.pixels, model)[0].top
    cam = grad_cam(model, view.pixels.unsqueeze(0), torch.tensor([model.classes.index(top[0][0])]))[0]
    return Answer(top, heat(view.picture, cam), measure_milliseconds(model))


def measure_milliseconds(model: Classifier) -> float:
    """Time one forward pass of one image: the median of a few, after one that is not counted."""
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
    """One image of each class to try the model on, with the class's name; or none, and a sentence that says why.

    They are test images of the data that the model was trained on, which are never downloaded for this.
    """
    try:
        source = recorded_source(model.data, model.name)
        if not source.is_here():
            return (
                [],
                f"No samples: they are {source.title}'s, which is not on this machine; thimble data downloads it.",
            )
        dataset = source.load("test")
    except UserError:  # nobody recorded the data, or its folder holds something else
        return [], f"No samples: they exist for models of {' and '.join(SOURCES)}."
    if dataset.classes != model.classes:
        return [], f"No samples: {dataset.name} has other classes than the model."
    firsts = [int((dataset.labels == label).nonzero()[0]) for label in range(len(dataset.classes))]
    pictures = [Image.fromarray(dataset.images[index].permute(1, 2, 0).numpy()) for index in firsts]
    return list(zip(dataset.classes, pictures, strict=True)), ""


class Models:
    """The models to choose from, loaded when they are first asked for, and asked one at a time."""

    def __init__(self, named: Sequence[str] = ()) -> None:
        """``named`` come first and are loaded at once, so that a wrong name is told before the page is there.

        Raises:
            UserError: one of ``named`` is no model, or there is none at all.
        """
        self.names = list(dict.fromkeys([*named, *sorted(list_pretrained(), key=lambda name: name != "reference")]))
        if not self.names:
            raise UserError("no model is shipped: expected --model with a weights file or a run folder")
        self._loaded = {name: load_model(name) for name in named}
        self._lock = threading.Lock()  # Grad-CAM hooks into the model while it works

    def load(self, name: str) -> Classifier:
        """The model of that name, one of ``names``: what the page sends is not a way to any other file."""
        if name not in self.names:
            raise UserError(f"no model {name!r} here: expected one of {', '.join(self.names)}")
        if name not in self._loaded:
            self._loaded[name] = load_model(name)
        return self._loaded[name]

    def answer(self, path: str, name: str) -> Answer:
        """``answer``, by the model of that name."""
        with self._lock:
            return answer(Path(path), self.load(name))
