"""Files that are good, one of each kind that Thimble reads from outside, and what can become of them.

``mutated`` damages bytes as disks and cables do, and worse: bits, lengths, cuts, splices. ``forged`` writes whole files
that claim what no program would. Both follow from a ``random.Random`` alone.
"""

from __future__ import annotations

import copy
import gzip
import io
import json
import random
import struct
import tarfile
import tempfile
import zlib
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

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 32, 1025, 2**31, 2**62, 2**63, 10**30, -(2**63)),
    *(0.0, 0.5, -0.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
    *("", "x", "3", "a\0b", "../../x", "/dev/zero", "x" * 5000, "\ud800", "\udcff", "[/red]", "\x1b[2J", "a\nb"),
    *([], {}, [[]], [1, 2, 3], [0.5] * 3, ["a"] * 3, [3, 20_000, 20_000], {"a": {"b": []}}, [None] * 3, [[1]] * 10),
]


def history(epochs: int) -> list[dict[str, Any]]:
    return [{name: epoch if name == "epoch" else 0.5 for name in COLUMNS} for epoch in range(1, epochs + 1)]


def small_model() -> Classifier:
    """All its values are alike, so that what is kept of it packs well."""
    model = build_model("thimble-78k", num_classes=3).eval()
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
        save_weights(folder / "x", small_model(), metadata, half=half)
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


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Damaged in one to four places, the first bytes more often, where the lengths are."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        size = len(data)
        place = rng.randrange(max(1, min(size, rng.choice((16, 200, 4000, size)))))
        kind = rng.randrange(8)
        if kind == 0 and size:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            data[place] = rng.randrange(256)
        elif kind == 2:
            del data[rng.randrange(size + 1) :]
        elif kind == 3:
            data[place : place + rng.randrange(1, 64)] = rng.randbytes(rng.randrange(64))
        elif kind == 4:
            start = rng.randrange(size + 1)
            data[place:place] = data[start : start + rng.randrange(1, 4096)]
        elif kind == 5:  # a length, if there is one
            length = rng.choice((0, 1, 2**16, 2**24, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1))
            width = rng.choice((4, 8))
            packed = (length % 2 ** (8 * width)).to_bytes(width, rng.choice(("little", "big")))
            data[place : place + width] = packed
        elif kind == 6:
            data += rng.randbytes(rng.randrange(1, 100))
        else:  # a digit of a text
            digits = [index for index in range(min(size, 20_000)) if 48 <= data[index] <= 57]
            if digits:
                data[rng.choice(digits)] = rng.choice(b'0123456789-.eE[]{}",')
    return bytes(data)


def forged(kind: str, rng: random.Random) -> bytes:
    """A file that claims what no program would write, or a damaged one if nothing is forged of its kind."""
    content = rng.choice(good(kind))
    if kind in ("weights", "state"):
        return _forged_tensors(content, rng)
    if kind in ("config", "environment"):
        return _forged_json(content, rng)
    if kind == "metrics":
        cells = [line.split(",") for line in content.decode().split("\n")]
        for _ in range(rng.randrange(1, 3)):
            row = rng.choice(cells)
            row[rng.randrange(len(row))] = str(rng.choice(VALUES))
        return "\n".join(map(",".join, cells)).encode(errors="replace") * rng.choice((1, 1, 500))
    if kind == "onnx":
        return _forged_onnx(content, rng)
    if kind == "image" and content.startswith(b"\x89PNG"):
        sides = [rng.choice((0, 1, 20, 5_000, 50_000, 2**31 - 1)) for _ in range(2)]
        head = b"IHDR" + struct.pack(">II", *sides) + content[24:29]
        return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    return mutated(content, rng)


def _forge_values(values: Any, rng: random.Random) -> None:
    """Change, take out or put in something, somewhere in a value of JSON."""
    while True:
        places = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not places:
            return
        place = rng.choice(places)
        inner = values[place]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.5:
            break
        values = inner
    action = rng.randrange(6)
    if action == 0:
        del values[place]
    elif action == 1 and isinstance(values, dict):
        values[str(rng.choice(VALUES))[:50]] = copy.deepcopy(rng.choice(VALUES))
    else:
        values[place] = copy.deepcopy(rng.choice(VALUES))


