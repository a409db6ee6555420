"""What in an image speaks for a class, by two methods.

All work is done on a double of the model, which stays as it was found, however many threads ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from thimble.data.pixels import view_of
from thimble.errors import UserError
from thimble.measuring.inference import infer
from thimble.measuring.prediction import named_images
from thimble.models import frozen
from thimble.models.classifier import Classifier
from thimble.storage.find import Model, load_model
from thimble.system.arguments import take
from thimble.system.extras import require

from .attribution import STEPS, as_inputs, grad_cam


@dataclass(frozen=True)
class Explanation:
    """One image, one class, and two maps of what in the image speaks for it.

    Attributes:
        image: the path of the image, or ``"image 0"`` and so on for images that came without one.
        picture: the part of the image that the network sees, in its aspect ratio, the longer side 256 pixels.
        class_name: the class that is explained.
        probability: the softmax probability that the model gives it, in 0..1.
        predicted: the class that the model takes the image for.
        grad_cam: float32 (height, width) of the network's input, 0..1: how much the last feature maps under a place
            speak for the class; all zero if none does.
        integrated_gradients: float32 (height, width), -1..1: how much each pixel adds to the class's logit or, below
            zero, takes from it, against an image of the training set's mean colour; the strongest pixel has 1 or -1.
    """

    image: str
    picture: Image.Image
    class_name: str
    probability: float
    predicted: str
    grad_cam: Tensor
    integrated_gradients: Tensor


def explain(
    images: str | Path | Image.Image | Tensor | Sequence[str | Path | Image.Image],
    model: Model = "reference",
    *,
    class_name: str | None = None,
) -> list[Explanation]:
    """Explain what a model makes of images.

    Grad-CAM: R. Selvaraju et al. (2017, arXiv:1610.02391), at the feature maps before the global pooling. Integrated
    gradients: M. Sundararajan et al., "Axiomatic Attribution for Deep Networks" (2017, arXiv:1703.01365), summed over
    the three colours.

    Args:
        images: as for ``evaluation.predict``.
        model: a network, or a shipped model's name, a weights file or a run folder.
        class_name: the class to explain. Default: of each image, the one that the model takes it for.

    Raises:
        UserError: there is no such model or class, something is not an image, or the model pools nowhere; or the extra
            ``report`` is not installed.
        RunError: the model gives nan or infinite logits.
    """
    require("captum", by="explaining an image", extra="report")
    class_name = take("class_name", class_name, str | None, "the name of a class")
    classifier = load_model(model)
    chosen = None if class_name is None else find_class(classifier, class_name)
    named = named_images(images, classifier.input_size[1:])
    return [_explain(name, image, classifier, chosen) for name, image in named]


def find_class(model: Classifier, class_name: str) -> int:
    """The place of a class among the model's.

    Raises:
        UserError: it has no such class.
    """
    if class_name not in model.classes:
        raise UserError(f"--class {class_name}: expected one of {', '.join(model.classes)}")
    return model.classes.index(class_name)


def _explain(name: str, image: Image.Image, model: Classifier, chosen: int | None) -> Explanation:
    from captum.attr import IntegratedGradients  # takes a second, and most verbs do without it

    view = view_of(image, model.input_size[1:])
    pixels = view.pixels.unsqueeze(0)
    logits = infer(model, pixels, mean=model.mean, std=model.std)[0]
    predicted = int(logits.argmax())
    target = predicted if chosen is None else chosen
    with torch.inference_mode(False), torch.enable_grad():
        # From zero, which is the mean colour once it is normalised.
        gradients = IntegratedGradients(frozen(model)).attribute(
            as_inputs(model, pixels), target=target, n_steps=STEPS, internal_batch_size=STEPS
        )
        pixelwise = gradients.detach()[0].sum(0).float().cpu()
    return Explanation(
        image=name,
        picture=view.picture,
        class_name=model.classes[target],
        probability=float(logits.softmax(0)[target]),
        predicted=model.classes[predicted],
        grad_cam=grad_cam(model, pixels, torch.tensor([target]))[0],
        integrated_gradients=pixelwise / pixelwise.abs().max().clamp_min(1e-12),
    )
