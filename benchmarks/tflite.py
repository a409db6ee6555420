"""The .tflite files in TensorFlow's two interpreters: LiteRT, and TensorFlow Lite for Microcontrollers (TFLM).

    pip install -c constraints.txt -e '.[tflite]' tflite-micro
    python benchmarks/tflite.py --output benchmarks/results/tflite

Beside the ONNX int8 file, whose integers they share: labels and accuracy on the first 1,000 CIFAR-10 test images,
LiteRT's accuracy on all of them, and the memory that TFLM asks for.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pages import add_output, publish, run_script, table
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.data.sources import source_for
from thimble.exporting import onnx_file
from thimble.exporting.export import export
from thimble.exporting.tflite import file as tflite_file
from thimble.models.classifier import Classifier
from thimble.storage.find import load_model
from thimble.storage.shipped import list_pretrained

_COMPARED = 1_000
_ARENA = 4_000_000
_GREY = (
    "`grey` is `thimble-78k` for one channel, trained for three epochs on CIFAR-10 in grey. It is unsure, so that"
    " rounding changes more of its labels; its accuracy says what that costs."
)


def on_tflm(content: bytes) -> tuple[Callable[[Tensor], Tensor], int]:
    """A file of int8 pixels on TFLM, as a function from uint8 images to logits, and the bytes of its arena."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA)
    details: dict[str, Any] = interpreter.get_output_details(0)["quantization_parameters"]
    scale, zero_point = np.float32(details["scales"][0]), details["zero_points"][0]

    def run(images: Tensor) -> Tensor:
        rows = []
        for image in images.numpy():
            interpreter.set_input((image.astype(np.int16) - 128).astype(np.int8)[None], 0)
            interpreter.invoke()
            rows.append(interpreter.get_output(0)[0].astype(np.float32))
        return torch.from_numpy((np.array(rows) - zero_point) * scale)

    return run, _arena(interpreter)


def _arena(interpreter: Any) -> int:
    """What the interpreter prints, past Python, of its arena."""
    with tempfile.TemporaryFile() as printed:
        kept = os.dup(1), os.dup(2)
        for stream in (1, 2):
            os.dup2(printed.fileno(), stream)
        try:
            interpreter.print_allocations()
        finally:
            for stream, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, stream)
                os.close(copy)
        printed.seek(0)
        found = re.search(rb"Arena allocation total (\d+) bytes", printed.read())
    if found is None:
        raise RuntimeError("tflite-micro printed no size of its arena")
    return int(found[1])


def measure(name: str, model: Classifier, test: ImageDataset, data: Any, folder: Path) -> dict[str, Any]:
    """A row for a network: its file with uint8 pixels in LiteRT, with int8 pixels on TFLM."""
    paths = {}
    for kind, pixels in (("onnx-int8", "uint8"), ("tflite", "uint8"), ("tflite", "int8")):
        paths[kind, pixels] = folder / f"{pixels}.{kind}"
        result = export(model, kind, paths[kind, pixels], pixels=pixels, data=data)  # type: ignore[arg-type]
    images = test.images.permute(0, 2, 3, 1).contiguous()
    micro, arena = on_tflm(paths["tflite", "int8"].read_bytes())
    runs = {
        "onnx": onnx_file.load(paths["onnx-int8", "uint8"]),
        "litert": tflite_file.load(paths["tflite", "uint8"]),
        "tflm": micro,
    }
    few, all_ = torch.split(images[:_COMPARED], 32), torch.split(images, 32)
    labels = {
        key: torch.cat([run(part) for part in (few if key == "tflm" else all_)]).argmax(1) for key, run in runs.items()
    }
    row: dict[str, Any] = {"model": name, "num_images": len(images), "arena_bytes": arena}
    row["num_bytes"] = paths["tflite", "uint8"].stat().st_size
    row["thimble"] = result.metadata["thimble"]
    for key, found in labels.items():
        right = (found == test.labels[: len(found)]).float()
        row[f"{key}_accuracy"], row[f"{key}_first"] = float(right.mean()), float(right[:_COMPARED].mean())
        row[f"{key}_same"] = float((found[:_COMPARED] == labels["onnx"][:_COMPARED]).float().mean())
    return row


def paragraphs(rows: list[dict[str, Any]]) -> list[str]:
    """The page: a row for each network."""
    cells = [
        [
            row["model"],
            row["num_bytes"],
            *(f"{row[f'{key}_accuracy']:.2%}" for key in ("onnx", "litert")),
            *(f"{row[f'{key}_first']:.1%}" for key in ("onnx", "litert", "tflm")),
            *(f"{row[f'{key}_same']:.2%}" for key in ("litert", "tflm")),
            row["arena_bytes"],
        ]
        for row in rows
    ]
    header = ["network", "bytes", "accuracy: onnxruntime int8", "LiteRT"]
    header += ["on the first 1,000: onnxruntime int8", "LiteRT", "TFLM"]
    header += ["labels as onnxruntime's: LiteRT", "TFLM", "TFLM's arena, bytes"]
    return [
        "LiteRT runs the file with uint8 pixels, with its default kernels; TFLM the one with int8 pixels, with its"
        f" reference kernels, on the first {_COMPARED:,} test images only. Labels are compared on these."
        " The arena is the memory that TFLM asks for beside the file, on a computer of 64 bits.",
        table(header, cells),
        *([_GREY] if any(row["model"] == "grey" for row in rows) else []),
    ]


def grey(
    folder: Path, train: ImageDataset, test: ImageDataset
) -> tuple[Classifier, ImageDataset, tuple[ImageDataset, ...]]:
    """A network for one channel, hardly trained, its test images and its data."""
    from thimble import train as train_model

    def as_grey(data: ImageDataset) -> ImageDataset:
        images = (data.images.float().mean(1, keepdim=True) + 0.5).to(torch.uint8)
        return ImageDataset("cifar10-grey", images, data.labels, data.classes, (0.48,), (0.24,))

    pair = as_grey(train), as_grey(test)
    train_model(
        data=pair,
        recipe="fast",
        model="thimble-78k",
        epochs=3,
        image_sizes=(0.5, 1.0, 1.0),
        train_images=20_000,
        runs=folder,
        name="grey",
    )
    return load_model(folder / "grey"), pair[1], pair


def main() -> int:
    """Export, run and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=[*list_pretrained(), "grey"])
    add_output(parser)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            print(name, flush=True)
            model = load_model("reference" if name == "grey" else name)
            source = source_for(None, model, name, None)
            test, data = source.load("test"), None
            if name == "grey":
                model, test, data = grey(Path(folder), source.load("train"), test)
            rows.append(measure(name, model, test, data, Path(folder)))
    publish(options.output, "TensorFlow Lite", paragraphs(rows), {"rows": rows}, n=1, repeated="export of each")
    return 0


if __name__ == "__main__":
    run_script(main)