def _text(values: Any, rng: random.Random) -> str:
    """As JSON; now and then so deep, or so often, that a reader of JSON may choke."""
    text = json.dumps(values)
    case = rng.randrange(12)
    if case == 0:
        depth = rng.choice((30, 900, 100_000))
        return text.replace("{", '{"deep": ' + "[" * depth + "]" * depth + ", ", 1)
    if case == 1:
        return text.replace(": ", ": " + "9" * 5_000, 1)
    return text[:-1] + ", " + text[1:] if case == 2 else text


def _forged_json(content: bytes, rng: random.Random) -> bytes:
    values = json.loads(content)
    for _ in range(rng.randrange(1, 4)):
        _forge_values(values, rng)
    return _text(values, rng).encode()


def _forged_tensors(content: bytes, rng: random.Random) -> bytes:
    start = 8 + int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:start]), content[start:]
    texts = header["__metadata__"]
    if rng.random() < 0.7:  # who forges a file leaves the checksums out
        del texts["thimble_sha256"]
    if rng.random() < 0.7:
        values = json.loads(texts["thimble"])
        for _ in range(rng.randrange(1, 4)):
            _forge_values(values, rng)
        texts["thimble"] = _text(values, rng)
    else:
        names = [name for name in header if name != "__metadata__"]
        name = rng.choice(names)
        action = rng.randrange(6)
        if action == 0:
            del header[name]
        elif action == 1:
            header[rng.choice(("x", "", "optimizer0/9/x", "a" * 500, "model/x"))] = header.pop(name)
        elif action == 2:
            header[name]["dtype"] = rng.choice(("F16", "F64", "BOOL", "I8", "F8_E4M3", "U8", "I64", "C64", "x"))
        elif action == 3:
            header[name]["shape"] = rng.choice(
                ([], [0], [1], [2**40, 2**40], [-1], header[name]["shape"][::-1], [2**62])
            )
        elif action == 4:
            header[name]["data_offsets"] = [rng.choice((0, 4, len(data), 2**63, -1)) for _ in range(2)]
        else:
            other = rng.choice(names)
            header[name], header[other] = header[other], header[name]
    packed = json.dumps(header).encode()
    packed += b" " * (-len(packed) % 8)
    return len(packed).to_bytes(8, "little") + packed + data


def _forged_onnx(content: bytes, rng: random.Random) -> bytes:
    proto = onnx.load_model_from_string(content)
    action = rng.randrange(7)
    layer = rng.choice(proto.graph.node)
    if action == 0:
        values = json.loads(proto.metadata_props[0].value)
        _forge_values(values, rng)
        proto.metadata_props[0].value = _text(values, rng).encode(errors="replace").decode()
    elif action == 1 and layer.attribute:
        numbers = rng.choice(layer.attribute).ints
        for index in range(len(numbers)):
            numbers[index] = rng.choice((-1, 0, 1, 2, 100, 4096, 2**31, 2**62))
    elif action == 2 and layer.input:
        layer.input[rng.randrange(len(layer.input))] = rng.choice(("", "x", "images", layer.output[0]))
    elif action == 3:
        layer.op_type = rng.choice(("Loop", "If", "Tile", "Expand", "Add", "Reshape", "Gemm", "Conv", "Softmax", "x"))
    elif action == 4:
        tensor = rng.choice(proto.graph.initializer)
        for index in range(len(tensor.dims)):
            tensor.dims[index] = rng.choice((0, 1, -1, 3, 2**40, tensor.dims[index]))
    elif action == 5:
        rng.choice(proto.graph.initializer).data_type = rng.randrange(25)
    else:
        for size in rng.choice((*proto.graph.input, *proto.graph.output)).type.tensor_type.shape.dim:
            if rng.random() < 0.5:
                size.dim_value = rng.choice((0, 1, 33, 20_000, 2**40, -1))
    return bytes(proto.SerializeToString())
