"""Damage: good files mutated byte by byte, and forged so that their checksums hold."""

from __future__ import annotations

import copy
import json
import random
import struct
import zlib
from typing import Any

import onnx
from fuzz_inputs import good

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 7, 32, 1025, 2**31, 2**62, 2**63, 10**30, -(2**63)),
    *(0.0, 0.5, -0.5, 1e-300, 1e300, float("nan"), float("inf"), float("-inf")),
    *("", "x", "3", "a\0b", "../../x", "/dev/zero", "x" * 5000, "\ud800", "\udcff", "[/red]", "\x1b[2J", "a\nb"),
    *([], {}, [[]], [1, 2, 3], [0.5] * 3, ["a"] * 3, [3, 20_000, 20_000], {"a": {"b": []}}, [None] * 3, [[1]] * 10),
    *("pad", [1, 96, 64], [3, 96, 64], [0.5], [0, 4095], [4095, 0], [0, 1e-310], [-1e300, 1e300]),
]


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
