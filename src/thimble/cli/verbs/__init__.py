"""The verbs, one to a file: each parses its options, calls the code that does the work, and prints.

The folder is the list: in each file, the function with the file's name is the verb, and returns the exit code. Only
``train`` and ``data`` differ: they take the arguments and return the verb, because its defaults depend on them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence

_BY_ARGUMENTS = ("train", "data")


def list_verbs() -> list[str]:
    """Return the names of the verbs: ``train``, where everybody begins, then the others in alphabetical order."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(names, key=lambda name: (name != "train", name))


def find_verbs(arguments: Sequence[str]) -> dict[str, Callable[..., int]]:
    """Return the verbs by name.

    Args:
        arguments: the verb and its options, as typed.
    """
    verbs: dict[str, Callable[..., int]] = {}
    for name in list_verbs():
        verb = getattr(importlib.import_module(f".{name}", __name__), name)
        verbs[name] = verb(arguments if arguments[:1] == [name] else []) if name in _BY_ARGUMENTS else verb
    return verbs
