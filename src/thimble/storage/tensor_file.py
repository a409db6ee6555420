"""Write safetensors files with checksums; check shapes and types before reading any value.

The file's metadata maps names to strings. Two of them hold JSON objects:

- ``thimble``: everything that the file stores besides its tensors;
- ``thimble_sha256``: the checksums. Its ``metadata`` is the SHA-256 of the string ``thimble`` in UTF-8. Its ``tensors``
  maps each tensor's name to the first 16 hexadecimal digits of a SHA-256 over: the name, the type as PyTorch prints it
  and the shape as comma-separated numbers, in UTF-8, each followed by a line feed; then the tensor's bytes in C order,
  little-endian. Older files have no checksums and are read without them.

Checksums detect damage, not malice: whoever forges a file can forge its checksums.
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
"""The largest file that is read. The largest teacher's training state has 160 MB."""
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
"""The types of all tensors in networks, optimizers and PyTorch's random generators, by their names in safetensors."""


@dataclass(frozen=True)
class Layout:
    """A tensor's type and shape."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Tensor) -> Layout:
        return cls(tensor.dtype, tuple(tensor.shape))

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors, metadata and the checksums of both, atomically.

    Args:
        path: the file, replaced if it exists.
        tensors: on any device, in any memory format; no two may share memory.
        metadata: values that JSON can hold.

    Raises:
        RunError: the file could not be written; an existing file is untouched.
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
    """A CPU tensor's checksum, 16 hexadecimal digits, as the module's docstring defines it."""
    digest = hashlib.sha256(f"{name}\n{tensor.dtype}\n{','.join(map(str, tensor.shape))}\n".encode())
    digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:_DIGITS]


class TensorFile:
    """An open safetensors file that Thimble wrote.

    Attributes:
        path: its path.
        metadata: what the file stores besides its tensors.
        layouts: the type and shape of each tensor, by name.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self._file = path, file
        texts = file.metadata() or {}
        if METADATA_KEY not in texts:
            raise UserError(f"{path} is a safetensors file from another program: expected one that Thimble saved")
        self._checksums = self._read_checksums(texts)
        try:
            self.metadata = parse_object(texts[METADATA_KEY])
        except ValueError as error:
            raise UserError(f"{path} has unreadable metadata: {error}; expected a file that Thimble saved") from error
        self.layouts = {name: self._layout(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        for name in self._checksums or ():
            if name not in self.layouts:
                raise UserError(f"{path} lacks the tensor {name}, which it was saved with; expected a complete file")

    def read(self, name: str) -> Tensor:
        """Read a tensor into its own memory.

        Raises:
            UserError: the tensor differs from what was saved, or cannot be read.
        """
        try:
            # Cloned, because get_tensor gives a view of the file, which may change.
            tensor: Tensor = self._file.get_tensor(name).clone()
        except (safetensors.SafetensorError, OSError, RuntimeError) as error:
            raise UserError(f"cannot read tensor {name} of {self.path}: {error}; expected a complete file") from error
        if self._checksums is not None:
            found, expected = checksum(name, tensor), self._checksums.get(name)
            if found != expected:
                raise UserError(
                    f"{self.path}: tensor {name} has checksum {found}, expected {expected}: the file was damaged or"
                    " changed after it was saved; use another copy"
                )
        return tensor

    def _layout(self, name: str) -> Layout:
        part = self._file.get_slice(name)
        dtype = str(part.get_dtype())
        if dtype not in _TYPES:
            raise UserError(f"{self.path}: tensor {name} has type {dtype}: expected one of {', '.join(_TYPES)}")
        return Layout(_TYPES[dtype], tuple(part.get_shape()))

    def _read_checksums(self, texts: dict[str, str]) -> dict[str, Any] | None:
        """The tensors' checksums, by name; None for an older file, which has none."""
        if CHECKSUMS_KEY not in texts:
            return None
        try:
            checksums = parse_object(texts[CHECKSUMS_KEY])
            described, tensors = checksums["metadata"], dict(checksums["tensors"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.path} has damaged checksums ({error}); use another copy") from error
        found = hashlib.sha256(texts[METADATA_KEY].encode(errors="surrogatepass")).hexdigest()
        if found != described:
            raise UserError(
                f"{self.path}: its metadata has SHA-256 {found[:_DIGITS]}, expected {str(described)[:_DIGITS]}: the"
                " file was damaged or changed after it was saved; use another copy"
            )
        return tensors


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a file that ``save_tensors`` wrote; no tensor is read yet.

    Raises:
        UserError: the file is not a regular file, too large, damaged, or from another program.
    """
    with open_file(path, MOST_BYTES) as file:
        _check_header(path, file)
        try:
            opened = safetensors.safe_open(path, framework="pt")
        except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"{path} is {_foreign(path, file)}: expected a complete safetensors file ({reason})"
            ) from error
        with opened as contents:
            yield TensorFile(path, contents)


def _check_header(path: Path, file: BinaryIO) -> None:
    """Refuse a header that would take too much memory, before it is parsed."""
    length = int.from_bytes(file.read(8), "little")
    size = file.seek(0, 2)
    if _MOST_HEADER_BYTES < length <= size - 8:
        raise UserError(
            f"{path} has a header of {length:,} bytes: expected a file that Thimble saved, of at most"
            f" {_MOST_HEADER_BYTES:,}"
        )


def _foreign(path: Path, file: BinaryIO) -> str:
    """Guess what a file is if it is not a safetensors file."""
    file.seek(0)
    head = file.read(9)
    if not head:
        return "empty"
    if path.suffix in (".onnx", ".pt2", ".pte", ".c"):
        return "not a weights file, but perhaps an exported model"
    if head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return "a pickled PyTorch file, which could run any code and is never loaded"
    return "cut short or damaged" if head.endswith(b"{") else "not a weights file"
