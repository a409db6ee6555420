"""How the rules for own images decide on seven datasets: when to mirror, and which images look the same.

    python benchmarks/own_checks.py --folder /tmp/own --output benchmarks/results/own_checks

The folder is that of ``benchmarks/own_images.py``, which unpacks the datasets. Mirroring: of at most 3,000 training
images, how many have the class of the image most like them, as they are and mirrored. Look-alikes: all images of a
dataset are searched, and so are copies of 300 of its images, made worse in five ways and added to all of its images: a
copy is found if it ends in one group with its original. Nothing here is random but the choice of the 300, by a seed.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from own_images import TASKS, Task, unpack
from pages import add_output, publish, run_script, table
from PIL import Image
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from thimble.data.augment.mirroring import choose_flip
from thimble.data.own.likeness import look_alikes
from thimble.data.own.own_images import OwnImages
from thimble.data.own.settings import ImagesConfig

NUM_COPIES, SEED = 300, 0


def recoded(image: Image.Image) -> Image.Image:
    """As JPEG of quality 60."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file)


def shrunk(image: Image.Image) -> Image.Image:
    """Shrunk to 0.8 of its sides, and brought back."""
    width, height = image.size
    small = image.resize((int(0.8 * width), int(0.8 * height)), Image.Resampling.BICUBIC)
    return small.resize(image.size, Image.Resampling.BICUBIC)


def brighter(image: Image.Image) -> Image.Image:
    """10% brighter."""
    return image.point(lambda value: min(255, int(1.1 * value)))


def cropped(image: Image.Image) -> Image.Image:
    """Without 3% of each side, half of it at either end."""
    width, height = image.size
    x, y = 0.015 * width, 0.015 * height
    return image.resize(image.size, Image.Resampling.BICUBIC, box=(x, y, width - x, height - y))


def shifted(image: Image.Image) -> Image.Image:
    """By two pixels to the right, the last columns first."""
    return Image.fromarray(np.roll(np.asarray(image), 2, 1))


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 60": recoded,
    "shrunk to 0.8": shrunk,
    "10% brighter": brighter,
    "cropped by 3%": cropped,
    "shifted by 2 pixels": shifted,
}


def settings(task: Task) -> ImagesConfig:
    """The settings of a dataset's flags."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--class-level", type=int)
    parser.add_argument("--group")
    parser.add_argument("--classes", nargs="+", default=())
    given = vars(parser.parse_args(task.options))
    return ImagesConfig(**{**given, "classes": tuple(given["classes"])})


def degraded(images: Tensor, kind: Callable[[Image.Image], Image.Image]) -> Tensor:
    """Copies of uint8 images (N, channels, height, width), made worse: of the same shape and dtype."""
    copies = []
    for image in images.permute(0, 2, 3, 1).numpy():
        grey = image.shape[2] == 1
        copy = kind(Image.fromarray(image[:, :, 0] if grey else image)).convert("L" if grey else "RGB")
        copies.append(torch.from_numpy(np.array(copy).reshape(image.shape)))
    return torch.stack(copies).permute(0, 3, 1, 2)


def share_found(images: Tensor, chosen: Tensor, kind: Callable[[Image.Image], Image.Image]) -> float:
    """The share of copies of the chosen images that end in one group with their originals."""
    whole = torch.cat([images, degraded(images[chosen], kind)])
    ends = look_alikes(whole)[:, :2]
    graph = coo_matrix((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), (len(whole), len(whole)))
    _, group = connected_components(graph, directed=False)
    return float((group[chosen.numpy()] == group[len(images) :]).mean())


def check(name: str, folder: Path) -> dict[str, Any]:
    """What the rules say of one dataset."""
    source = OwnImages(folder / TASKS[name].place, settings(TASKS[name]))
    flip, reason = choose_flip(source.load("train"))
    found = source.examine()
    images = torch.as_tensor(found.scan.images[:])
    pairs = look_alikes(images)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))[:NUM_COPIES]
    return {
        "dataset": name,
        "classes": len(found.classes),
        "images": len(images),
        "side": images.shape[2],
        "flip": flip,
        "reason": reason,
        "pairs": len(pairs),
        "equal": int(pairs[:, 2].sum()),
        "groups": len(found.duplicates.groups),
        "across_parts": len(found.duplicates.across),
        "under_several_labels": len(found.duplicates.conflicting),
        "copies": len(chosen),
        "found": {name: share_found(images, chosen, kind) for name, kind in KINDS.items()},
    }


def paragraphs(rows: list[dict[str, Any]]) -> list[str]:
    """The page's words and tables."""
    return [
        "Whether to mirror training images, and why:",
        table(
            ("dataset", "classes", "mirrored", "as"),
            [[row[key] for key in ("dataset", "classes", "flip", "reason")] for row in rows],
        ),
        "Images that look the same, pairs that connect them, and the groups that they make:",
        table(
            (
                "dataset",
                "images",
                "side, pixels",
                "pairs",
                "of these equal",
                "groups",
                "across parts",
                "under several labels",
            ),
            [
                [
                    row[key]
                    for key in (
                        "dataset",
                        "images",
                        "side",
                        "pairs",
                        "equal",
                        "groups",
                        "across_parts",
                        "under_several_labels",
                    )
                ]
                for row in rows
            ],
        ),
        f"Copies that are found, of {NUM_COPIES} images of each dataset:",
        table(
            ("dataset", *KINDS), [[row["dataset"], *(f"{row['found'][kind]:.0%}" for kind in KINDS)] for row in rows]
        ),
    ]


def main() -> int:
    """Check every dataset, and write the two files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--archives", type=Path, default=Path("../shared/data/own"), help="the packed datasets")
    parser.add_argument("--folder", type=Path, required=True, help="where they are unpacked")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), help="these datasets")
    add_output(parser)
    options = parser.parse_args()
    unpack(options.archives, options.folder, options.only)
    rows = []
    for name in options.only:
        rows.append(check(name, options.folder))
        print(rows[-1], flush=True)
    publish(
        options.output, "Own images: mirroring and look-alikes", paragraphs(rows), {"rows": rows}, n=1, repeated="run"
    )
    return 0


if __name__ == "__main__":
    run_script(main)
