"""Derive seeds for independent random streams from a few whole numbers."""

from __future__ import annotations

import numpy as np


def derive_seed(*parts: int) -> int:
    """Mix several whole numbers (a seed, an epoch, a step, ...) into one seed of 32 bits.

    Streams that differ in any part are independent; with ``seed + epoch``, (0, 1) and (1, 0) would collide. Only
    trailing zeros make no difference: (7,), (7, 0) and (7, 0, 0) give the same seed.
    """
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
