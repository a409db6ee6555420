"""Files that are good, one of each kind that Thimble reads from outside, and what can become of them.

``mutated`` damages bytes as disks and cables do, and worse: bits, lengths, cuts, splices. ``forged`` writes whole files
that claim what no program would. Both follow from a ``random.Random`` alone.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from PIL import Image

from thimble.data.shapes10 import shapes10
from thimble.exporting.export import describe
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.logs import COLUMNS
from thimble.storage.weights import save_weights
from thimble.training.config import TrainConfig
from thimble.training.config_file import to_dict, to_file
from thimble.training.optimizers import build_optimizers
from thimble.training.progress import Progress
from thimble.training.resume import save_progress
from thimble.training.tricks.averaging import WeightAverage
from thimble.training.tricks.hard_images import Hardness

RECORDS = 20
"""In each of the small files of CIFAR-10's layout, in place of 10,000."""


def history(epochs: int) -> list[dict[str, Any]]:
    return [{name: epoch if name == "epoch" else 0.5 for name in COLUMNS} for epoch in range(1, epochs + 1)]


def small_model(**arguments: Any) -> Classifier:
    """All its values are alike, so that what is kept of it packs well. Of grey images, it has a fit and a depth."""
    model = build_model("thimble-78k", num_classes=3, **arguments).eval()
    if model.input_size[0] == 1:
        model.fit, model.depth = "pad", (10.0, 4095.5)
    for name, tensor in model.state_dict().items():
        tensor.fill_(1 if name.endswith(("running_var", "num_batches_tracked")) else 0.01)
    model.classes = ("a", "b", "c")
    return model


def training(model: Classifier) -> tuple[list[torch.optim.Optimizer], WeightAverage, Hardness]:
    optimizers = build_optimizers(model, TrainConfig().optimization)
    return optimizers, WeightAverage(model, 0.9), Hardness(40, torch.device("cpu"))


def progress() -> Progress:
    return Progress(5, 15, 1, "", epoch=2, batch=1, step=11, images=8, seconds=0.5, history=history(2))


@cache
def good(kind: str) -> tuple[bytes, ...]:
    """Good files of a kind, each its bytes."""
    with tempfile.TemporaryDirectory() as name:
        return tuple(globals()[f"_{kind}"](Path(name)))


def _weights(folder: Path) -> list[bytes]:
    found = []
    for half in (False, True):
        metadata = {
            "recipe": to_dict(TrainConfig()),
            "data": {"name": "shapes10"},
            "metrics": {"last_epoch": history(1)[0]},
        }
        for model in (small_model(), small_model(in_channels=1, input_size=(96, 64))):
            save_weights(folder / "x", model, metadata, half=half)
            found.append((folder / "x").read_bytes())
    return found


def _state(folder: Path) -> list[bytes]:
    torch.manual_seed(0)
    model = small_model()
    optimizers, average, hardness = training(model)
    model(torch.zeros(2, 3, 8, 8)).sum().backward()
    for each in optimizers:
        each.step()
    save_progress(folder, progress(), model, optimizers, average, hardness)
    return [(folder / "last.ckpt" / "state.safetensors").read_bytes()]


def _config(folder: Path) -> list[bytes]:
    return [json.dumps(to_file(TrainConfig.of(name="x", image_sizes=(16, 32))), indent=2).encode()]


def _metrics(folder: Path) -> list[bytes]:
    rows = [",".join(str(value) for value in row.values()) for row in history(3)]
    return ["\n".join([",".join(COLUMNS), *rows, ""]).encode()]


def _environment(folder: Path) -> list[bytes]:
    return [json.dumps({"command": ["thimble", "train"], "versions": {"torch": "2"}, "device": "cpu"}).encode()]


def _onnx(folder: Path) -> list[bytes]:
    """Of layers that our exports have, but small and made by hand: an export takes seconds."""
    random_ = np.random.RandomState(0)
    constants: dict[str, Any] = {
        "scale": np.full((3, 1, 1), 0.01, np.float32),
        "shift": np.zeros((3, 1, 1), np.float32),
        "kernel": random_.randn(8, 3, 3, 3).astype(np.float32),
        "step": np.array(0.1, np.float32),
        "zero": np.array(0, np.uint8),
        "head": random_.randn(10, 8).astype(np.float32),
    }
    node = helper.make_node
    layers = [
        node("Cast", ["images"], ["cast"], to=1),
        node("Transpose", ["cast"], ["turned"], perm=[0, 3, 1, 2]),
        node("Mul", ["turned", "scale"], ["scaled"]),
        node("Add", ["scaled", "shift"], ["input"]),
        node("Conv", ["input", "kernel"], ["conv"], pads=[1] * 4, strides=[1, 1], group=1),
        node("Relu", ["conv"], ["relu"]),
        node("QuantizeLinear", ["relu", "step", "zero"], ["whole"]),
        node("DequantizeLinear", ["whole", "step", "zero"], ["back"]),
        node("MaxPool", ["back"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["pooled"], ["mean"]),
        node("Flatten", ["mean"], ["flat"], axis=1),
        node("Gemm", ["flat", "head"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        layers,
        "small",
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", 8, 8, 3])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model = small_model()
    model.classes, model.input_size = shapes10(1).classes, (3, 8, 8)
    told = describe(model, {}, "0" * 64, preprocess=True, softmax=False)
    helper.set_model_props(proto, {"thimble": json.dumps(told)})
    return [proto.SerializeToString()]


def _cifar(folder: Path) -> list[bytes]:
    values = np.random.RandomState(0).randint(0, 256, (RECORDS, 3073), dtype=np.uint8)
    values[:, 0] = np.arange(RECORDS) % 10
    return [values.tobytes()]


def _archive(folder: Path) -> list[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name in ("data_batch_1.bin", "test_batch.bin", "batches.meta.txt", "readme.html"):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = 3073
            tar.addfile(member, io.BytesIO(bytes(3073)))
    return [buffer.getvalue(), gzip.decompress(buffer.getvalue())]


def _image(folder: Path) -> list[bytes]:
    pixels = np.random.RandomState(0).randint(0, 256, (24, 40, 4), dtype=np.uint8)
    found = []
    for mode, kind in (
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("P", "GIF"),
        ("RGB", "JPEG"),
        ("RGBA", "WEBP"),
        ("L", "BMP"),
        ("1", "TIFF"),
    ):
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert("RGB" if mode == "P" else mode).convert(mode).save(buffer, kind)
        found.append(buffer.getvalue())
    return found


KINDS = ("weights", "state", "config", "metrics", "environment", "onnx", "cifar", "archive", "image")
