"""What `thimble predict` takes at its peak for large images, format by format, each in a process of its own.

    python benchmarks/large_images.py --folder FOLDER --output benchmarks/results/large_images

Peak memory is the process's VmHWM, of Linux, with everything that is in it. FOLDER needs 1 GB; each image is deleted
after its turn.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pages import add_output, publish, run_script, table
from PIL import Image

LIMIT_MIB = 1024
CODE = """
import sys
from thimble.cli.main import main
code = main(sys.argv[1:])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(f"\\n{code} {peak}")
"""


def drawn(path: Path, mode: str, side: int, orientation: int = 1, **options: Any) -> None:
    """Coloured squares of 16 pixels."""
    colors = np.random.default_rng(0).integers(0, 256, (side // 16, side // 16, 3), np.uint8)
    image = Image.fromarray(colors).resize((side, side), Image.Resampling.NEAREST)
    if orientation != 1:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    image.convert(mode).save(path, **options)


def floats(path: Path, side: int) -> None:
    """Grey of 32-bit floats."""
    Image.fromarray(np.random.default_rng(0).random((side, side), np.float32)).save(path)


def deep_png(path: Path, side: int, channels: int) -> None:
    """A PNG of 16 bits a channel, of noise, which Pillow cannot write: every row is the same."""
    noise = np.random.default_rng(0).integers(0, 65_536, side * channels).astype(">u2")
    content = bytes(1) + noise.tobytes()
    packer = zlib.compressobj(1)
    packed = (packer.compress(content) for _ in range(side))
    write_png(path, (side, side, 16, {1: 0, 3: 2, 4: 6}[channels]), (*packed, packer.flush()))


def write_png(path: Path, header: tuple[int, int, int, int], packed: Iterable[bytes]) -> None:
    """A PNG by its (width, height, bits, colour type) and its compressed rows."""
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        chunks = ((b"IDAT", part) for part in packed if part)
        for kind, content in ((b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)), *chunks, (b"IEND", b"")):
            file.write(struct.pack(">I", len(content)) + kind + content)
            file.write(struct.pack(">I", zlib.crc32(kind + content)))


IMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "PNG, RGB, 100 megapixels": ("a.png", partial(drawn, mode="RGB", side=10_000, compress_level=1)),
    "PNG, RGBA, 100": ("a.png", partial(drawn, mode="RGBA", side=10_000, compress_level=1)),
    "PNG, grey of 16 bits, 100": ("a.png", partial(deep_png, side=10_000, channels=1)),
    "PNG, RGB of 16 bits, 100": ("a.png", partial(deep_png, side=10_000, channels=3)),
    "PNG, RGBA of 16 bits, 100": ("a.png", partial(deep_png, side=10_000, channels=4)),
    "PNG, RGB, 149": ("a.png", partial(drawn, mode="RGB", side=12_208, compress_level=1)),
    "PNG, grey of 16 bits, 169": ("a.png", partial(deep_png, side=13_000, channels=1)),
    "PNG, RGB of 16 bits, 169": ("a.png", partial(deep_png, side=13_000, channels=3)),
    "PNG, 1 bit, 4,295": (
        "a.png",
        lambda path: write_png(path, (65_535, 65_535, 1, 0), [zlib.compress(bytes(65_535 * 8_193), 9)]),
    ),
    "JPEG, 100": ("a.jpg", partial(drawn, mode="RGB", side=10_000)),
    "JPEG, turned by EXIF, 100": ("a.jpg", partial(drawn, mode="RGB", side=10_000, orientation=6)),
    "JPEG, CMYK, 100": ("a.jpg", partial(drawn, mode="CMYK", side=10_000)),
    "JPEG, progressive, 100": ("a.jpg", partial(drawn, mode="RGB", side=10_000, progressive=True)),
    "JPEG, progressive, full colour, 95": (
        "a.jpg",
        partial(drawn, mode="RGB", side=9_760, progressive=True, subsampling=0),
    ),
    "JPEG, progressive, full colour, 100": (
        "a.jpg",
        partial(drawn, mode="RGB", side=10_000, progressive=True, subsampling=0),
    ),
    "WebP, lossless, 29": ("a.webp", partial(drawn, mode="RGB", side=5_440, lossless=True, method=0)),
    "WebP, RGBA, 29": ("a.webp", partial(drawn, mode="RGBA", side=5_440, method=0)),
    "WebP, 100": ("a.webp", partial(drawn, mode="RGB", side=10_000, method=0)),
    "AVIF, full colour, 24": ("a.avif", partial(drawn, mode="RGB", side=4_960, subsampling="4:4:4", speed=10)),
    "JPEG 2000, 16": ("a.jp2", partial(drawn, mode="RGB", side=4_064)),
    "TIFF, RGB, 100": ("a.tiff", partial(drawn, mode="RGB", side=10_000)),
    "TIFF, RGB, LZW, 100": ("a.tiff", partial(drawn, mode="RGB", side=10_000, compression="tiff_lzw")),
    "TIFF, RGB, one strip of LZW, 74": (
        "a.tiff",
        partial(drawn, mode="RGB", side=8_608, compression="tiff_lzw", strip_size=2**30),
    ),
    "TIFF, turned by EXIF, 74": ("a.tiff", partial(drawn, mode="RGB", side=8_608, orientation=6)),
    "TIFF, floats, 100": ("a.tiff", partial(floats, side=10_000)),
    "GIF, 100": ("a.gif", partial(drawn, mode="P", side=10_000)),
    "BMP, 100": ("a.bmp", partial(drawn, mode="RGB", side=10_000)),
    "PPM, 100": ("a.ppm", partial(drawn, mode="RGB", side=10_000)),
    "TGA, RGBA, 100": ("a.tga", partial(drawn, mode="RGBA", side=10_000, compression="tga_rle")),
}


def measure(images: list[Path]) -> tuple[str, float]:
    """What predict answers for images: exit code 0 or the one line; and its peak memory in MiB."""
    words = [sys.executable, "-c", CODE, "predict", *map(str, images)]
    found = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=True)
    code, peak = found.stdout.splitlines()[-1].split()
    return "answered" if code == "0" else found.stderr.strip().rpartition("/")[2], int(peak) / 1024


def measure_all(folder: Path) -> list[dict[str, Any]]:
    """A row for each image, and for three large ones at once."""
    folder.mkdir(parents=True, exist_ok=True)
    small, several = folder / "small.png", [folder / f"several{number}.png" for number in range(3)]
    drawn(small, "RGB", 64)
    for path in several:
        drawn(path, "RGB", 10_000, compress_level=1)
    rows = [_row("PNG, RGB, 64x64", [small]), _row("PNG, RGB, 100, three of them", several)]
    for path in (small, *several):
        path.unlink()
    for name, (file, make) in IMAGES.items():
        path = folder / file
        make(path)
        rows.append(_row(name, [path]))
        path.unlink()
    return rows


def _row(name: str, images: list[Path]) -> dict[str, Any]:
    answer, peak = measure(images)
    return {"image": name, "peak_mib": peak, "answer": answer}


def paragraphs(rows: list[dict[str, Any]]) -> list[str]:
    """The page: the promise, and a row for each image."""
    return [
        f"VmHWM of the whole process, PyTorch and the network included; the promise is less than {LIMIT_MIB:,} MiB.",
        table(["image", "MiB", ""], [[row["image"], f"{row['peak_mib']:,.0f}", row["answer"]] for row in rows]),
    ]


def main() -> int:
    """Measure all of them; exit code 1 if one is above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="for the images while they are measured; needs 1 GB")
    add_output(parser)
    options = parser.parse_args()
    rows = measure_all(options.folder)
    title = "Peak memory of `thimble predict` for large images"
    publish(
        options.output,
        title,
        paragraphs(rows),
        {"limit_mib": LIMIT_MIB, "rows": rows},
        n=1,
        repeated="process for each image",
    )
    return int(max(row["peak_mib"] for row in rows) >= LIMIT_MIB)


if __name__ == "__main__":
    run_script(main)
