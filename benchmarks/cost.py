"""What `thimble summary` says of a network's memory before training, beside what a compiler makes of its C file.

apt-get install gcc-arm-none-eabi
python benchmarks/cost.py --output benchmarks/results/cost
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pages import add_output, publish, run_script, table

from thimble.data.pixels import Fitting, to_input, to_picture
from thimble.data.shapes10 import shapes10
from thimble.exporting.c import source as c_file
from thimble.exporting.cost import cost_of
from thimble.exporting.deployment import deploy
from thimble.models import build_model
from thimble.models.classifier import Classifier

COMPILER, SIZE = "arm-none-eabi-gcc", "arm-none-eabi-size"
NAMES = ("reference", "sprint", "thimble-78k", "thimble-97k", "thimble-150k")
SHAPES = ((3, 32, 10), (1, 32, 2), (3, 64, 81), (1, 96, 10))
"""Channels, side of the image, classes."""


def compiled(model: Classifier, folder: Path) -> tuple[int, int]:
    """The bytes of flash and of RAM of the model's C file, as the compiler made them."""
    import torch

    images = torch.stack([to_input(to_picture(image), Fitting.of(model)) for image in shapes10(8).images])
    source, program = folder / "network.c", folder / "network.o"
    about = {"model": "network", "classes": list(model.classes)}
    source.write_bytes(c_file.build(deploy(model.eval(), metadata=about, calibration=images)))
    options = ["-mcpu=cortex-m4", "-mthumb", "-O2", "-std=c99", "-c", str(source), "-o", str(program)]
    subprocess.run([COMPILER, *options], check=True)
    listing = subprocess.run([SIZE, program], check=True, capture_output=True, text=True, encoding="utf-8").stdout
    text, data, bss = (int(number) for number in listing.splitlines()[1].split()[:3])
    return text + data, bss


def measure(names: list[str]) -> list[dict[str, Any]]:
    """A row for each network, size of image and number of classes."""
    rows = []
    for name in names:
        for channels, side, classes in SHAPES:
            print(f"{name}, {channels} x {side} x {side}, {classes} classes", flush=True)
            model = build_model(name, num_classes=classes, in_channels=channels, input_size=(side, side))
            with tempfile.TemporaryDirectory() as folder:
                flash, ram = compiled(model, Path(folder))
            row = {"model": name, "channels": channels, "side": side, "classes": classes}
            rows.append(row | cost_of(model).to_dict() | {"compiled_flash_bytes": flash, "compiled_ram_bytes": ram})
    return rows


def paragraphs(rows: list[dict[str, Any]], version: str) -> list[str]:
    """The page: a row for each network."""
    cells = [
        [
            row["model"],
            f"{row['channels']} x {row['side']} x {row['side']}",
            row["classes"],
            row["num_parameters"],
            row["num_multiply_adds"],
            row["ram_bytes"],
            row["compiled_ram_bytes"],
            row["table_bytes"],
            row["compiled_flash_bytes"],
            row["compiled_flash_bytes"] - row["table_bytes"],
        ]
        for row in rows
    ]
    header = ["network", "image", "classes", "parameters", "multiply-adds", "RAM: computed", "compiled"]
    header += ["flash: tables, computed", "compiled, with code", "so the code"]
    code = [row["compiled_flash_bytes"] - row["table_bytes"] for row in rows]
    return [
        "Bytes. Computed: by `thimble summary` from the untrained network. Compiled: what"
        f" `{COMPILER} -mcpu=cortex-m4 -O2` made of the C file of the same network, calibrated with drawings. The"
        " compiler aligns the static memory, which costs it a few bytes.",
        table(header, cells),
        f"The code is {min(code):,} to {max(code):,} bytes. Compiler: {version}.",
    ]


def main() -> int:
    """Compute, compile and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=NAMES, default=list(NAMES))
    add_output(parser)
    options = parser.parse_args()
    if not shutil.which(COMPILER):
        print(f"no {COMPILER} here: expected it installed, as the head of this script says", file=sys.stderr)
        return 2
    rows = measure(options.models)
    version = subprocess.run(
        [COMPILER, "--version"], check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout.splitlines()[0]
    publish(
        options.output,
        "What a network costs",
        paragraphs(rows, version),
        {"compiler": version, "rows": rows},
        n=1,
        repeated="compilation of each",
    )
    return 0


if __name__ == "__main__":
    run_script(main)
