"""Safetensors files: written with checksums; read back within bounds, shapes and types before any value.

The file's metadata are texts by name. ``thimble`` is a JSON object: all that the file says beside its tensors.
``thimble_sha256`` is another, the checksums: ``metadata``, the SHA-256 of the text under ``thimble``, in UTF-8; and
``tensors``, by name the first 16 hexadecimal digits of a tensor's SHA-256. That is the hash of its name, its type as
PyTorch writes it and its shape as comma-separated numbers, in UTF-8 with a line feed behind each; then its bytes,
row by row (C order), little-endian. Files from before have no checksums and are read without.

A checksum tells of damage, not of malice: who forges a file can forge its checksums.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from thimble.errors import UserError
from thimble.system.files import MEBIBYTE, open_file, write_atomically
from thimble.system.json_text import parse_object

METADATA_KEY = "thimble"
CHECKSUMS_KEY = "thimble_sha256"
MOST_BYTES = 1024 * MEBIBYTE
"""Of a file. The training state of the largest teacher has 160 MB."""
_MOST_HEADER_BYTES = 16 * MEBIBYTE
_DIGITS = 16

_TYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
    "U8": torch.uint8,
}
"""All that a network, an optimizer or a random generator of PyTorch's is made of, by safetensors' names."""


@dataclass(frozen=True)
class Layout:
    """The type and the shape of a tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        return cls(tensor.dtype, tuple(tensor.shape))

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors, metadata and the checksums of both, whole or not at all.

    Args:
        path: the file, replaced if it exists.
        tensors: on any device, of any memory layout; no two may share memory.
        metadata: anything that JSON can hold.

    Raises:
        RunError: the file could not be written; what was there before is untouched.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = json.dumps(metadata)
    checksums = {
        "metadata": hashlib.sha256(described.encode()).hexdigest(),
        "tensors": {name: checksum(name, tensor) for name, tensor in plain.items()},
    }
    texts = {"format": "pt", METADATA_KEY: described, CHECKSUMS_KEY: json.dumps(checksums)}
    write_atomically(path, safetensors.torch.save(plain, texts))


def checksum(name: str, tensor: Tensor) -> str:
    """The checksum of a tensor on the CPU, as the module's text defines it: 16 hexadecimal digits."""
    digest = hashlib.sha256(f"{name}\n{tensor.dtype}\n{','.join(map(str, tensor.shape))}\n".encode())
    digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:_DIGITS]


class TensorFile:
    """An open safetensors file of Thimble's.

    Attributes:
        path: where it lies.
        metadata: what it says beside its tensors.
        layouts: the tensors that it holds, by name.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self._file = path, file
        texts = file.metadata() or {}
        if METADATA_KEY not in texts:
            raise UserError(f"{path} is a safetensors file of another program: expected one that Thimble saved")
        self._checksums = self._read_checksums(texts)
        try:
            self.metadata = parse_object(texts[METADATA_KEY])
        except ValueError as error:
            raise UserError(
                f"{path} does not say what it holds: {error}; expected a file that Thimble saved"
            ) from error
        self.layouts = {name: self._layout(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        for name in self._checksums or ():
            if name not in self.layouts:
                raise UserError(f"{path} lacks the tensor {name}, which it was saved with; expected the whole file")

    def read(self, name: str) -> Tensor:
        """A tensor of the file, in memory of its own.

        Raises:
            UserError: it is not what was saved, or cannot be read.
        """
        try:
            # Copied, as it is a view of the file, which may change.
            tensor: Tensor = self._file.get_tensor(name).clone()
        except (safetensors.SafetensorError, OSError, RuntimeError) as error:
            raise UserError(f"cannot read the tensor {name} of {self.path}: {error}; expected a whole file") from error
        if self._checksums is not None:
            found, expected = checksum(name, tensor), self._checksums.get(name)
            if found != expected:
                raise UserError(
                    f"{self.path}: tensor {name} has checksum {found}, expected {expected}: it is not what was saved,"
                    " the file was damaged or changed; take another copy of it"
                )
        return tensor

    def _layout(self, name: str) -> Layout:
        part = self._file.get_slice(name)
        dtype = str(part.get_dtype())
        if dtype not in _TYPES:
            raise UserError(f"{self.path}: tensor {name} is of type {dtype}: expected one of {', '.join(_TYPES)}")
        return Layout(_TYPES[dtype], tuple(part.get_shape()))

    def _read_checksums(self, texts: dict[str, str]) -> dict[str, Any] | None:
        """The tensors' checksums; None in a file from before there were any."""
        if CHECKSUMS_KEY not in texts:
            return None
        try:
            checksums = parse_object(texts[CHECKSUMS_KEY])
            described, tensors = checksums["metadata"], dict(checksums["tensors"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.path} has damaged checksums ({error}); take another copy of it") from error
        found = hashlib.sha256(texts[METADATA_KEY].encode(errors="surrogatepass")).hexdigest()
        if found != described:
            raise UserError(
                f"{self.path}: its metadata have SHA-256 {found[:_DIGITS]}, expected {str(described)[:_DIGITS]}: they"
                " are not what was saved, the file was damaged or changed; take another copy of it"
            )
        return tensors


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a file that ``save_tensors`` wrote; no tensor is read yet.

    Raises:
        UserError: it is no regular file, too large, damaged, or another program's.
    """
    with open_file(path, MOST_BYTES) as file:
        _check_header(path, file)
        try:
            opened = safetensors.safe_open(path, framework="pt")
        except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{path} is {_foreign(path, file)}: expected a whole safetensors file ({reason})"
            ) from error
        with opened as contents:
            yield TensorFile(path, contents)


def _check_header(path: Path, file: BinaryIO) -> None:
    """Refuse a header that would take much memory before anybody parses it."""
    length = int.from_bytes(file.read(8), "little")
    size = file.seek(0, 2)
    if _MOST_HEADER_BYTES < length <= size - 8:
        raise UserError(
            f"{path} has a header of {length:,} bytes: expected a file that Thimble saved, of at most"
            f" {_MOST_HEADER_BYTES:,}"
        )


def _foreign(path: Path, file: BinaryIO) -> str:
    """What a file that is no safetensors file most likely is."""
    file.seek(0)
    head = file.read(9)
    if not head:
        return "empty"
    if path.suffix in (".onnx", ".pt2", ".pte", ".c"):
        return "no weights file, but perhaps what thimble export made of one"
    if head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "a pickled PyTorch file, which could run any code and is never loaded"
    return "cut short or damaged" if head.endswith(b"{") else "no weights file"
