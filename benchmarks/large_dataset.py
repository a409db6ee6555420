"""How much memory training needs by the number of images, which are mapped from the disk and never loaded whole.

    python benchmarks/large_dataset.py --output benchmarks/results/large_dataset
    python benchmarks/large_dataset.py --mapped 25000 50000 100000 1000000 --output benchmarks/results/large_dataset

thimble-150k is trained for an epoch, validated and tested, by the recipe ``own``, each time in a process of its own:

- from a mapped file of 64-pixel images, 70% of which train, 15% validate and 15% test: the form that a scan has;
- from folders of JPEG files, as by ``thimble train --data FOLDER``, twice: the first start scans them, the second finds
  the scan in the cache. Here the names and hashes of all files are in memory too.

What counts is the resident memory that is not the page cache's, RssAnon of /proc/PID/status, read every 20 ms from
start to end. The pages of the mapped file, RssFile, can be dropped at any time. The processes of a scan are not
counted: their memory does not depend on the number of images.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pages import add_output, publish, run_script, table

if TYPE_CHECKING:
    from thimble.data.source import Source

LIMIT_GIB = 3.0
TARGET = 1_000_000
CHANNELS, SIDE = 3, 64
NUM_CLASSES = 10
PIXELS_BYTES = CHANNELS * SIDE * SIDE
MAPPED, FIRST, SECOND = "mapped file", "folder, first start", "folder, second start"
_BLOCK = 1_000
_FILE_BYTES = 8_192
"""More than a file of a folder takes on the disk, with its name."""
_EVERY_SECONDS = 0.02

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def block(number: int) -> Pixels:
    """1,000 images, uint8 (1000, 3, 64, 64): coarse patterns, each different; image k is of class k % 10."""
    random = np.random.default_rng(number)
    coarse = random.integers(0, 256, (_BLOCK, CHANNELS, 8, 8), np.uint8)
    labels = np.arange(_BLOCK) % NUM_CLASSES
    coarse[np.arange(_BLOCK), labels % CHANNELS, :, labels // CHANNELS] //= 8
    return np.kron(coarse, np.ones((SIDE // 8, SIDE // 8), np.uint8))


def make_file(path: Path, count: int) -> None:
    """Write a file of ``count`` images, rounded up to thousands, as a scan holds them."""
    with path.open("wb") as file:
        for number in range(-(-count // _BLOCK)):
            file.write(block(number).data)


def make_folder(folder: Path, first: int, last: int) -> None:
    """Add the images from ``first`` to ``last``, both multiples of 1,000, to a folder of class folders."""
    from PIL import Image

    for number in range(first // _BLOCK, last // _BLOCK):
        for place, pixels in enumerate(block(number)):
            path = folder / f"class {place % NUM_CLASSES}" / f"{number // 10:03}" / f"{number * _BLOCK + place:07}.jpg"
            if place < NUM_CLASSES:
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.transpose(1, 2, 0)).save(path, quality=80)


def mapped_source(path: Path, count: int) -> Source:
    """The first images of a file, split as own images are, and read as they are: row by row."""
    import torch

    from thimble.data.dataset import ImageDataset
    from thimble.data.own.own_images import normalization
    from thimble.data.rows import mapped, rows_of
    from thimble.data.source import Part, Source

    images = mapped(path, (count, CHANNELS, SIDE, SIDE))
    place = torch.arange(count) // NUM_CLASSES % 20  # all classes are in all parts
    chosen = {"train": place < 14, "val": (place >= 14) & (place < 17), "test": place >= 17}
    rows = {part: mask.nonzero().flatten() for part, mask in chosen.items()}
    mean, std = normalization(images, rows["train"])

    class Mapped(Source):
        name = title = "mapped"

        def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
            return self.part(part)

        def validation(self, *, progress: bool = False) -> ImageDataset:
            return self.part("val")

        def part(self, part: str) -> ImageDataset:
            labels, names = rows[part] % NUM_CLASSES, tuple(map(str, range(NUM_CLASSES)))
            return ImageDataset(self.name, rows_of(images, rows[part]), labels, names, mean, std)

    return Mapped()


def work(path: Path, count: int, runs: Path, steps: int) -> None:
    """Train on a folder, or on ``count`` images of a file; stop after some steps, or, if they are 0, after an epoch."""
    import thimble
    from thimble.training.observer import Observer
    from thimble.training.progress import Progress

    class Brief(Observer):
        num_steps = 0

        def step(self, progress: Progress) -> None:
            self.num_steps = progress.step
            if progress.step == steps:
                raise KeyboardInterrupt

    observer = Brief()
    data: Any = str(path) if path.is_dir() else mapped_source(path, count)
    try:
        thimble.train(data=data, recipe="own", epochs=1, batch_size=128, runs=runs, device="cpu", observer=observer)
    except thimble.Interrupted:
        if observer.num_steps != steps:
            raise
    print(json.dumps(observer.num_steps))


def measure(path: Path, count: int, place: Path, steps: int) -> dict[str, int | float]:
    """Train in a process of its own, and watch its memory.

    Args:
        path: a folder of images, or a file of at least ``count``.
        count: the number of images.
        place: a folder for the run and the cache.
        steps: see ``work``.
    """
    began, greatest = time.perf_counter(), {"RssAnon": 0, "RssFile": 0, "VmRSS": 0}
    with subprocess.Popen(
        [sys.executable, __file__, "--work", str(path), str(count), str(place / "runs"), str(steps)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "THIMBLE_CACHE": str(place / "cache")},
    ) as process:
        while process.poll() is None:
            for name, value in resident(process.pid).items():
                greatest[name] = max(greatest[name], value)
            time.sleep(_EVERY_SECONDS)
        said = process.stdout.read() if process.stdout is not None else ""
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return {
        "num_images": count,
        "num_steps": int(said.splitlines()[-1]),
        "anon_bytes": greatest["RssAnon"],
        "file_bytes": greatest["RssFile"],
        "peak_bytes": greatest["VmRSS"],
        "seconds": time.perf_counter() - began,
    }


def resident(process: int | str) -> dict[str, int]:
    """The resident memory, in bytes, of a process or of "self": anonymous, of files, and all; empty if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = dict(line.split(":", 1) for line in lines)
    names = ("RssAnon", "RssFile", "VmRSS")
    return {name: int(found[name].split()[0]) * 1024 for name in names if name in found}


