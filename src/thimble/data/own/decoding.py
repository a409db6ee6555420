"""Read, decode and fit chunks of images: the work of the scan's processes. It needs no PyTorch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from thimble.data.image_files import damage_named, loaded
from thimble.data.opening import MOST_FILE_BYTES, Unreadable, opened
from thimble.data.pixels import Fitting, to_array, to_rgb
from thimble.errors import UserError

from .facts import COLOURED, GREY, UNKNOWN, facts_of, has_colour

if TYPE_CHECKING:
    from PIL.Image import Image

    from .listing import Files

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Outcome:
    """What became of one image.

    Attributes:
        reason: why it is unreadable, as the sentence that begins with its name; empty if it is readable.
        facts: see ``facts.FACTS``.
        digest: the SHA-256 of its content, 32 bytes; empty if only its header was read.
        pixels: uint8 (channels, height, width); None if they were not wanted.
    """

    reason: str = ""
    facts: tuple[Any, ...] = ()
    digest: bytes = b""
    pixels: Pixels | None = None


@dataclass(frozen=True)
class ReadHeaders:
    """Finds the facts of images. Only images of more than 8 bits are decoded.

    Attributes:
        files: reads the images.
    """

    files: Files

    def __call__(self, names: list[str]) -> list[Outcome]:
        """The outcomes for images, in their order; an unreadable one is an outcome too."""
        return [_outcome(name, self._one) for name in names]

    def _one(self, name: str) -> Outcome:
        content = _read(self.files, name)
        if not isinstance(content, bytes):
            return Outcome(facts=facts_of(content, content.size))
        with opened(content) as (image, _):
            deep = image.mode.startswith(("I", "F"))
            if not deep:
                return Outcome(facts=facts_of(image, image.size))
        with loaded(content, name) as (image, size):
            return Outcome(facts=facts_of(image, size))


@dataclass(frozen=True)
class Decode:
    """Decodes and fits images.

    Attributes:
        files: reads the images.
        fitting: how to fit them. Images of one channel are checked for colour, and the facts tell.
        known: SHA-256 of contents, 32 bytes each, whose pixels are not wanted.
    """

    files: Files
    fitting: Fitting
    known: frozenset[bytes] = field(default=frozenset(), repr=False)

    def __call__(self, names: list[str]) -> list[Outcome]:
        """The outcomes for images, in their order; an unreadable one is an outcome too."""
        return [_outcome(name, self._one) for name in names]

    def _one(self, name: str) -> Outcome:
        content = _read(self.files, name)
        digest = digest_of(content)
        if digest in self.known:
            return Outcome(digest=digest)
        if not isinstance(content, bytes):
            return self._fitted(content, content.size, digest)
        with loaded(content, name, self.fitting) as (image, size):
            return self._fitted(image, size, digest)

    def _fitted(self, image: Image, size: tuple[int, int], digest: bytes) -> Outcome:
        width, height, colour, *depth = facts_of(image, size)
        rgb = to_rgb(image, self.fitting)
        pixels = to_array(rgb, self.fitting)
        if colour == UNKNOWN:
            colour = COLOURED if has_colour(self._in_colour(rgb, pixels)) else GREY
        return Outcome("", (width, height, colour, *depth), digest, pixels)

    def _in_colour(self, rgb: Image, pixels: Pixels) -> Pixels:
        return pixels if self.fitting.channels == 3 else to_array(rgb, replace(self.fitting, channels=3))


def digest_of(content: bytes | Image) -> bytes:
    """The SHA-256 of a file's bytes; of an image without a file, of its mode, size and pixels."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).digest()
    digest = hashlib.sha256(f"{content.mode} {content.width} {content.height} ".encode())
    digest.update(content.tobytes())
    return digest.digest()


def _read(files: Files, name: str) -> bytes | Image:
    content = files.read(name)
    if isinstance(content, bytes) and not content:
        raise Unreadable(name, "is empty", "expected an image file")
    if isinstance(content, bytes) and len(content) > MOST_FILE_BYTES:
        raise Unreadable(name, f"has {len(content):,} bytes", f"expected at most {MOST_FILE_BYTES:,}")
    return content


def _outcome(name: str, work: Callable[[str], Outcome]) -> Outcome:
    try:
        with damage_named(name):
            return work(name)
    except Unreadable as error:
        return Outcome(error.reason)
    except UserError as error:
        return Outcome(_reason(str(error), name))


def _reason(message: str, name: str) -> str:
    """What a message says of a file, without its path and without what was expected."""
    _, found, rest = message.partition(name)
    said = rest.lstrip(": ") if found and rest[:1] in (" ", ":") else message
    return said.partition(": expected")[0].partition("; expected")[0] or "cannot be read"
