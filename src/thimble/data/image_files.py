"""Image files of the user's: read in bounded memory, whatever is in them; pictures written, if they can be."""

from __future__ import annotations

import io
import itertools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from thimble.config import UserError
from thimble.system.files import MEBIBYTE, check_output, open_file, write_atomically

from .pixels import MOST_PIXELS, seen_pixels, to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = (
    *("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "ICO", "JPEG2000"),
    *("TGA", "PCX", "PSD", "SGI", "QOI"),
)
"""Formats that are read: those of which it is known what they take in memory. Of the others that Pillow knows, one
runs a program (EPS, Ghostscript), and several are envelopes for anything. MPO, of cameras, counts as JPEG."""

MOST_FILE_BYTES = 2**30
MOST_DECODED_BYTES = 600_000_000
"""What decoding may take, by the header's word: with Python, PyTorch and what follows it stays under 1 GiB."""

_MOST_METADATA = 64 * MEBIBYTE
"""What may be read of a file beside its pixels, such as colour profiles and comments. WebP and AVIF, which Pillow
reads whole, may have as many bytes in all."""

_EXTRA_BYTES = {"WEBP": 16, "AVIF": 20, "JPEG2000": 32, "PSD": 4}
"""What a decoder holds for each pixel, beside the image that it makes; from benchmarks/large_images.py."""

_MOST_SLOW_PIXELS = 4_000_000
"""For decoders that are written in Python, which take some microseconds for each pixel, and much memory."""

_LARGEST = {
    "PNG": 2**31 - 1,
    "JPEG": 65_500,
    "WEBP": 16_383,
    "GIF": 65_535,
    "BMP": 2**31 - 1,
    "TIFF": 2**31 - 1,
    "PPM": 2**31 - 1,
    "PDF": 65_500,
    "TGA": 65_535,
    "JPEG2000": 2**31 - 1,
    "AVIF": 16_384,
}
"""The formats that pictures are written in, and the longest side that each can have, in pixels."""

_MOST_DRAWN_PIXELS = 150_000_000
_EXPECTED = "expected an image file such as PNG or JPEG"


class _Metered:
    """A file of which only so much can be read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.left: float = _MOST_METADATA

    def read(self, size: int | None = -1) -> bytes:
        wanted = math.inf if size is None or size < 0 else size
        found = self.file.read(-1 if math.isinf(min(wanted, self.left)) else int(min(wanted, self.left + 1)))
        self.left -= len(found)
        if self.left < 0:
            raise _TooMuchError(f"more than {_MOST_METADATA // MEBIBYTE} MiB beside its pixels")
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _TooMuchError(Exception):
    """Not one of the errors after which Pillow tries something else."""


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> Image:
    """Read an image file as a person would see it, in RGB, see ``to_rgb``; of an animation the first frame.

    The process stays under 1 GiB. For that, files of more than 16 megapixels are made smaller by whole numbers, as they
    are decoded or right after it, to no less than 4 megapixels; and what takes more than 600 MB to decode is refused,
    such as an RGB image of more than 150 megapixels, or a WebP of more than 30.

    Args:
        path: a file in one of ``FORMATS``, of at most 1 GiB.
        size: the (height, width) of the network that it is for. Of a large image, only the centred part of this shape
            is kept. Default: all of it.

    Returns:
        a PIL image of mode RGB, loaded, with no file left open.

    Raises:
        UserError: there is no such file, or it is no image, is cut short, or is too large.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    try:
        with opened(path) as (image, file):
            factor = _shrinking(image, size)
            _check_cost(path, image, file, factor)
            if factor > 1:
                image.draft(None, (math.ceil(image.width / factor), math.ceil(image.height / factor)))
            file.left = math.inf
            _limit_the_end(image, file)
            image.load()
            return to_rgb(image, size)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is no image of a format that Thimble reads: {_EXPECTED}") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f"{path} has too many pixels to be read safely: expected at most {limit:,}") from error
    except MemoryError as error:
        raise UserError(f"{path} needs more memory than there is: expected a smaller image") from error
    except Exception as error:  # from damaged files the decoders raise nearly anything: SyntaxError, struct.error, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is a damaged or truncated image ({reason}): {_EXPECTED} that is whole") from error


@contextmanager
def opened(path: Path, at_most: int = MOST_FILE_BYTES) -> Iterator[tuple[Image, _Metered]]:
    """Open an image file, of which no more than the header is read yet, and no more than 64 MiB.

    Raises:
        UserError: there is no such file, or it is none that is regular, or larger than ``at_most`` bytes.
        Exception: whatever Pillow raises.
    """
    from PIL import Image

    # Pillow warns of large, odd or slightly damaged files; what it can read after all is not the user's concern.
    with warnings.catch_warnings(), open_file(path, at_most) as file:
        warnings.simplefilter("ignore")
        metered = _Metered(file)
        # By the open file, not by its name, which could lead elsewhere by now.
        with Image.open(cast(IO[bytes], metered), formats=FORMATS) as image:
            yield image, metered


def _check_cost(path: Path, image: Image, file: _Metered, factor: int) -> None:
    """Refuse, by its header, what would take too much memory or time to decode."""
    from PIL import Image

    num_pixels = image.width * image.height
    most = math.floor(MOST_DECODED_BYTES / (_decoded_bytes(image, file, factor) / num_pixels))
    if image.format == "ICO":
        num_pixels = max(num_pixels, _largest_in_icon(image, file))
        most = MOST_PIXELS
    if any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ())):
        most = min(most, _MOST_SLOW_PIXELS)
    if num_pixels > most:
        raise UserError(
            f"{path} has {num_pixels / 1e6:,.1f} megapixels, {image.width} x {image.height}: expected at most "
            f"{most / 1e6:,.1f} of a {image.format} image of its kind"
        )


