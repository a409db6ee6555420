"""Image files of every kind that people have, for the tests of the scan."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def soft(width: int, height: int, seed: int = 0) -> Image.Image:
    """A photo-like picture: colours that change slowly."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str, orientation: int = 1, **options: Any) -> bytes:
    """An image file's content."""
    if orientation != 1:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def deep(width: int, height: int, seed: int = 0) -> Image.Image:
    """12-bit data in 16 bits."""
    grey = np.asarray(soft(width, height, seed).convert("L"), np.uint16)
    return Image.fromarray(grey * 15 + 100)


def kinds() -> dict[str, bytes]:
    """The content of good files, by name: every mode, depth, transparency and orientation."""
    image = soft(90, 60)
    alpha = image.copy()
    alpha.putalpha(image.getchannel(1))
    palette = image.quantize(32)
    grey = image.convert("L")
    found = {
        "rgb.png": encoded(image, "PNG"),
        "grey.png": encoded(grey, "PNG"),
        "rgba.png": encoded(alpha, "PNG"),
        "la.png": encoded(alpha.convert("LA"), "PNG"),
        "palette.png": encoded(palette, "PNG"),
        "keyed.png": encoded(palette, "PNG", transparency=bytes(range(0, 256, 8))),
        "key.png": encoded(image, "PNG", transparency=image.getpixel((3, 3))),
        "bits.png": encoded(image.convert("1"), "PNG"),
        "deep.png": encoded(deep(90, 60), "PNG"),
        "deep.tiff": encoded(Image.fromarray(np.asarray(deep(90, 60), np.int32)), "TIFF"),
        "float.tiff": encoded(Image.fromarray(np.asarray(grey, np.float32) / 255), "TIFF"),
        "a.gif": encoded(palette, "GIF"),
        "animated.gif": encoded(palette, "GIF", save_all=True, append_images=[soft(90, 60, 1)]),
        "a.bmp": encoded(image, "BMP"),
        "a.webp": encoded(alpha, "WEBP"),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "grey.jpg": encoded(grey, "JPEG"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "pixel.png": encoded(Image.new("RGB", (1, 1), (9, 99, 199)), "PNG"),
        "line.png": encoded(soft(300, 1), "PNG"),
        "large.jpg": encoded(soft(1700, 1300), "JPEG"),
        "large-turned.jpg": encoded(soft(1700, 1300), "JPEG", 6),
    }
    return found | {f"turned-{number}.jpg": encoded(image, "JPEG", number) for number in range(2, 9)}


def photos(count: int, width: int = 70, height: int = 66, grey: bool = False) -> dict[str, bytes]:
    """The content of PNG files of two classes."""
    images = {f"{'cat' if n % 2 else 'dog'}/{n}.png": soft(width, height, n) for n in range(count)}
    return {name: encoded(image.convert("L") if grey else image, "PNG") for name, image in images.items()}


def bad() -> dict[str, bytes]:
    """The content of files that are no images, or half an image."""
    whole = encoded(soft(90, 60), "JPEG", quality=95)
    return {
        "cut.jpg": whole[: len(whole) // 2],
        "cut.png": encoded(soft(90, 60), "PNG")[:200],
        "text.jpg": b"This is no image.\n",
        "empty.jpg": b"",
        "page.png": b"<html></html>",
    }


def write(root: Path, files: dict[str, bytes]) -> Path:
    """Write files below a folder, which is returned."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root
