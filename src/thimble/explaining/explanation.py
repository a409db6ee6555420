"""Explain a prediction with Grad-CAM and integrated gradients.

Both methods work on a copy, so that the model does not change, even if several threads use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from thimble.data.pixels import Fitting, view_of
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
    """One image, one class, and two maps of what in the image supports the class.

    Attributes:
        image: the image's path, or ``"image 0"`` and so on if it has none.
        picture: the part of the image that the network sees, in its aspect ratio; the longer side has 256 pixels.
        class_name: the class that is explained.
        probability: the model's softmax probability for this class, 0..1.
        predicted: the predicted class.
        grad_cam: float32 (height, width) in the network's input size, 0..1: how strongly the last feature maps at each
            position support the class; all zero if they do not.
        integrated_gradients: float32 (height, width), -1..1: how much each pixel adds to the class's logit (below zero:
            subtracts from it), compared with an image of the training set's mean colour; the strongest is 1 or -1.
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
    """Explain a model's predictions for images.

    Grad-CAM: R. Selvaraju et al. (2017, arXiv:1610.02391), at the feature maps before the global pooling. Integrated
    gradients: M. Sundararajan et al., "Axiomatic Attribution for Deep Networks" (2017, arXiv:1703.01365), summed over
    the channels.

    Args:
        images: as for ``thimble.predict``.
        model: a network, or a shipped model's name, a weights file or a run folder.
        class_name: the class to explain. Default: each image's predicted class.

    Raises:
        UserError: the model or the class does not exist, something is not an image, the model has no global pooling, or
            the extra ``report`` is not installed.
        RunError: the model returns nan or infinite logits.
    """
    require("captum", by="explaining an image", extra="report")
    class_name = take("class_name", class_name, str | None, "a class name")
    classifier = load_model(model)
    chosen = None if class_name is None else find_class(classifier, class_name)
    named = named_images(images, Fitting.of(classifier))
    return [_explain(name, image, classifier, chosen) for name, image in named]


def find_class(model: Classifier, class_name: str) -> int:
    """The index of a class in ``model.classes``.

    Raises:
        UserError: the model has no such class.
    """
    if class_name not in model.classes:
        raise UserError(f"--class {class_name}: expected one of {', '.join(model.classes)}")
    return model.classes.index(class_name)


def _explain(name: str, image: Image.Image, model: Classifier, chosen: int | None) -> Explanation:
    from captum.attr import IntegratedGradients  # here, because the import takes a second

    view = view_of(image, Fitting.of(model))
    pixels = view.pixels.unsqueeze(0)
    logits = infer(model, pixels, mean=model.mean, std=model.std)[0]
    predicted = int(logits.argmax())
    target = predicted if chosen is None else chosen
    with torch.inference_mode(False), torch.enable_grad():
        # The baseline is zero: after normalisation, that is the mean colour.
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
