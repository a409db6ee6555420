"""The verbs, one to a file, named as typed: each reads its options, calls what does the work, and prints.

The folder is the list. A file's function of its own name is the verb; it returns the exit code. ``train`` alone is a
function of the arguments that makes the verb, because its defaults follow from them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence


def list_verbs() -> list[str]:
    """The names of the verbs: ``train``, where everybody begins, then the others in the order of the alphabet."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(names, key=lambda name: (name != "train", name))


def find_verbs(arguments: Sequence[str]) -> dict[str, Callable[..., int]]:
    """The verbs by name, with defaults that follow from the arguments of this call.

    Args:
        arguments: the verb and its options, as typed.
    """
    verbs: dict[str, Callable[..., int]] = {}
    for name in list_verbs():
        verb = getattr(importlib.import_module(f".{name}", __name__), name)
        verbs[name] = verb(arguments if arguments[:1] == [name] else []) if name == "train" else verb
    return verbs
