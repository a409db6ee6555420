"""How much memory training needs by the number of images, which are mapped from the cache and never loaded whole.

    python benchmarks/large_dataset.py --output benchmarks/results/large_dataset

Folders of 64-pixel images are made, of different sizes. Each is scanned and trained on with the default settings, as by
``thimble train --data FOLDER``, in a process of its own, until 30 steps are done. What counts is the resident memory
that is not the page cache's: RssAnon of /proc/self/status. The pages of the mapped file, RssFile, can be dropped at any
time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from pages import add_output, publish, table
from PIL import Image

LIMIT_GIB = 3.0
TARGET = 1_000_000
SIDE = 64
CODE = """
import json, sys, time
from pathlib import Path
import thimble
from thimble.training.observer import Observer

def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return {key: int(value.split()[0]) * 1024 for key, value in (line.split(":") for line in lines if "kB" in line)}

class Meter(Observer):
    peak = 0
    def step(self, progress):
        Meter.peak = max(Meter.peak, memory()["RssAnon"])
        if progress.step == int(sys.argv[3]):
            now = memory()
            print(json.dumps([Meter.peak, now["RssFile"], now["VmHWM"], time.perf_counter() - began]), flush=True)
            raise KeyboardInterrupt

began = time.perf_counter()
try:
    thimble.train(data=sys.argv[1], runs=sys.argv[2], epochs=1, observer=Meter())
except thimble.errors.Interrupted:
    pass
"""


def make(folder: Path, first: int, last: int) -> None:
    """Add images of 10 classes, 64 pixels a side: soft patterns, each different."""
    for number in range(first, last):
        path = folder / f"class {number % 10}" / f"{number // 10_000:03}" / f"{number:07}.jpg"
        if number % 10_000 < 10:
            path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(number)
        small = random.integers(0, 256, (6, 6, 3), np.uint8)
        small[:, :, number % 3] //= 1 + number % 10
        Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(path, quality=80)


def measure(folder: Path, cache: Path, runs: Path, steps: int) -> dict[str, Any]:
    """Train on a folder until some steps are done, twice: the second start finds the scan in the cache."""
    found = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", CODE, str(folder), str(runs), str(steps)],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
            env={**os.environ, "THIMBLE_CACHE": str(cache)},
        )
        found.append(json.loads(done.stdout.splitlines()[0]))
    first, second = found
    return {
        "anon_bytes": max(first[0], second[0]),
        "file_bytes": first[1],
        "peak_bytes": max(first[2], second[2]),
        "first_seconds": first[3],
        "second_seconds": second[3],
    }


def extrapolated(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """The slope in bytes per image, and the memory of a million images, by a line through the measured points."""
    numbers = [row["num_images"] for row in rows]
    slope, start = np.polyfit(numbers, [row["anon_bytes"] for row in rows], 1)
    return float(slope), float(start + slope * TARGET)


def paragraphs(rows: list[dict[str, Any]]) -> list[str]:
    """The page: what was found, and a row for each number of images."""
    slope, total = extrapolated(rows)
    header = ("images", "pixels on disk, MiB", "RssAnon, MiB", "RssFile, MiB", "first start to step, s", "second, s")
    cells = [
        (
            row["num_images"],
            f"{row['num_images'] * 3 * SIDE * SIDE / 2**20:,.0f}",
            f"{row['anon_bytes'] / 2**20:,.0f}",
            f"{row['file_bytes'] / 2**20:,.0f}",
            f"{row['first_seconds']:,.0f}",
            f"{row['second_seconds']:,.0f}",
        )
        for row in rows
    ]
    verdict = "within" if total < LIMIT_GIB * 2**30 else "not within"
    return [
        "Resident memory beyond the page cache (RssAnon, the greatest of all steps) of a training process, after the"
        " scan in it. The images are mapped from the cache.",
        table(header, cells),
        f"It grows by {slope:,.0f} bytes an image. A line through these points gives {total / 2**30:.2f} GiB for"
        f" {TARGET:,} images: {verdict} the limit of {LIMIT_GIB:g} GiB. {TARGET:,} images were not trained on here.",
    ]


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[25_000, 50_000, 100_000], help="ascending")
    parser.add_argument("--steps", type=int, default=30, help="training steps of each")
    parser.add_argument("--folder", type=Path, help="where to put the images; default: a temporary folder")
    add_output(parser)
    options = parser.parse_args()
    rows, made = [], 0
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name) / "images"
        for count in sorted(options.images):
            make(folder, made, count)
            made = count
            rows.append(
                {"num_images": count, **measure(folder, Path(name) / "cache", Path(name) / "runs", options.steps)}
            )
            print(rows[-1], file=sys.stderr, flush=True)
    slope, total = extrapolated(rows) if len(rows) > 1 else (0.0, float(rows[0]["anon_bytes"]))
    result = {"rows": rows, "bytes_per_image": slope, "bytes_of_a_million": total}
    publish(
        options.output, "Training on more images than memory", paragraphs(rows), result, n=1, repeated="run of each"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
