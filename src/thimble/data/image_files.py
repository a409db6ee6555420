"""Read the user's image files in bounded memory, and write pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from thimble.errors import UserError
from thimble.system.arguments import expanded
from thimble.system.files import check_output, write_atomically

from .opening import Unreadable, check_cost, limit_the_end, opened, shrinking_by_decoder
from .pixels import Fitting, to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image

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
"""The formats in which Thimble writes pictures, and the longest side that each allows, in pixels."""

_MOST_DRAWN_PIXELS = 150_000_000
_EXPECTED = "expected an image file such as PNG or JPEG"


def read_image(path: str | Path, fitting: Fitting | None = None) -> Image:
    """Read an image file as RGB, upright and opaque: see ``to_rgb``. Of an animation, read the first frame.

    The process stays under 1 GiB of memory. Images of more than 16 megapixels are shrunk by a whole factor, while they
    are decoded or right after, to no less than 4 megapixels. For a network, a JPEG is shrunk while it is decoded, as
    long as the part that the network sees keeps four times the network's sides, and at least 256 pixels. Images that
    need more than 600 MB to decode are refused, such as an RGB image of more than 150 megapixels, or a WebP of more
    than 30.

    Args:
        path: a file in one of ``opening.FORMATS``, of at most 1 GiB.
        fitting: a network's. If it crops, only the centred part of its shape is kept of a large image. Default: all of
            it.

    Returns:
        a loaded PIL image of mode RGB; the file is closed.

    Raises:
        UserError: the file does not exist, is not an image, is truncated, or is too large.
    """
    path = Path(path)
    with loaded(path, str(path), fitting) as (image, _):
        return to_rgb(image, fitting)


@contextmanager
def loaded(source: Path | bytes, name: str, fitting: Fitting | None = None) -> Iterator[tuple[Image, tuple[int, int]]]:
    """Decode an image file, or the content of one, within the limits of ``read_image``.

    Args:
        source: its path, or its content, of at most 1 GiB.
        name: its name for messages.
        fitting: a network's.

    Yields:
        the image, as Pillow decodes it, maybe shrunk; and its (width, height) in the file, in pixels.

    Raises:
        UserError: see ``read_image``. Also in place of any error that the block raises, as a damaged image may.
    """
    with damage_named(name), opened(source) as (image, file):
        size, factor = image.size, shrinking_by_decoder(image, fitting)
        check_cost(name, image, file, factor)
        if factor > 1:
            image.draft(None, (image.width // factor, image.height // factor))
        file.left = math.inf
        limit_the_end(image, file)
        image.load()
        yield image, size


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises for a damaged file into one line.

    Raises:
        Unreadable: the block raised an error that is not a UserError.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise Unreadable(name, "is not an image in a format that Thimble reads", _EXPECTED) from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise Unreadable(name, "has too many pixels to be read safely", f"expected at most {limit:,}") from error
    except MemoryError as error:
        raise Unreadable(name, "needs more memory than this machine has", "expected a smaller image") from error
    except Exception as error:  # for damaged files, decoders raise nearly anything: SyntaxError, struct.error, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Unreadable(
            name, f"is a damaged or truncated image ({reason})", "expected a complete image file"
        ) from error


def check_picture(path: Path, size: tuple[int, int] | None = None) -> str:
    """Check, before the work, that a picture can be written; returns Pillow's name of its format.

    Args:
        path: the file to write.
        size: (width, height) in pixels, if known.

    Raises:
        UserError: the name does not end in a format that Thimble writes, the format does not allow so many pixels, the
            path is a folder, or its folder cannot be made.
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
    """Write an RGB image file atomically, in the format of the name's ending. Creates its folder if needed.

    Raises:
        UserError: see ``check_picture``.
        RunError: the file could not be written; an existing file is untouched.
    """
    path = expanded(path)
    kind = check_picture(path, image.size)
    written = io.BytesIO()
    image.convert("RGB").save(written, format=kind)
    write_atomically(path, written.getvalue())