def _decoded_bytes(image: Image, file: _Metered, factor: int) -> float:
    """What decoding to 1/``factor`` of the sides will hold at its peak, rather too much than too little."""
    num_pixels = image.width * image.height
    stored = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    cost: float = num_pixels * (stored + _EXTRA_BYTES.get(image.format or "", 0))
    offsets = sorted(tile[2] for tile in getattr(image, "tile", ()) if isinstance(tile[2], int))
    cost += 2 * max((after - before for before, after in itertools.pairwise(offsets)), default=0)  # read at once
    if image.format in ("JPEG", "MPO"):
        # The coefficients of a progressive image are kept, all of them, before a pixel is made.
        cost = num_pixels * (2 * _coefficients(image) * _has_many_scans(image, file) + stored / factor**2)
    elif image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        bits = sum(tags.get(258, (1,)))
        rows = min(image.height, *_whole(tags.get(278)), *_whole(tags.get(323)))
        cost += rows * image.width * max(4.0, bits / 8) * (tags.get(259, 1) != 1)  # a strip or row of tiles
        cost += num_pixels * stored * (tags.get(274, 1) != 1)  # Pillow turns it as it reads it
    return max(float(cost), 1.0)


def _whole(value: Any) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) and value > 0 else ()


def _coefficients(image: Image) -> float:
    """How many coefficients a JPEG has for each pixel: 3 in full colour, 1.5 where the colours have half the sides."""
    layers = getattr(image, "layer", [])  # (id, horizontal sampling, vertical sampling, table)
    finest = max((layer[1] for layer in layers), default=1) * max((layer[2] for layer in layers), default=1)
    return float(max(1.0, sum(layer[1] * layer[2] for layer in layers) / max(1, finest)))


def _has_many_scans(image: Image, file: _Metered) -> bool:
    """Whether a JPEG's colours lie in several scans, which is known from the first; Pillow has just read past it."""
    end = file.tell()
    file.seek(max(0, end - 16))
    tail = file.file.read(min(16, end))
    file.seek(end)
    num_layers = len(getattr(image, "layer", ()))
    header = bytes((0xFF, 0xDA, 0, 6 + 2 * num_layers, num_layers))
    interleaved = tail[len(tail) - 8 - 2 * num_layers :].startswith(header)
    return "progressive" in image.info or not interleaved


def _largest_in_icon(image: Image, file: _Metered) -> int:
    """The most pixels of an image inside an ICO file, whose directory may say less."""
    found = 0
    for entry in getattr(image, "ico").entry:  # noqa: B009 - for mypy, it is an image like any other
        file.seek(entry.offset)
        start = file.read(24)
        sides = (start[16:20], start[20:24]) if start[1:4] == b"PNG" else (start[4:8], start[8:12])
        order = "big" if start[1:4] == b"PNG" else "little"
        width, height = (int.from_bytes(side, order, signed=True) for side in sides)  # type: ignore[arg-type]
        found = max(found, abs(width) * abs(height))
    return found


def _shrinking(image: Image, size: tuple[int, int] | None) -> int:
    """By how much the decoder divides the sides of a large JPEG; 1 for everything else."""
    if image.format not in ("JPEG", "MPO") or image.width * image.height <= MOST_PIXELS:
        return 1
    seen = seen_pixels(image.size, size)
    return max((factor for factor in (2, 4, 8) if seen / factor**2 >= MOST_PIXELS / 4), default=1)


def _limit_the_end(image: Image, file: _Metered) -> None:
    """What a PNG has behind its pixels is metadata again."""
    read_the_end = getattr(image, "load_end", None)
    if read_the_end is None:
        return

    def limited() -> None:
        file.left = _MOST_METADATA
        read_the_end()

    setattr(image, "load_end", limited)  # noqa: B010 - as above


def check_picture(path: Path, size: tuple[int, int] | None = None) -> str:
    """Find out before the work what ``save_picture`` would have to refuse; returns Pillow's name of the format.

    Args:
        path: the file to write.
        size: (width, height) in pixels, as far as it is known.

    Raises:
        UserError: the ending names no format that pictures are written in, or the format cannot hold so many pixels;
            or it is a folder, or no folder can be made for it.
    """
    from PIL import Image, features

    kind = Image.registered_extensions().get(path.suffix.lower(), "")
    if (
        kind not in _LARGEST
        or kind not in Image.SAVE
        or (kind in ("AVIF", "WEBP") and not features.check(kind.lower()))
    ):
        raise UserError(f"cannot write the image {path}: expected the name of a file, such as picture.png")
    check_output(path)
    if size is not None:
        width, height = size
        if max(size) > _LARGEST[kind]:
            raise UserError(
                f"cannot write {path}: {kind} holds at most {_LARGEST[kind]:,} pixels a side, and the picture is "
                f"{width:,} x {height:,}; expected a name that ends in .png, or fewer images"
            )
        if width * height > _MOST_DRAWN_PIXELS:
            raise UserError(
                f"cannot draw {path}: the picture is {width:,} x {height:,} pixels, expected at most "
                f"{_MOST_DRAWN_PIXELS / 1e6:.0f} million; draw fewer images at a time"
            )
    return kind


def save_image(image: Image, path: Path) -> None:
    """Write an RGB image file, in the format that the name's ending says, whole or not at all.

    Its folder is made if needed.

    Raises:
        UserError: see ``check_picture``.
        RunError: the file could not be written; what was there before is untouched.
    """
    kind = check_picture(path, image.size)
    written = io.BytesIO()
    image.convert("RGB").save(written, format=kind)
    write_atomically(path, written.getvalue())
