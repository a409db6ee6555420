"""Entry points for ``torch.hub``: Thimble's networks without installing Thimble.

    model = torch.hub.load("OWNER/REPO", "reference")                         # trained, in eval mode
    model = torch.hub.load("OWNER/REPO", "thimble_97k", pretrained=False)     # untrained
    model = torch.hub.load("OWNER/REPO", "custom", "runs/mine")               # weights of one's own

OWNER/REPO is this repository on GitHub; of a folder that holds a copy of it, add ``source="local"``. Images are float
tensors (N, 3, height, width) of pixels in 0..1, normalised as ``(pixel - mean) / std`` with the model's own ``mean``
and ``std``; ``model.classes`` names the logits, ``model.input_size`` is (channels, height, width). With Pillow,
``thimble.data.image_files.read_image`` and ``to_input`` make those pixels of an image file.

Weights are safetensors files that come with the repository: nothing more is downloaded, nothing is ever unpickled.
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
        pretrained: with the weights that were trained on CIFAR-10, in eval mode; else new weights, in training mode.
        arguments: of an untrained network: ``num_classes`` (default 10) and ``dropout``, 0..1 (default 0).
    """
    return _model("reference", pretrained, arguments)


def thimble_78k(pretrained: bool = True, **arguments: _Any) -> _Any:
    """The family's smallest network: 78,666 parameters.

    Args:
        pretrained: with the weights that were trained on CIFAR-10, in eval mode; else new weights, in training mode.
        arguments: of an untrained network: ``num_classes`` (default 10) and ``dropout``, 0..1 (default 0).
    """
    return _model("thimble-78k", pretrained, arguments)


def thimble_97k(pretrained: bool = True, **arguments: _Any) -> _Any:
    """The family's middle network: 97,530 parameters. Untrained: ``pretrained=False``.

    Args:
        pretrained: an error as long as the repository holds no trained weights of it.
        arguments: of an untrained network: ``num_classes`` (default 10) and ``dropout``, 0..1 (default 0).
    """
    return _model("thimble-97k", pretrained, arguments)


def thimble_150k(pretrained: bool = True, **arguments: _Any) -> _Any:
    """The family's largest network: 149,722 parameters. Untrained: ``pretrained=False``.

    Args:
        pretrained: an error as long as the repository holds no trained weights of it.
        arguments: of an untrained network: ``num_classes`` (default 10) and ``dropout``, 0..1 (default 0).
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
        raise UserError(f"{', '.join(arguments)} beside pretrained weights: expected pretrained=False, or none of them")
    if name not in list_pretrained():
        raise UserError(
            f"{name} is not shipped trained ({', '.join(list_pretrained())} are): expected pretrained=False"
        )
    return load_pretrained(name)


def _find_thimble() -> None:
    """Make this repository's package importable, unless one is imported already.

    It stays on the path, unlike the repository's folder, which torch.hub takes off it again: a process that is handed
    the model imports the package anew. ``src/`` holds nothing else.
    """
    if "thimble" not in _sys.modules:
        _sys.path.insert(0, str(_Path(__file__).resolve().parent / "src"))
