"""Begin a training with the weights of a trained model."""

from __future__ import annotations

from torch import Tensor

from thimble.errors import UserError
from thimble.models.classifier import Classifier
from thimble.storage.find import load_model


def adopt_weights(model: Classifier, pretrained: str) -> str:
    """Copy a trained model's weights into a new one of the same architecture, but for the last layer.

    A first convolution for colour becomes one for grey by the sum of its colours, and the other way round by a third
    for each colour, so that grey images give the same features. Where the models have other first layers, for another
    image size, the new model's stay as they are.

    Args:
        model: changed in place.
        pretrained: a shipped model's name, a weights file or a run folder.

    Returns:
        a sentence that says what was copied.

    Raises:
        UserError: there is no such model, or it has another architecture.
    """
    trained = load_model(pretrained)
    if trained.name != model.name:
        raise UserError(
            f"--pretrained {pretrained} is a {trained.name}, and --model is {model.name}: expected the same"
            f" architecture; add --model {trained.name}"
        )
    own, others = model.state_dict(), trained.state_dict()
    head = [name for name in own if name.startswith(f"{_last_layer(model)}.")]
    fresh = []
    for name, tensor in own.items():
        found = None if name in head else _converted(others.get(name), tensor)
        if found is None:
            fresh += [] if name in head else [name]
        else:
            tensor.copy_(found)
    kept = f"begins with the weights of {pretrained}, but for the last layer"
    return kept + (f" and {len(fresh)} tensors of another shape, such as {fresh[0]}" if fresh else "")


def _last_layer(model: Classifier) -> str:
    """The name of the last layer with parameters, which computes the logits."""
    names: list[str] = [name for name, layer in model.named_modules() if list(layer.parameters(recurse=False))]
    return names[-1]


def _converted(found: Tensor | None, wanted: Tensor) -> Tensor | None:
    """A trained tensor in the wanted shape; None if it has none that means the same."""
    if found is None or found.shape == wanted.shape:
        return found
    if found.ndim != 4 or found.shape[0] != wanted.shape[0] or found.shape[2:] != wanted.shape[2:]:
        return None
    if (found.shape[1], wanted.shape[1]) == (3, 1):
        return found.sum(1, keepdim=True)
    if (found.shape[1], wanted.shape[1]) == (1, 3):
        return found.expand(-1, 3, -1, -1) / 3
    return None
