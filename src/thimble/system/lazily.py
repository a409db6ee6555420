"""NumPy and PyTorch, imported when they are first used: ``from thimble.system.lazily import torch``.

For modules whose settings the command line reads before anybody needs a tensor: ``thimble --help`` answers in less than
half a second, and importing PyTorch alone takes longer. A type checker sees the modules themselves. What a class or a
decorator needs at once (``class X(torch.nn.Module)``, ``@torch.no_grad()``) is not for here. Python 3.15 has this as
``lazy import torch`` (PEP 810).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    import torch.nn.functional as F

    __all__ = ["F", "np", "torch"]
else:

    class _NumPy:
        def __getattr__(self, name: str) -> Any:
            import numpy

            return getattr(numpy, name)

    class _Torch:
        def __getattr__(self, name: str) -> Any:
            import torch

            return getattr(torch, name)

    class _Functional:
        def __getattr__(self, name: str) -> Any:
            import torch.nn.functional

            return getattr(torch.nn.functional, name)

    np, torch, F = _NumPy(), _Torch(), _Functional()
