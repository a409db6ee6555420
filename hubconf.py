"""Offer Thimble's networks to ``torch.hub``, so that they can be used without installing Thimble.

    model = torch.hub.load("OWNER/REPO", "reference")                         # trained, in eval mode
    model = torch.hub.load("OWNER/REPO", "thimble_97k", pretrained=False)     # untrained
    model = torch.hub.load("OWNER/REPO", "custom", "runs/mine")               # your own weights

OWNER/REPO is this repository on GitHub; for a local copy, give its folder and ``source="local"``. Inputs are float
tensors (N, channels, height, width): pixels in 0..1, normalised as ``(pixel - mean) / std`` with ``model.mean`` and
``model.std``. ``model.classes`` names the logits, and ``model.input_size`` is (channels, height, width): 3 channels, or
1 if the model is your own, for grey images. If Pillow is installed, ``to_input(read_image(file, fitting), fitting)``
makes the pixels, with ``thimble.data.image_files.read_image`` and, from ``thimble.data.pixels``, ``to_input`` and
``fitting = Fitting.of(model)``.

The weights are safetensors files in the repository: nothing else is downloaded, and nothing is ever unpickled.
docs/hub.md has more.
"""

from __future__ import annotations

import sys as _sys
from pathlib import Path as _Path
from typing import Any as _Any

dependencies = ["torch", "numpy", "safetensors"]


def reference(pretrained: bool = True, **arguments: _Any) -> _Any:
    """The reference network: 150,576 parameters, receptive field 93.

    Args:
        pretrained: True: weights trained on CIFAR-10, in eval mode; False: new random weights, in training mode.
        arguments: only with ``pretrained=False``: ``num_classes`` (default 10), ``dropout``, 0..1 (default 0),
            ``in_channels`` (default 3) and ``input_size``, (height, width) (default 32x32).
    """
    return _model("reference", pretrained, arguments)


def thimble_78k(pretrained: bool = True, **arguments: _Any) -> _Any:
    """The family's smallest network: 78,666 parameters.

    Args:
        pretrained: True: weights trained on CIFAR-10, in eval mode; False: new random weights, in training mode.
        arguments: only with ``pretrained=False``: ``num_classes`` (default 10), ``dropout``, 0..1 (default 0),
            ``in_channels`` (default 3) and ``input_size``, (height, width) (default 32x32).
    """
    return _model("thimble-78k", pretrained, arguments)


def thimble_97k(pretrained: bool = True, **arguments: _Any) -> _Any:
    """The family's middle network: 97,530 parameters. Untrained: ``pretrained=False``.

    Args:
        pretrained: must be False: the repository has no trained weights of this network yet.
        arguments: only with ``pretrained=False``: ``num_classes`` (default 10), ``dropout``, 0..1 (default 0),
            ``in_channels`` (default 3) and ``input_size``, (height, width) (default 32x32).
    """
    return _model("thimble-97k", pretrained, arguments)


def thimble_150k(pretrained: bool = True, **arguments: _Any) -> _Any:
    """The family's largest network: 149,722 parameters. Untrained: ``pretrained=False``.

    Args:
        pretrained: must be False: the repository has no trained weights of this network yet.
        arguments: only with ``pretrained=False``: ``num_classes`` (default 10), ``dropout``, 0..1 (default 0),
            ``in_channels`` (default 3) and ``input_size``, (height, width) (default 32x32).
    """
    return _model("thimble-150k", pretrained, arguments)


def custom(path: str | _Path) -> _Any:
    """A model that ``thimble train`` saved, in eval mode.

    Args:
        path: a weights file, ``model.safetensors``, or a run folder.
    """
    _find_thimble()
    from thimble.storage.find import load_model

    return load_model(_Path(path))


def _model(name: str, pretrained: bool, arguments: dict[str, _Any]) -> _Any:
    _find_thimble()
    from thimble.errors import UserError
    from thimble.models import build_model
    from thimble.storage.find import load_pretrained
    from thimble.storage.shipped import list_pretrained

    if not pretrained:
        return build_model(name, **arguments)
    if arguments:
        raise UserError(f"pretrained weights take no {', '.join(arguments)}: drop them, or use pretrained=False")
    if name not in list_pretrained():
        raise UserError(
            f"{name} has no trained weights: use pretrained=False, or one of {', '.join(list_pretrained())}"
        )
    return load_pretrained(name)


def _find_thimble() -> None:
    """Make this repository's package importable, unless thimble is imported already.

    ``src/`` stays on the path (torch.hub removes only the repository's folder), because a worker process that gets
    the model must import the package again. ``src/`` has nothing else in it.
    """
    if "thimble" not in _sys.modules:
        _sys.path.insert(0, str(_Path(__file__).resolve().parent / "src"))
