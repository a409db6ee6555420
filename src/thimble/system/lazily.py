"""Import NumPy and PyTorch on first use: ``from thimble.system.lazily import torch``.

``thimble --help`` imports every module that defines settings, and has to finish in half a second; importing PyTorch
alone takes longer. Type checkers see the real modules. Do not use this for a base class or a decorator
(``class X(torch.nn.Module)``, ``@torch.no_grad()``): they need the module at once. Python 3.15 has ``lazy import
torch`` instead (PEP 810).
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
