"""PyTorch and NumPy when they are first used: light until then, and then the very modules."""

from __future__ import annotations

import subprocess
import sys

import numpy
import torch

from thimble.system import lazily

CODE = """
import sys
from thimble.system.lazily import F, np, torch
assert not {"torch", "numpy"} & set(sys.modules)
torch.zeros(1), np.zeros(1)
assert {"torch", "numpy"} <= set(sys.modules)
"""


def test_nothing_is_imported_before_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_what_they_give_is_the_modules_own() -> None:
    assert lazily.torch.Tensor is torch.Tensor
    assert lazily.torch.nn is torch.nn
    assert lazily.F.relu is torch.nn.functional.relu
    assert lazily.np.ndarray is numpy.ndarray
