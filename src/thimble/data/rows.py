"""Choose images of an array that stays on disk, without reading them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor


class Rows:
    """Rows of a tensor that are read only when they are indexed, so that a part of a mapped file takes no memory.

    It behaves like the tensor of these rows: its shape and indexing read nothing else; every other method, and every
    function of PyTorch, first reads all rows.

    Args:
        base: the tensor, (M, ...), usually mapped from a file.
        rows: int64 (N,), the indices of the chosen rows.
    """

    def __init__(self, base: Tensor, rows: Tensor) -> None:
        self.base, self.rows = base, rows
        self.dtype, self.ndim, self.device = base.dtype, base.ndim, base.device

    @property
    def shape(self) -> torch.Size:
        """The shape of all chosen rows together."""
        return torch.Size((len(self.rows), *self.base.shape[1:]))

    def __len__(self) -> int:
        """The number of chosen rows."""
        return len(self.rows)

    def __getitem__(self, index: Any) -> Tensor:
        """Read rows: one, a slice, or those at indices, int64 (n,) or bool (N,); then index the other dimensions."""
        first, *others = (index if isinstance(index, tuple) else (index,)) or (...,)
        if first is None or first is ...:
            return self.base[self.rows][index]
        if isinstance(first, slice) and others:
            return self.base[self.rows[first]][(slice(None), *others)]
        return self.base[(self.rows[first], *others)]

    def __iter__(self) -> Iterator[Tensor]:
        """Read one row after the other."""
        return (self[index] for index in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("base", "rows"):  # not yet set, while it is unpickled
            raise AttributeError(name)
        return getattr(self[:], name)

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Any,
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Read all rows for a function of PyTorch; see "Extending PyTorch" in its manual."""
        return function(*map(_read, arguments), **{name: _read(value) for name, value in (options or {}).items()})

    def to(self, *arguments: Any, **options: Any) -> Any:
        """Convert as ``Tensor.to``; on their own device, the rows stay unread."""
        (first,) = arguments if len(arguments) == 1 and not options else (None,)
        if isinstance(first, str | torch.device) and torch.device(first).type == self.device.type:
            return self
        return self[:].to(*arguments, **options)


def rows_of(base: Tensor, rows: Tensor) -> Tensor:
    """Choose rows of a mapped tensor: ``Rows``, with the type of the tensor that they stand for."""
    return cast(Tensor, Rows(base, rows))


def unread(images: Any) -> Rows | None:
    """The images as rows that are still to be read; None if they are a tensor."""
    return images if isinstance(images, Rows) else None


def _read(value: Any) -> Any:
    if isinstance(value, Rows):
        return value[:]
    return type(value)(map(_read, value)) if isinstance(value, list | tuple) else value


def mapped(path: Path, shape: tuple[int, ...]) -> Tensor:
    """A file of uint8 pixels as a tensor that is read where it is used."""
    return torch.from_file(str(path), shared=False, size=math.prod(shape), dtype=torch.uint8).view(*shape)
