"""What in an image speaks for a class: Grad-CAM and integrated gradients, by captum, and how they are drawn.

All work is done on a double of the model, which stays as it was found, however many threads ask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from .arguments import take
from .checkpoint import Model, load_model
from .config import UserError
from .data import normalize, view_of
from .evaluation import infer, named_images
from .models import Classifier, frozen
from .system.names import shortened, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 64
"""Of the sum that stands for the integral."""
_NAME_LENGTH = 30
"""The most characters of a class's name that are drawn, two of which leave room for the file's."""


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
        UserError: there is no such model or class, something is not an image, or the model pools nowhere.
        RunError: the model gives nan or infinite logits.
    """
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


def grad_cam(model: Classifier, pixels: Tensor, targets: Tensor) -> Tensor:
    """Where the last feature maps speak for a class.

    Args:
        model: a network that pools its last feature maps to 1x1.
        pixels: uint8 (N, 3, height, width) of the model's input size.
        targets: the classes, int64 (N,).

    Returns:
        float32 (N, height, width) on the CPU, 0..1; of an image that nothing speaks for, all zero.

    Raises:
        UserError: the model pools nowhere.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    double = frozen(model)
    with torch.inference_mode(False), torch.enable_grad():
        inputs = _inputs(model, pixels).requires_grad_()
        found = LayerGradCam(double, _pooling(model, double)).attribute(
            inputs, targets.to(inputs.device), attribute_to_layer_input=True, relu_attributions=True
        )
        maps = LayerAttribution.interpolate(found.detach(), model.input_size[1:], "bilinear")[:, 0].float().cpu()
    scaled: Tensor = maps / maps.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return scaled


def _inputs(model: Classifier, pixels: Tensor) -> Tensor:
    parameter = next(model.parameters())
    return normalize(pixels.to(parameter.device), model.mean, model.std).to(parameter.dtype)


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
            _inputs(model, pixels), target=target, n_steps=_STEPS, internal_batch_size=_STEPS
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


def _pooling(model: Classifier, double: nn.Module) -> nn.Module:
    """The double's layer that pools the last feature maps to 1x1."""
    for module in double.modules():
        if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
            return module
    raise UserError(f"model {model.name} has no global pooling: Grad-CAM expected feature maps that are pooled to 1x1")


_GAP, _HEADER, _CAPTION, _COLUMN = 12, 56, 34, 256
"""Of the page, in pixels; no column is narrower than its title."""


def page_size(pictures: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The (width, height) of the page that ``draw`` makes of explanations with pictures of these (width, height)."""
    column = max(_COLUMN, *(width for width, _ in pictures))
    return 3 * column + 4 * _GAP, _HEADER + sum(height + _CAPTION for _, height in pictures)


def draw(explanations: Sequence[Explanation]) -> Image.Image:
    """A page with a row for each explanation: the picture, Grad-CAM over it, integrated gradients over it in grey."""
    page = Image.new("RGB", page_size([explanation.picture.size for explanation in explanations]), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(17)
    column = (page.width - 4 * _GAP) // 3
    middles = [_GAP + place * (column + _GAP) + column / 2 for place in range(3)]
    titles = (("image", "what the network sees"), ("Grad-CAM", "bright: for it"))
    small = ImageFont.load_default(13)
    for middle, (title, key) in zip(
        middles, (*titles, ("integrated gradients", "red: for it, blue: against")), strict=True
    ):
        pen.text((middle, 19), title, fill="black", font=font, anchor="mm")
        pen.text((middle, 41), key, fill="#555555", font=small, anchor="mm")
    top = _HEADER
    for explanation in explanations:
        picture = explanation.picture
        panels = (picture, heat(picture, explanation.grad_cam), _signs(picture, explanation.integrated_gradients))
        for middle, panel in zip(middles, panels, strict=True):
            page.paste(panel, (round(middle - panel.width / 2), top))
        text = f"{shortened(explanation.class_name, _NAME_LENGTH)}, {explanation.probability:.1%}"
        if explanation.predicted != explanation.class_name:
            text += f" (taken for {shortened(explanation.predicted, _NAME_LENGTH)})"
        room = page.width - 4 * _GAP - pen.textlength(text, font)
        name = _fitting(shown(Path(explanation.image).name), lambda part: pen.textlength(part, font), room)
        baseline = top + picture.height + _CAPTION / 2
        pen.text((_GAP, baseline), text, fill="black", font=font, anchor="lm")
        pen.text((page.width - _GAP, baseline), name, fill="#555555", font=font, anchor="rm")
        top += picture.height + _CAPTION
    return page


def heat(picture: Image.Image, values: Tensor) -> Image.Image:
    """Grad-CAM as heat over a picture of any size."""
    from matplotlib import colormaps  # takes half a second

    strength = _enlarged(values, picture.size, Image.Resampling.BICUBIC).clip(0, 1)
    return _mixed(np.asarray(picture, np.float32), colormaps["inferno"](strength)[..., :3], 0.25 + 0.5 * strength)


def _signs(picture: Image.Image, gradients: Tensor) -> Image.Image:
    """Integrated gradients over the picture in grey: red for the class and blue against it."""
    values = _enlarged(gradients, picture.size, Image.Resampling.NEAREST)
    gray = np.asarray(picture.convert("L").convert("RGB"), np.float32)
    colors = np.where(values[..., None] > 0, (0.84, 0.09, 0.11), (0.10, 0.35, 0.80))
    # The grey paler, so that both colours stand out from it; the root, because few pixels are strong, and the weak
    # ones count too.
    return _mixed(255 - (255 - gray) * 0.6, colors, np.sqrt(np.abs(values)) * 0.9)


def _mixed(base: NDArray[Any], colors: NDArray[Any], opacity: NDArray[Any]) -> Image.Image:
    mixed = base * (1 - opacity[..., None]) + 255 * colors * opacity[..., None]
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def _enlarged(values: Tensor, size: tuple[int, int], method: Image.Resampling) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(values.numpy()).resize(size, method), np.float32)


def _fitting(text: str, length: Callable[[str], float], room: float) -> str:
    """The text, without its beginning if there is no room for it all."""
    cut = 0
    while length(text[cut:]) > room and cut < len(text) - 1:
        cut += 1
    return "…" + text[cut + 1 :] if cut else text
