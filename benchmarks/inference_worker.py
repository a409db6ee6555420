"""A program of ``benchmarks/inference.py`` in a process of its own, so that its memory and its threads are its own.

    python benchmarks/inference_worker.py torch|onnxruntime FILE IMAGES THREADS

Reads lines of ``batch warmup calls`` and answers each, in JSON, with the seconds of the calls and the most memory that
this process ever had. It imports no more than it runs: onnxruntime and NumPy without PyTorch.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thimble.models.classifier import Classifier

    Run = Callable[[int], Any]
    """Classifies so many images."""

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as thimble does it, which is not imported here


def peak_bytes() -> int:
    """The most memory that this process has had at once, from Linux's books.

    ``getrusage`` would begin with what the process that started this one had.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def build_network(name: str) -> Classifier:
    """A network of Thimble's or ResNet-8, untrained."""
    if name == "resnet8":
        from resnet8 import resnet8

        return resnet8()
    from thimble.models import build_model

    return build_model(name)


def prepare_torch(path: Path, images: Any, threads: int) -> Run:
    """Eager, float32, channels-last; the images are normalised beforehand."""
    import torch
    from safetensors.torch import load_file

    from thimble.data.dataset import normalize
    from thimble.system.machine import keep_freed_memory

    # As onnxruntime does by itself. Else glibc gives pages back after every call, and at batch 64 about half the time,
    # more in one process and less in the next, goes into getting them again.
    keep_freed_memory()
    torch.set_num_threads(threads)
    network = build_network(path.stem)
    network.load_state_dict(load_file(path))
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = normalize(torch.from_numpy(images).permute(0, 3, 1, 2), network.mean, network.std)

    def run(batch: int) -> None:
        with torch.inference_mode():
            network(inputs[:batch])

    return run


def prepare_onnxruntime(path: Path, images: Any, threads: int) -> Run:
    """An ONNX file; it takes pixels and normalises them itself."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # int8 as docs/export.md says
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"images": images[:batch]})


def main() -> int:
    """Load, then measure what is asked for until nothing more is."""
    runtime, path, images_path, threads = sys.argv[1:]
    importlib.import_module(runtime)
    import numpy as np

    imported = peak_bytes()
    images = np.fromfile(images_path, dtype=np.uint8).reshape(-1, 32, 32, 3)
    prepare = {"torch": prepare_torch, "onnxruntime": prepare_onnxruntime}[runtime]
    run = prepare(Path(path), images, int(threads))
    print(json.dumps({"imported_bytes": imported, "loaded_bytes": peak_bytes()}), flush=True)
    for line in sys.stdin:
        batch, warmup, calls = map(int, line.split())
        for _ in range(warmup):
            run(batch)
        seconds = []
        for _ in range(calls):
            started = time.perf_counter()
            run(batch)
            seconds.append(time.perf_counter() - started)
        print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