def growth(rows: Sequence[dict[str, Any]]) -> tuple[float, float] | None:
    """Bytes per image, and the bytes of a million images, by a line through the points; None of a single point."""
    numbers = [row["num_images"] for row in rows]
    if len(set(numbers)) < 2:
        return None
    slope, start = np.polyfit(numbers, [row["anon_bytes"] for row in rows], 1)
    return float(slope), float(start + slope * TARGET)


def paragraphs(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The page: what was found, a row for each process, and what a million images need."""
    header = ("images from a", "images", "their pixels, MiB", "steps", "RssAnon, MiB", "RssFile, MiB", "both, MiB", "s")
    cells = [
        (
            row["kind"],
            row["num_images"],
            f"{row['num_images'] * PIXELS_BYTES / 2**20:,.0f}",
            row["num_steps"],
            *(f"{row[name] / 2**20:,.0f}" for name in ("anon_bytes", "file_bytes", "peak_bytes")),
            f"{row['seconds']:,.0f}",
        )
        for row in rows
    ]
    verdicts = []
    for kind in (MAPPED, FIRST, SECOND):
        points = [row for row in rows if row["kind"] == kind]
        found, measured = growth(points), [row for row in points if row["num_images"] >= TARGET]
        if found is None and not measured:
            continue
        grown = "" if found is None else f", {found[0]:,.0f} bytes more for each image"
        total = measured[0]["anon_bytes"] if measured else found[1] if found is not None else 0.0
        how = "measured" if measured else "by a line through these points"
        verdict = "within" if total < LIMIT_GIB * 2**30 else "**not within**"
        verdicts.append(f"- {kind}: {total / 2**30:.2f} GiB, {how}{grown}: {verdict} the limit of {LIMIT_GIB:g} GiB.")
    return [
        f"The greatest resident memory of a process that trains thimble-150k on images of {SIDE} pixels, which stay on"
        " the disk: RssAnon is what it needs, and RssFile are pages of files, which the kernel can drop at any time.",
        table(header, cells),
        *([f"RssAnon of {TARGET:,} images:\n\n" + "\n".join(verdicts)] if verdicts else []),
    ]


def check_room(folder: Path, mapped: Sequence[int], files: Sequence[int]) -> None:
    """Stop if the disk lacks the room for the images and the scans of them."""
    needed = max(mapped, default=0) * PIXELS_BYTES + max(files, default=0) * _FILE_BYTES + sum(files) * PIXELS_BYTES
    free = shutil.disk_usage(folder).free
    if free < 1.1 * needed:
        raise SystemExit(f"{folder} has {free / 1e9:,.1f} GB free: expected {1.1 * needed / 1e9:,.1f} GB")


def thousands(text: str) -> int:
    """A number of images: a multiple of 1,000."""
    if int(text) < _BLOCK or int(text) % _BLOCK:
        raise argparse.ArgumentTypeError(f"{text}: expected a multiple of {_BLOCK:,}")
    return int(text)


def main() -> int:
    """Measure and write."""
    if sys.argv[1:2] == ["--work"]:
        path, count, runs, steps = sys.argv[2:]
        work(Path(path), int(count), Path(runs), int(steps))
        return 0
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    series = [25_000, 50_000, 100_000]
    parser.add_argument("--mapped", type=thousands, nargs="*", default=series, help="numbers of images in a file")
    parser.add_argument("--files", type=thousands, nargs="*", default=series, help="numbers of images in folders")
    parser.add_argument("--steps", type=int, default=0, help="stop after so many training steps; default: an epoch")
    parser.add_argument("--folder", type=Path, help="where to put the images; default: a temporary folder")
    add_output(parser)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def measured(kind: str, path: Path, count: int, place: Path) -> None:
        rows.append({"kind": kind, **measure(path, count, place, options.steps)})
        print(rows[-1], file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        place = Path(name)
        check_room(place, options.mapped, options.files)
        make_file(place / "pixels", max(options.mapped, default=0))
        for count in sorted(options.mapped):
            measured(MAPPED, place / "pixels", count, place)
        (place / "pixels").unlink()
        for made, count in zip([0, *sorted(options.files)], sorted(options.files), strict=False):
            make_folder(place / "images", made, count)
            for kind in (FIRST, SECOND):
                measured(kind, place / "images", count, place)
    made_of = {kind: growth([row for row in rows if row["kind"] == kind]) for kind in (MAPPED, FIRST, SECOND)}
    result = {
        "limit_gib": LIMIT_GIB,
        "rows": rows,
        "bytes_per_image": {kind: found[0] for kind, found in made_of.items() if found is not None},
        "bytes_of_a_million": {kind: found[1] for kind, found in made_of.items() if found is not None},
    }
    publish(
        options.output, "Training on more images than memory", paragraphs(rows), result, n=1, repeated="process of each"
    )
    return 0


if __name__ == "__main__":
    run_script(main)
