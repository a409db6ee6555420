"""Write drawings of shapes10 as PNG files, a folder for each class: a folder of images such as a user's.

python scripts/write_drawings.py FOLDER NUMBER
"""

from __future__ import annotations

import sys
from pathlib import Path

from thimble.data.pixels import to_picture
from thimble.data.shapes10 import shapes10


def write_drawings(folder: Path, count: int) -> None:
    """Write ``count`` drawings, as many of each class."""
    drawings = shapes10(count)
    for number in range(count):
        path = folder / drawings.classes[int(drawings.labels[number])] / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_picture(drawings.images[number]).save(path)


if __name__ == "__main__":
    write_drawings(Path(sys.argv[1]), int(sys.argv[2]))
