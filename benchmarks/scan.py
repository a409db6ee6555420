"""How many images a second the scan of own images decodes, and how long a second start takes.

    python benchmarks/scan.py --output benchmarks/results/scan

Photo-like images are made first: shapes of all sizes with soft shades and sharp edges, and a camera's noise. Each scan
is a process of its own, as a user starts it, with an empty cache; its start, and the import of PyTorch, do not count,
but the processes that it starts do. All files are in the page cache. The datasets take turns in every round.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pages import add_output, publish, run_script, spread, table
from PIL import Image

from thimble.data.own.workers import num_processes

CODE = """
import json, sys, time
import torch
from thimble.data.own.layouts import read_listing
from thimble.data.own.scan import scan
from thimble.data.own.settings import ImagesConfig

began = time.perf_counter()
listing = read_listing(sys.argv[1], ImagesConfig())
found = scan(listing, ImagesConfig())
print(json.dumps([time.perf_counter() - began, list(found.images.shape), found.fitting.fit]))
"""
BARS = {"100x100 JPEG": 1_500.0, "12-megapixel JPEG": 60.0}
SECOND_START_BAR_SECONDS = 1.0


class Case(NamedTuple):
    """One dataset: its images' size and number, and how many different ones there are, as making them takes long."""

    size: tuple[int, int]
    num_images: int
    num_different: int
    ending: str = "jpg"


def photo(width: int, height: int, seed: int) -> Image.Image:
    """A photo-like picture: shapes of all sizes with shades and sharp edges, blurred by a lens, and noise."""
    draws, side = np.random.default_rng(seed), min(width, height)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / side
    picture = np.stack([draws.uniform(60, 200) + 60 * np.sin(x + draws.uniform(0, 6)) * y for _ in range(3)], 2)
    for radius in 0.5 / np.arange(1, 60) ** 0.7:  # many small shapes, few large ones
        left, top = draws.uniform(0, width / side), draws.uniform(0, height / side)
        columns = slice(*(int(side * max(0, left + way * radius)) for way in (-1, 1)))
        rows = slice(*(int(side * max(0, top + way * radius)) for way in (-1, 1)))
        part = picture[rows, columns]
        inside = (x[rows, columns] - left) ** 2 + draws.uniform(0.5, 3) * (y[rows, columns] - top) ** 2 < radius**2
        texture = (
            12 * np.sin(x[rows, columns] * draws.uniform(5, 400)) * np.sin(y[rows, columns] * draws.uniform(5, 400))
        )
        part[inside] = (draws.uniform(20, 235, 3) + texture[..., None])[inside]
    noise = draws.normal(0, 2.5, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(picture + noise, 0, 255).astype(np.uint8))


def make(case: Case, folder: Path) -> float:
    """Make a dataset, in folders of 1,000 images; returns the mean size of a file in bytes."""
    originals = [photo(*case.size, seed) for seed in range(case.num_different)]
    for number in range(case.num_images):
        path = folder / f"{number // 1000:03}" / f"{number:06}.{case.ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        first = folder / "000" / f"{number % case.num_different:06}.{case.ending}"
        if number < case.num_different:
            originals[number].save(path, quality=90)
        else:  # the same pixels, other bytes behind the image: no content is repeated
            path.write_bytes(first.read_bytes() + number.to_bytes(4, "little"))
    sizes = [path.stat().st_size for path in folder.rglob(f"*.{case.ending}")]
    return sum(sizes) / len(sizes)


def scanned(folder: Path, cache: Path) -> tuple[float, list[int], str]:
    """Scan a folder in a process of its own: seconds, shape of the images, fit."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
        env={**os.environ, "THIMBLE_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
    )
    seconds, shape, fit = json.loads(done.stdout)
    return seconds, shape, fit


def measure(cases: dict[str, Case], rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Make the datasets, then scan each of them twice in every round: with an empty cache, and again.

    Returns:
        a row for each dataset: its name, sizes, images a second, and the second start's seconds.
    """
    file_bytes = {name: make(case, folder / name) for name, case in cases.items()}
    first: dict[str, list[float]] = {name: [] for name in cases}
    second: dict[str, list[float]] = {name: [] for name in cases}
    shapes: dict[str, tuple[list[int], str]] = {}
    for _ in range(rounds):
        for name, case in cases.items():
            cache = folder / "cache"
            seconds, shape, fit = scanned(folder / name, cache)
            shapes[name] = shape, fit
            first[name].append(case.num_images / seconds)
            second[name].append(scanned(folder / name, cache)[0])
            shutil.rmtree(cache)
    return [
        {
            "name": name,
            "num_images": case.num_images,
            "size": list(case.size),
            "mean_file_bytes": file_bytes[name],
            "input": shapes[name][0][1:],
            "fit": shapes[name][1],
            "images_per_second": spread(first[name]),
            "second_start_seconds": spread(second[name]),
        }
        for name, case in cases.items()
    ]


def paragraphs(rows: list[dict[str, Any]], processes: int) -> list[str]:
    """The page: how it was measured, and a row for each dataset."""
    header = ["images", "number", "kB each", "input", "images/s, median", "range", "bar", "second start, median"]
    cells = []
    for row in rows:
        speed, again, bar = row["images_per_second"], row["second_start_seconds"], BARS.get(row["name"])
        cells.append(
            [
                row["name"],
                row["num_images"],
                f"{row['mean_file_bytes'] / 1000:,.1f}",
                "x".join(map(str, row["input"])) + f", {row['fit']}",
                f"{speed['median']:,.0f}",
                f"{speed['least']:,.0f} to {speed['greatest']:,.0f}",
                None if bar is None else f"{bar:,.0f}",
                f"{again['median']:.3f} s",
            ]
        )
    return [
        f"The whole scan with {processes} processes: listing, survey, decoding, fitting and writing, with an empty"
        " cache; the files are in the page cache. Importing PyTorch is not counted. The second start lists the folder"
        f" and finds the scan by names, sizes and times of the files; its bar is {SECOND_START_BAR_SECONDS:g} s for"
        " 60,000.",
        table(header, cells),
    ]


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--small", type=int, default=20_000, help="images of 100x100")
    parser.add_argument("--large", type=int, default=600, help="images of 12 megapixels, 4 MB each")
    parser.add_argument("--many", type=int, default=60_000, help="PNG images of 28x28, for the second start")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to put the images, 4 GB; default: a temporary folder")
    add_output(parser)
    options = parser.parse_args()
    cases = {
        "100x100 JPEG": Case((100, 100), options.small, min(options.small, 500)),
        "12-megapixel JPEG": Case((4000, 3000), options.large, min(options.large, 12)),
        "28x28 PNG": Case((28, 28), options.many, min(options.many, 500), "png"),
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = measure(cases, options.rounds, Path(folder))
    publish(
        options.output,
        "Scan of own images",
        paragraphs(rows, num_processes()),
        {"rows": rows, "processes": num_processes()},
        n=options.rounds,
        repeated="rounds of all datasets in turn",
    )
    return 0


if __name__ == "__main__":
    run_script(main)
