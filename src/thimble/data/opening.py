"""Open image files, reading only their headers, and estimate from these how much memory decoding needs."""

from __future__ import annotations

import io
import itertools
import math
import struct
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from thimble.errors import UserError
from thimble.system.files import MEBIBYTE, open_file

from .pixels import MOST_PIXELS, PICTURE_SIDE, Fitting, seen_sides

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = (
    *("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "ICO", "JPEG2000"),
    *("TGA", "PCX", "PSD", "SGI", "QOI"),
)
"""The formats that Thimble reads: those whose memory need we can estimate. Pillow knows more, but EPS runs a program
(Ghostscript), and several others can contain any data. Pillow opens MPO files, from cameras, as JPEG."""

MOST_FILE_BYTES = 2**30
MOST_DECODED_BYTES = 600_000_000
"""The memory that decoding may need, estimated from the header. The whole process then stays under 1 GiB."""

_MOST_METADATA = 64 * MEBIBYTE
"""How much of a file may be read besides its pixels, such as colour profiles and comments. Pillow reads WebP and AVIF
files whole, so this limits their size."""

_EXTRA_BYTES = {"WEBP": 16, "AVIF": 20, "JPEG2000": 32, "PSD": 4}
"""The decoder's own memory per pixel, besides the decoded image; measured by benchmarks/large_images.py."""

_MOST_SLOW_PIXELS = 4_000_000
"""The limit for decoders written in Python, which need much memory, and some microseconds per pixel."""

_MOST_COMMENTS = MEBIBYTE
"""The limit of ``_MOST_METADATA`` for GIF, as Pillow slowly joins its comments from pieces of 255 bytes."""

_MOST_PARTS = 200_000
"""The most strips or tiles of a TIFF: for each, Pillow makes objects of a few hundred bytes when it opens the file."""


_DECODER_FACTORS = (2, 4, 8)
"""JPEG stores squares of 8x8 pixels as frequencies: leaving out the higher ones halves the sides, and saves time."""

_SPARE = 4
"""How many times a network's sides an image keeps when a decoder shrinks it; the rest is resized carefully."""


class Metered:
    """A file that raises TooMuchError once more than ``left`` bytes are read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.left: float = _MOST_COMMENTS if file.read(3) == b"GIF" else _MOST_METADATA
        file.seek(0)

    def read(self, size: int | None = -1) -> bytes:
        wanted = math.inf if size is None or size < 0 else size
        found = self.file.read(-1 if math.isinf(min(wanted, self.left)) else int(min(wanted, self.left + 1)))
        self.left -= len(found)
        if self.left < 0:
            raise TooMuchError("too much data besides its pixels, such as comments")
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class Unreadable(UserError):
    """An image file cannot be read.

    Attributes:
        reason: the sentence that begins with the file's name.
    """

    def __init__(self, name: str, reason: str, expected: str) -> None:
        super().__init__(f"{name} {reason}: {expected}")
        self.reason = reason


class TooMuchError(Exception):
    """Too much data. Pillow does not catch this error, as it would an OSError, and so does not try another format."""


@contextmanager
def opened(source: Path | bytes, at_most: int = MOST_FILE_BYTES) -> Iterator[tuple[Image, Metered]]:
    """Open an image file, or the content of one, reading only its header, and at most 64 MiB.

    Raises:
        UserError: the file does not exist, is not a regular file, or is larger than ``at_most`` bytes.
        Exception: any error that Pillow raises.
    """
    from PIL import Image

    # Pillow warns about large, odd or slightly damaged files; if it can read them, the user need not know.
    content = io.BytesIO(source) if isinstance(source, bytes) else open_file(source, at_most)
    with warnings.catch_warnings(), content as file:
        warnings.simplefilter("ignore")
        _check_parts(file)
        metered = Metered(file)
        # Pass the open file, not its name, which another process may have changed by now.
        with Image.open(cast(IO[bytes], metered), formats=FORMATS) as image:
            yield image, metered


def _check_parts(file: BinaryIO) -> None:
    """Refuse a TIFF whose directory lists too many strips or tiles."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
    if order and len(start) == 16:
        big = struct.unpack_from(f"{order}H", start, 2)[0] == 43
        place = struct.unpack_from(f"{order}Q", start, 8) if big else struct.unpack_from(f"{order}I", start, 4)
        file.seek(min(place[0], 2**62))
        entry, count = (20, "Q") if big else (12, "I")
        length = file.read(8 if big else 2)
        directory = file.read(entry * min(2**16, int.from_bytes(length, "little" if order == "<" else "big")))
        for at in range(0, len(directory) - entry + 1, entry):
            tag, _, num_parts = struct.unpack_from(f"{order}HH{count}", directory, at)
            if tag in (273, 279, 324, 325) and num_parts > _MOST_PARTS:
                raise TooMuchError(f"{num_parts:,} strips or tiles, expected at most {_MOST_PARTS:,}")
    file.seek(0)


def check_cost(name: str, image: Image, file: Metered, factor: int) -> None:
    """Refuse an image whose decoding would take too much memory or time, judged by its header.

    Raises:
        Unreadable: it would.
    """
    from PIL import Image

    num_pixels = image.width * image.height
    most = math.floor(MOST_DECODED_BYTES / (_decoded_bytes(image, file, factor) / num_pixels))
    if image.format == "ICO":
        num_pixels = max(num_pixels, _largest_in_icon(image, file))
        most = MOST_PIXELS
    if any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ())):
        most = min(most, _MOST_SLOW_PIXELS)
    if num_pixels > most:
        raise Unreadable(
            name,
            f"has {num_pixels / 1e6:,.1f} megapixels, {image.width} x {image.height}",
            f"expected at most {most / 1e6:,.1f} for a {image.format} image of this kind",
        )


