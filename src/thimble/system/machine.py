"""What the machine is: its processor, its memory, and the versions of what runs on it."""

from __future__ import annotations

import contextlib
import ctypes
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from thimble.version import __version__


def has_bfloat16(device: Literal["auto", "cpu", "gpu"]) -> bool:
    """Whether the device that would be trained on multiplies bfloat16 faster than float32.

    On the CPU: AVX-512 BF16 or AMX (Cooper Lake, Sapphire Rapids, Zen 4 and later). Elsewhere oneDNN would emulate it,
    slower than float32.
    """
    if device != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: Mapping[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # older versions of PyTorch have no such list
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next step instead of returning it to the kernel.

    A training step frees and allocates hundreds of megabytes of activations. By default glibc maps each large block
    anew, and the kernel zeroes its pages at first touch. Keeping them makes a step 1.5 times as fast (828 against 544
    images/s: benchmarks/results/training_speed.md). The setting holds for the whole process, which keeps its peak
    memory until it ends.

    Returns:
        Whether it was done: false where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4  # from glibc's malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    # No blocks of their own (0 mappings), never trim the heap, and grow it 64 MiB at a time.
    settings = ((m_mmap_max, 0), (m_trim_threshold, 2**31 - 1), (m_top_pad, 64 * 2**20))
    results = [mallopt(parameter, value) for parameter, value in settings]  # each of them, whatever the first one gave
    return all(result == 1 for result in results)


def versions() -> dict[str, str]:
    """The versions that results depend on."""
    from importlib.metadata import PackageNotFoundError, version

    names = ("lightning-fabric", "albumentations", "opencv-python-headless", "numpy", "safetensors")
    ours = {"thimble": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):  # a training without Albumentations, say, does without it
            ours[name] = version(name)
    return ours


def processor() -> str:
    """The processor's name where Linux tells it, else what Python knows."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
