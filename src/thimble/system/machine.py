"""Describe the machine: its processor, its memory settings, and the versions of the installed packages."""

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
    """Whether the training device multiplies bfloat16 faster than float32.

    A CPU needs AVX-512 BF16 or AMX (Cooper Lake, Sapphire Rapids, Zen 4 and later). On others oneDNN emulates bfloat16,
    which is slower than float32.
    """
    if device != "cpu" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of PyTorch have no get_capabilities.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(bool(capabilities.get(name)) for name in ("avx512_bf16", "amx_bf16"))


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next step instead of returning it to the kernel.

    A training step frees and allocates hundreds of megabytes of activations. By default glibc maps each large block
    anew, and the kernel zeroes its pages at first touch. Keeping the memory makes a step 1.5 times as fast (828 against
    544 images/s: benchmarks/results/training_speed.md). The setting applies to the whole process, which then keeps its
    peak memory until it ends.

    Returns:
        Whether the setting was made: False if the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4  # from glibc's malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    # Map no block on its own, never trim the heap, and grow it 64 MiB at a time.
    settings = ((m_mmap_max, 0), (m_trim_threshold, 2**31 - 1), (m_top_pad, 64 * 2**20))
    results = [mallopt(parameter, value) for parameter, value in settings]  # set all three, even if one fails
    return all(result == 1 for result in results)


def versions() -> dict[str, str]:
    """The versions of the packages that results depend on, by package name."""
    from importlib.metadata import PackageNotFoundError, version

    names = ("lightning-fabric", "albumentations", "opencv-python-headless", "numpy", "safetensors")
    ours = {"thimble": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    for name in names:
        with contextlib.suppress(PackageNotFoundError):  # a package may be missing if nothing uses it
            ours[name] = version(name)
    return ours


def processor() -> str:
    """The processor's name, from /proc/cpuinfo on Linux, else from Python's platform module."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