def _decoded_bytes(image: Image, file: Metered, factor: int) -> float:
    """Estimate the peak memory, in bytes, of decoding to 1/``factor`` of the sides; rather too high than too low."""
    num_pixels = image.width * image.height
    stored = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    cost: float = num_pixels * (stored + _EXTRA_BYTES.get(image.format or "", 0))
    offsets = sorted(tile[2] for tile in getattr(image, "tile", ()) if isinstance(tile[2], int))
    cost += 2 * max((after - before for before, after in itertools.pairwise(offsets)), default=0)  # each is read whole
    if image.format in ("JPEG", "MPO"):
        # The decoder of a progressive image keeps all coefficients before it makes the first pixel.
        cost = num_pixels * (2 * _coefficients(image) * _has_many_scans(image, file) + stored / factor**2)
    elif image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        bits = sum(tags.get(258, (1,)))
        rows = min(image.height, *_whole(tags.get(278)), *_whole(tags.get(323)))
        cost += rows * image.width * max(4.0, bits / 8) * (tags.get(259, 1) != 1)  # a strip or row of tiles
        cost += num_pixels * stored * (tags.get(274, 1) != 1)  # Pillow rotates a TIFF when it loads it
    return max(float(cost), 1.0)


def _whole(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) and value > 0 else ()


def _coefficients(image: Image) -> float:
    """How many coefficients a JPEG has per pixel: 3 with full colour, 1.5 if the colour layers have half the sides."""
    layers = getattr(image, "layer", [])  # (id, horizontal sampling, vertical sampling, table)
    finest = max((layer[1] for layer in layers), default=1) * max((layer[2] for layer in layers), default=1)
    return float(max(1.0, sum(layer[1] * layer[2] for layer in layers) / max(1, finest)))


def _has_many_scans(image: Image, file: Metered) -> bool:
    """Whether a JPEG stores its colours in several scans; the header of the first, just read by Pillow, tells."""
    end = file.tell()
    file.seek(max(0, end - 16))
    tail = file.file.read(min(16, end))
    file.seek(end)
    num_layers = len(getattr(image, "layer", ()))
    header = bytes((0xFF, 0xDA, 0, 6 + 2 * num_layers, num_layers))
    interleaved = tail[len(tail) - 8 - 2 * num_layers :].startswith(header)
    return "progressive" in image.info or not interleaved


def _largest_in_icon(image: Image, file: Metered) -> int:
    """The pixels of the largest image in an ICO file; the file's directory may give smaller sizes."""
    found = 0
    for entry in getattr(image, "ico").entry:  # noqa: B009 - mypy does not know the attribute
        file.seek(entry.offset)
        start = file.read(24)
        sides = (start[16:20], start[20:24]) if start[1:4] == b"PNG" else (start[4:8], start[8:12])
        order = "big" if start[1:4] == b"PNG" else "little"
        width, height = (int.from_bytes(side, order, signed=True) for side in sides)  # type: ignore[arg-type]
        found = max(found, abs(width) * abs(height))
    return found


def shrinking_by_decoder(image: Image, fitting: Fitting | None) -> int:
    """The factor by which the decoder divides the sides of a large JPEG; 1 for all other images.

    For a network, the part that it sees keeps at least four times its sides, and enough for a picture.
    """
    if image.format not in ("JPEG", "MPO"):
        return 1
    factors, seen = [1], seen_sides(image.size, fitting)
    if image.width * image.height > MOST_PIXELS:
        factors += [factor for factor in _DECODER_FACTORS if math.prod(seen) / factor**2 >= MOST_PIXELS / 4]
    if fitting is not None:
        least = max(_SPARE * max(fitting.size), PICTURE_SIDE)
        factors += [factor for factor in _DECODER_FACTORS if min(seen) / factor >= least]
    return max(factors)


def limit_the_end(image: Image, file: Metered) -> None:
    """Limit the metadata after a PNG's pixels too, which Pillow reads in ``load_end``."""
    kind = type(image)

    def limited() -> None:
        file.left = _MOST_METADATA
        # A weak reference: otherwise the image would reference itself, and keep its pixels until garbage collection.
        kind.load_end(held())  # type: ignore[attr-defined]

    held = weakref.ref(image)
    if hasattr(kind, "load_end"):
        setattr(image, "load_end", limited)  # noqa: B010 - mypy does not know the attribute
