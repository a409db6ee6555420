"""Train on a mapped file of images, and print how many bytes of memory that took beyond the pages of files.

python tests/mapped_training.py FOLDER NUM_IMAGES
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from places import ROOT
from tiny_network import NAME, registered

sys.path.insert(0, str(ROOT / "benchmarks"))

from large_dataset import make_file, mapped_source, resident

import thimble


class Meter(threading.Thread):
    """Reads this process's anonymous memory until it is stopped; has the greatest."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.greatest, self.running = 0, True

    def run(self) -> None:
        while self.running:
            self.greatest = max(self.greatest, anonymous())
            time.sleep(0.005)


def anonymous() -> int:
    return resident("self")["RssAnon"]


def trained(path: Path, count: int, runs: Path) -> None:
    """An epoch at a sixteenth of the pixels, with everything that looks at all images; then validation and test."""
    thimble.train(
        data=mapped_source(path, count),
        recipe="own",
        model=NAME,
        epochs=1,
        batch_size=100,
        image_sizes=(0.25,),
        skip_easy=0.1,
        precision="float32",
        device="cpu",
        runs=runs,
    )


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    make_file(folder / "pixels", count)
    meter = Meter()
    meter.start()
    with registered():
        trained(folder / "pixels", count, folder / "runs")
    meter.running = False
    print(meter.greatest)


if __name__ == "__main__":
    main()
