"""A folder of images as people have them: hidden and broken files, copies, an empty class, all kinds of pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from own_pictures import bad, deep, encoded, write
from PIL import Image

CLASSES = ["1", "2", "10", "cat"]
NUM_EACH = 14


def picture(label: int, number: int) -> Image.Image:
    """A picture of a class, 40x36 pixels: as different from all others as photos are."""
    random = np.random.default_rng(1000 * label + number)
    pixels = random.integers(0, 256, (9, 10, 3)).astype(np.uint8)
    pixels[:, :, label % 3] //= 1 + label
    return Image.fromarray(pixels).resize((40, 36), Image.Resampling.BICUBIC)


def messy_folder(root: Path) -> Path:
    """Build it: train/{1,2,10,cat,empty}, val/{1,10,cat}, and everything that stands around."""
    files: dict[str, bytes] = {}
    for label, name in enumerate(CLASSES):
        for number in range(NUM_EACH):
            kind = (".png", "PNG") if number % 2 else (".JPG", "JPEG")
            files[f"train/{name}/{number}{kind[0]}"] = encoded(picture(label, number), kind[1])
        if name != "2":
            for number in range(100, 103):
                files[f"val/{name}/{number}.png"] = encoded(picture(label, number), "PNG")
    image = picture(0, 200)
    see_through = image.copy()
    see_through.putalpha(128)
    files |= {
        "train/1/deep.png": encoded(deep(40, 36), "PNG"),
        "train/1/see-through.png": encoded(see_through, "PNG"),
        "train/1/drawing.gif": encoded(picture(0, 201).quantize(16), "GIF"),
        "train/1/turned.jpg": encoded(picture(0, 202), "JPEG", 6),
        "train/cat/nested/deeper.png": encoded(picture(3, 203), "PNG"),
        "train/cat/both.png": encoded(picture(3, 204), "PNG"),
        "val/cat/both.png": encoded(picture(3, 204), "PNG"),
        "train/1/two labels.png": encoded(picture(1, 205), "PNG"),
        "train/2/two labels.png": encoded(picture(1, 205), "PNG"),
        "train/2/text.jpg": bad()["text.jpg"],
        "train/2/cut.jpg": bad()["cut.jpg"],
        "train/.ipynb_checkpoints/1-checkpoint.png": encoded(image, "PNG"),
        "__MACOSX/train/1/._0.jpg": b"\0\5\x16\7",
        "train/cat/.DS_Store": b"\0\0\0\1Bud1",
        "train/Thumbs.db": b"\xd0\xcf\x11\xe0",
    }
    write(root, files)
    (root / "train" / "empty").mkdir()
    (root / "train" / "10" / "linked.png").symlink_to(root / "train" / "10" / "1.png")
    return root


def everything_in(root: Path) -> dict[str, tuple[int, float, bytes]]:
    """All files and folders, with their modes, times and contents."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.lstat().st_mtime,
            os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }
