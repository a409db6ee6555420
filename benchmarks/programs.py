"""What ``benchmarks/inference.py`` compares: the files of a network, and the processes that run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from inference_worker import build_network
from resnet8 import settle

from thimble.data.shapes10 import shapes10
from thimble.exporting import onnx_file
from thimble.exporting.c import source as c_file
from thimble.exporting.deployment import deploy
from thimble.models.classifier import Classifier
from thimble.storage.find import load_pretrained
from thimble.storage.shipped import list_pretrained
from thimble.storage.weights import save_weights

PYTORCH, FLOAT32, INT8, C = "PyTorch eager", "onnxruntime float32", "onnxruntime int8", "C int8"
COMPILER, FLAGS = "cc", ("-std=c99", "-O3", "-march=native")
BATCH = 64
_HERE = Path(__file__).parent
_CALIBRATION_IMAGES = 256
_WARMUP_CALLS = 10  # onnxruntime learns in two calls which memory a batch takes, and gets it in one piece from then on


@dataclass(frozen=True)
class Program:
    """A way to run a network.

    Attributes:
        network: its name.
        name: which way: one of the four above.
        command: of its process; the file of the images, and for the Python ones the number of threads, come behind.
        file: what would be shipped.
        sections: of a compiled file, in bytes: ``text`` (code and weights), ``data`` and ``bss`` (static memory).
    """

    network: str
    name: str
    command: tuple[str, ...]
    file: Path
    sections: dict[str, int] = field(default_factory=dict)

    @property
    def num_threads(self) -> tuple[int, ...]:
        """How many threads it can use: the C file's memory is static, so that it has one."""
        available = len(os.sched_getaffinity(0))
        return (1,) if self.name == C or available < 2 else (1, 2)


def compiler() -> str | None:
    """The C compiler and its version; None where there is none."""
    if not shutil.which(COMPILER):
        return None
    return subprocess.run(
        [COMPILER, "--version"], check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout.splitlines()[0]


def load(name: str) -> Classifier:
    """A network in evaluation mode: with the shipped weights, or with random ones and real BatchNorm statistics."""
    if name in list_pretrained():
        return load_pretrained(name)
    torch.manual_seed(0)
    return settle(build_network(name), shapes10(_CALIBRATION_IMAGES).images)


def write_images(path: Path) -> None:
    """Images for all programs, uint8 (64, 32, 32, 3)."""
    shapes10(BATCH, seed=1).images.permute(0, 2, 3, 1).contiguous().numpy().tofile(path)


def build_programs(model: Classifier, folder: Path) -> list[Program]:
    """Write a network's files; the C file is left out where there is no compiler.

    The int8 files are calibrated with drawings whatever the network was trained on: ranges do not matter for time.
    """
    base = folder / model.name
    deployment = deploy(
        model,
        metadata={"model": model.name, "classes": list(model.classes)},
        calibration=shapes10(_CALIBRATION_IMAGES).images,
    )
    weights, float32, int8 = (base.with_suffix(ending) for ending in (".safetensors", ".onnx", ".int8.onnx"))
    save_weights(weights, model, {}, half=True)
    float32.write_bytes(onnx_file.build_float(deployment))
    int8.write_bytes(onnx_file.build_int8(deployment))
    worker = (sys.executable, str(_HERE / "inference_worker.py"))
    programs = [
        Program(model.name, PYTORCH, (*worker, "torch", str(weights)), weights),
        Program(model.name, FLOAT32, (*worker, "onnxruntime", str(float32)), float32),
        Program(model.name, INT8, (*worker, "onnxruntime", str(int8)), int8),
    ]
    if compiler():
        source = base.with_suffix(".c")
        source.write_bytes(c_file.build(deployment))
        programs.append(_compile(model.name, source))
    return programs


def _compile(network: str, source: Path) -> Program:
    """The C file alone for its sections, then with a main function."""
    [classify] = set(re.findall(r"\bint (\w+_classify)\(", source.read_text(encoding="utf-8")))
    code, binary = source.with_suffix(".o"), source.with_suffix(".bin")
    compile_ = (COMPILER, *FLAGS)
    subprocess.run([*compile_, "-c", source, "-o", code], check=True)
    subprocess.run([*compile_, f"-DCLASSIFY={classify}", _HERE / "inference_worker.c", code, "-o", binary], check=True)
    table = subprocess.run(["size", code], check=True, capture_output=True, text=True, encoding="utf-8").stdout
    names, values = (line.split()[:3] for line in table.splitlines())  # text, data, bss
    return Program(network, C, (str(binary),), source, dict(zip(names, map(int, values), strict=True)))


class Process:
    """A program that waits to be told to run; a context manager.

    Attributes:
        program: what it runs.
        threads: how many it uses, and how many cores it has.
        imported_bytes: its memory before it loaded the network: Python, NumPy and the runtime, or the C library.
        loaded_bytes: the most memory it had by the time that the network was ready.
        peak_bytes: by batch, 1 and 64, the most memory it had after some such batches.
    """

    def __init__(self, program: Program, threads: int, images: Path) -> None:
        self.program, self.threads = program, threads
        arguments = [str(images)] if program.name == C else [str(images), str(threads)]
        available = os.sched_getaffinity(0)
        # The child inherits these cores, every thread of it. The last ones: interrupts prefer the first.
        os.sched_setaffinity(0, sorted(available)[-threads:])
        try:
            self._child = subprocess.Popen(
                [*program.command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        finally:
            os.sched_setaffinity(0, available)
        ready = self._read()
        self.imported_bytes, self.loaded_bytes = ready["imported_bytes"], ready["loaded_bytes"]
        self.peak_bytes = {batch: int(self._ask(batch, _WARMUP_CALLS, 0)["peak_bytes"]) for batch in (1, BATCH)}

    def run(self, batch: int, warmup: int, calls: int) -> list[float]:
        """Seconds of each call with so many images, after some that are not counted."""
        seconds: list[float] = self._ask(batch, warmup, calls)["seconds"]
        return seconds

    def _ask(self, *numbers: int) -> Any:
        assert self._child.stdin is not None
        self._child.stdin.write(" ".join(map(str, numbers)) + "\n")
        self._child.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.program.name} of {self.program.network} ended: exit code {self._child.wait()}")
        return json.loads(line)

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._child.communicate()  # the end of its input ends it
