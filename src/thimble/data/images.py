"""Image files of the user's: any that Pillow reads, as RGB, and as the small tensor that a network takes."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from thimble.arguments import expanded
from thimble.config import UserError
from thimble.system.files import write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image


def read_image(path: Path) -> Image:
    """Read an image file as a person would see it, in RGB.

    The camera's orientation (EXIF) is applied, transparency is laid over white, deeper grey is scaled to 8 bits, and of
    an animation the first frame is taken.

    Args:
        path: a file in any format that Pillow knows.

    Returns:
        a PIL image of mode RGB, loaded, with no file left open.

    Raises:
        UserError: there is no such file, or it is no image, is cut short, or is too large to be sane.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    expected = "expected an image file such as PNG or JPEG"
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder: {expected}")
    try:
        # Pillow warns of large, odd or slightly damaged files; what it can read after all is not the user's concern.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                image.load()
                try:
                    upright = ImageOps.exif_transpose(image)
                except Exception:  # a damaged EXIF block, in as many ways as there are: the pixels are fine
                    upright = image
                return _to_rgb(upright)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: {expected}") from error
    except PermissionError as error:
        raise UserError(f"{path} cannot be read (permission denied): {expected}") from error
    except UnidentifiedImageError as error:
        size = path.stat().st_size
        raise UserError(f"{path} ({size:,} bytes) is no image that Pillow can read: {expected}") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise UserError(f"{path} has too many pixels to be read safely: expected at most {limit:,}") from error
    except Exception as error:  # from damaged files the decoders raise nearly anything: SyntaxError, struct.error, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is a damaged or truncated image ({reason}): {expected} that is whole") from error


def to_input(image: Image, size: tuple[int, int]) -> Tensor:
    """Bring an image to a network's input size: the largest centred part of the right shape, resized with antialiasing.

    An image that has the size already keeps its pixels as they are.

    Args:
        image: a PIL image of any mode and size.
        size: (height, width) in pixels.

    Returns:
        uint8 (3, height, width), red, green, blue, 0..255: to be normalised.
    """
    from PIL import Image, ImageOps

    height, width = size
    fitted = ImageOps.fit(_to_rgb(image), (width, height), method=Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(fitted, dtype=np.uint8)).permute(2, 0, 1).contiguous()


def save_image(image: Image, path: Path) -> None:
    """Write an image file, in the format that the name's ending says, whole or not at all; make its folder if needed.

    Raises:
        UserError: the ending names no image format, or it is a folder.
        RunError: the file could not be written; what was there before is untouched.
    """
    from PIL import Image

    path = expanded(path)
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE or path.is_dir():
        raise UserError(f"cannot write the image {path}: expected the name of a file, such as picture.png")
    written = io.BytesIO()
    image.save(written, format=kind)
    write_atomically(path, written.getvalue())


def _to_rgb(image: Image) -> Image:
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_bytes(image)).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", with_alpha.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return image.convert("RGB")


def _to_bytes(image: Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Grey of more than 8 bits, scaled to 0..255; Pillow would clip it to white."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    peak = float(values.max())
    # Modes I;16 and I stand for 16 bits, however dark the image is; "I" can hold more, and then the peak is white.
    white = max(65_535.0, peak)
    if image.mode == "F":
        # Floats carry no range of their own: 0..1 and 0..255 are the usual ones, beyond them the peak is white.
        white = 1.0 if peak <= 1.0 else 255.0 if peak <= 255.0 else peak
    return np.clip(np.rint(values * (255.0 / white)), 0, 255).astype(np.uint8)
