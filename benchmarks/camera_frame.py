"""The C file's function for a camera's frame: how near its pixels are to Thimble's, and the instructions it takes.

    python benchmarks/camera_frame.py --output benchmarks/results/camera_frame

The pixels are compared on this computer; the instructions are counted by an emulated Cortex-M, see
``microcontroller.py``, which has what it takes.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import microcontroller
import numpy as np
import torch
from numpy.typing import NDArray
from pages import add_output, publish, run_script, table
from PIL import Image

from thimble.data.pixels import Fitting, to_input, to_picture
from thimble.data.shapes10 import shapes10
from thimble.exporting.c import source as c_file
from thimble.exporting.deployment import deploy
from thimble.exporting.export import describe
from thimble.models import build_model

FITS = ("crop", "pad", "squash")
SIZES = ((3, 32, 32), (1, 28, 28), (3, 48, 100))
"""Of networks: channels, height, width."""
FRAMES = ((160, 120), (320, 240), (640, 480), (240, 320), (96, 96), (101, 77), (20, 15), (1, 40), (300, 7), (3, 301))
"""(width, height) that every network is tried with; random ones are added."""
EMULATED = ((160, 120), (320, 240))
CORES = ("cortex-m4", "cortex-m7")
_SHIM = """
#define THIMBLE_FIT
#include "{path}"
void framed_logits(const uint8_t frame[{num_bytes}], float logits[10]);
void framed_logits(const uint8_t frame[{num_bytes}], float logits[10])
{{
    static uint8_t image[{num_inputs}];
    const int code = thimble_78k_fit(frame, {format}, {width}, {height}, {bytes_per_row}, image);
    for (int i = 0; i < 10; i++) {{
        logits[i] = (float)(code + image[i]);
    }}
}}
"""


def build(fit: str, size: tuple[int, int, int], path: Path) -> Fitting:
    """Write the C file of an untrained network; the function does not depend on the weights."""
    torch.manual_seed(0)
    model = build_model("thimble-78k", in_channels=size[0], input_size=size[1:]).eval()
    model.fit = fit
    fitting = Fitting.of(model)
    images = torch.stack([to_input(to_picture(image), fitting) for image in shapes10(2).images])
    metadata = describe(model, {}, "0" * 64, preprocess=True, softmax=False)
    path.write_bytes(c_file.build(deploy(model, metadata=metadata, calibration=images)))
    return fitting


def frames(random: np.random.Generator, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Noise, extremes, a colour, stripes of a pixel, gradients: RGB, uint8 (height, width, 3)."""
    yield random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    yield (255 * random.integers(0, 2, (height, width, 3))).astype(np.uint8)
    yield np.full((height, width, 3), random.integers(0, 256, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    for stripes in (rows % 2, columns % 2, (rows + columns) % 2):
        yield np.repeat((255 * stripes).astype(np.uint8)[:, :, None], 3, 2)
    ramps = columns * 255 // max(1, width - 1), rows * 255 // max(1, height - 1), (rows + columns) % 256
    yield np.ascontiguousarray(np.stack(ramps, 2).astype(np.uint8))


def compare(path: Path, fitting: Fitting, num_random: int) -> dict[str, int]:
    """Count the values that are Thimble's, that differ by one grey level, and by more."""
    library = path.with_suffix(".so")
    subprocess.run(["cc", "-O2", "-DTHIMBLE_FIT", "-shared", "-fPIC", path, "-o", library], check=True)
    call, random = ctypes.CDLL(str(library)).thimble_78k_fit, np.random.default_rng(0)
    sizes = [*FRAMES, *map(tuple, random.integers(1, 200, (num_random, 2)).tolist())]
    counts = np.zeros(3, dtype=np.int64)
    for width, height in sizes:
        for frame in frames(random, width, height):
            found = np.empty((*fitting.size, fitting.channels), dtype=np.uint8)
            at = [ctypes.c_void_p(array.ctypes.data) for array in (frame, found)]
            if call(at[0], 1, width, height, 3 * width, at[1]) != 0:
                raise RuntimeError(f"a frame of {width} x {height} was refused")
            wanted = to_input(Image.fromarray(frame), fitting).permute(1, 2, 0).numpy()
            difference = np.abs(found.astype(np.int64) - wanted).clip(0, 2)
            counts += np.bincount(difference.ravel(), minlength=3)
    return {
        "frames": 7 * len(sizes),
        "equal": int(counts[0]),
        "one_level": int(counts[1]),
        "more": int(counts[2]),
    }


def emulate(path: Path, num_inputs: int, core: str, width: int, height: int) -> dict[str, Any]:
    """The instructions and the stack that a noisy frame of RGB565 takes, with -O2."""
    frame = np.random.default_rng(1).integers(0, 256, (1, height, 2 * width), dtype=np.uint8)
    shim = path.with_name("framed.c")
    facts = {"path": path, "num_bytes": frame.size, "num_inputs": num_inputs, "format": 4}
    shim.write_text(_SHIM.format(**facts, width=width, height=height, bytes_per_row=2 * width), encoding="utf-8")
    found = microcontroller.run(shim, torch.from_numpy(frame), core, "-O2")
    return {"instructions": found["instructions"], "stack_bytes": found["stack_bytes"]}


def measure(num_random: int) -> dict[str, list[dict[str, Any]]]:
    """Both tables' rows."""
    pixels, instructions = [], []
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            for fit in FITS:
                print(f"{size}, {fit}", flush=True)
                path = Path(folder) / f"{fit}_{'_'.join(map(str, size))}.c"
                fitting = build(fit, size, path)
                pixels.append({"size": size, "fit": fit, **compare(path, fitting, num_random)})
                if fit == "crop" and size == SIZES[0]:
                    for core in CORES:
                        for width, height in EMULATED:
                            row = {"core": core, "width": width, "height": height}
                            instructions.append(
                                {**row, **emulate(path, size[0] * size[1] * size[2], core, width, height)}
                            )
    return {"pixels": pixels, "instructions": instructions}


def paragraphs(rows: dict[str, list[dict[str, Any]]], tools: str) -> list[str]:
    """The page."""
    compared = [
        [" x ".join(map(str, (*row["size"][1:], row["size"][0]))), row["fit"]]
        + [row[name] for name in ("frames", "equal", "one_level", "more")]
        for row in rows["pixels"]
    ]
    counted = [
        [
            row["core"],
            f"{row['width']} x {row['height']}",
            f"{row['instructions'] / 1e6:.1f} million",
            row["stack_bytes"],
        ]
        for row in rows["instructions"]
    ]
    return [
        "The C file's function for a camera's frame, beside what Thimble makes of the same frame: values of the"
        " network's image that are equal, that differ by one grey level, and by more. The frames are noise, black and"
        " white noise, one colour, stripes of a pixel in three directions, and gradients, of sizes from 1 to"
        " 640 pixels a side.",
        table(["image", "fit", "frames", "equal", "differ by 1", "by more"], compared),
        "What a noisy frame of RGB565 takes for an image of 32 x 32 x 3 (crop, -O2), the stack of all calls together.",
        table(["core", "frame", "instructions", "stack, bytes"], counted),
        f"Compiler and emulator: {tools}.",
    ]


def main() -> int:
    """Compare, count and write; exit code 1 if a value differs by more than one grey level."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--random", type=int, default=40, help="frames of random size for each network (default: 40)")
    add_output(parser)
    options = parser.parse_args()
    if microcontroller.missing():
        print(f"no {', '.join(microcontroller.missing())} here: see microcontroller.py", file=sys.stderr)
        return 2
    rows, tools = measure(options.random), microcontroller.versions()
    publish(
        options.output,
        "A camera's frame",
        paragraphs(rows, tools),
        {"versions": tools, **rows},
        n=sum(row["frames"] for row in rows["pixels"]),
        repeated="frames, once each",
    )
    return 1 if any(row["more"] for row in rows["pixels"]) else 0


if __name__ == "__main__":
    run_script(main)
