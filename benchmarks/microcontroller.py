"""The C files on emulated microcontrollers: the same answers as here, and the memory and instructions that they take.

    apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm
    python benchmarks/microcontroller.py --output benchmarks/results/microcontroller

QEMU executes an instruction in a nanosecond of its own time, so that the chip's timer counts instructions. How long
these take is the real chip's matter: its clock, its flash's wait states, and cycles that QEMU knows nothing of.
"""

from __future__ import annotations

import argparse
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from pages import add_output, publish, run_script, table
from programs import load

from thimble.data.shapes10 import shapes10
from thimble.exporting.c import source as c_file
from thimble.exporting.deployment import Deployment, deploy
from thimble.measuring.summary import summarize
from thimble.storage.shipped import list_pretrained

COMPILER, SIZE, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
CORES = {
    "cortex-m3": ("mps2-an385", ("-mfloat-abi=soft",)),
    "cortex-m4": ("mps2-an386", ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")),
    "cortex-m7": ("mps2-an500", ("-mfloat-abi=hard", "-mfpu=fpv5-sp-d16")),
}
"""Of each, QEMU's board and the compiler's options."""
OPTIMISATIONS = ("-Os", "-O2")
_STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror")
_INSTRUCTIONS_PER_TICK = 40  # the boards' timers run at 25 MHz
_HERE = Path(__file__).parent
_CALIBRATION_IMAGES = 256


def missing() -> list[str]:
    """The programs that this takes and that are not installed."""
    return [name for name in (COMPILER, SIZE, EMULATOR) if not shutil.which(name)]


def versions() -> str:
    """Of compiler and emulator."""
    commands = ([COMPILER, "--version"], [EMULATOR, "--version"])
    return "; ".join(
        subprocess.run(one, check=True, capture_output=True, text=True, encoding="utf-8").stdout.splitlines()[0]
        for one in commands
    )


def build(name: str, folder: Path) -> tuple[Deployment, Path]:
    """A network's C file. Calibrated with drawings: ranges matter neither for memory nor for instructions."""
    model = load(name)
    deployment = deploy(
        model,
        metadata={"model": name, "classes": list(model.classes)},
        calibration=shapes10(_CALIBRATION_IMAGES).images,
    )
    source = folder / f"{name}.c"
    source.write_bytes(c_file.build(deployment))
    return deployment, source


def run(source: Path, pixels: torch.Tensor, core: str, optimisation: str) -> dict[str, Any]:
    """Compile a C file for a core and let it classify images there.

    Args:
        pixels: uint8 (N, height, width, 3).

    Returns:
        ``flash_bytes`` of code and tables and ``ram_bytes`` of static memory, as the compiler made them;
        ``stack_bytes`` that were written to; ``instructions`` of the image that took the most, up to 671 million;
        ``logits``, the bits of each image's.
    """
    with tempfile.TemporaryDirectory() as folder:
        program, sizes = _compile(source, pixels, core, optimisation, Path(folder))
        command = [EMULATOR, "-M", CORES[core][0], "-nographic", "-semihosting", "-icount", "shift=0"]
        done = subprocess.run(
            [*command, "-kernel", str(program)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60 + 10 * len(pixels),
            encoding="utf-8",
        )
    lines = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    images = [[int(word, 16) for word in line[1:]] for line in lines if line[:1] == ["image"]]
    stack = [int(line[1], 16) for line in lines if line[:1] == ["stack"]]
    if done.returncode or len(images) != len(pixels) or len(stack) != 1:
        raise RuntimeError(f"{source.name} on {core} broke off after {len(images)} images: {done.stdout}{done.stderr}")
    return {
        **sizes,
        "stack_bytes": stack[0],
        "instructions": _INSTRUCTIONS_PER_TICK * max(ticks for ticks, *_ in images),
        "logits": [tuple(bits) for _, *bits in images],
    }


def _compile(
    source: Path, pixels: torch.Tensor, core: str, optimisation: str, folder: Path
) -> tuple[Path, dict[str, int]]:
    """The program with its images, and the sizes of the C file alone."""
    command = [COMPILER, f"-mcpu={core}", "-mthumb", *CORES[core][1], optimisation]
    code, images, program = folder / "network.o", folder / "images", folder / "program.elf"
    subprocess.run([*command, *_STRICT, "-c", source, "-o", code], check=True)
    images.write_bytes(pixels.numpy().tobytes())
    (logits,) = set(re.findall(r"\bvoid (\w+_logits)\(", source.read_text(encoding="utf-8")))
    facts = {"LOGITS": logits, "CLASSES": 10, "IMAGE": pixels[0].numel(), "NUM_IMAGES": len(pixels)}
    defined = [*(f"-D{name}={value}" for name, value in facts.items()), f'-DIMAGES="\\"{images}\\""']
    linked = ["-nostartfiles", "--specs=nosys.specs", "-T", str(_HERE / "microcontroller.ld")]
    harness = str(_HERE / "microcontroller.c")
    subprocess.run([*command, *defined, *linked, harness, str(code), "-o", str(program)], check=True)
    table = subprocess.run(
        [SIZE, code], check=True, capture_output=True, text=True, encoding="utf-8"
    ).stdout.splitlines()
    text, data, bss = (int(number) for number in table[1].split()[:3])
    return program, {"flash_bytes": text, "ram_bytes": data + bss}


def bits_here(source: Path, pixels: torch.Tensor) -> list[tuple[int, ...]]:
    """The bits of the logits of the same images, from the file compiled for this computer."""
    return [struct.unpack("<10I", row.numpy().tobytes()) for row in c_file.load(source)(pixels)]


def measure(models: list[str], num_images: int) -> list[dict[str, Any]]:
    """A row for each network, core and optimisation."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in models:
            deployment, source = build(name, Path(folder))
            pixels = deployment.inputs(shapes10(num_images, seed=1).images)
            here = bits_here(source, pixels)
            multiply_adds = summarize(load(name)).num_multiply_adds
            for core in CORES:
                for optimisation in OPTIMISATIONS:
                    print(f"{name}, {core}, {optimisation}", flush=True)
                    found = run(source, pixels, core, optimisation)
                    same = sum(one == other for one, other in zip(found.pop("logits"), here, strict=True))
                    row = {"model": name, "core": core, "optimisation": optimisation, **found}
                    rows.append({**row, "multiply_adds": multiply_adds, "same_logits": same, "num_images": num_images})
    return rows


def paragraphs(rows: list[dict[str, Any]], tools: str) -> list[str]:
    """The page: how it was measured, a row for each network, core and optimisation, and the tools' versions."""
    cells = [
        [
            *(row[name] for name in ("model", "core", "optimisation", "flash_bytes", "ram_bytes", "stack_bytes")),
            f"{row['instructions'] / 1e6:.1f} million",
            f"{row['instructions'] / row['multiply_adds']:.2f}",
            f"{row['same_logits']} of {row['num_images']}",
        ]
        for row in rows
    ]
    header = ["network", "core", "compiled with", "flash, bytes", "RAM, bytes", "stack, bytes"]
    header += ["instructions for an image", "for a multiply-add", "same logits"]
    return [
        "The C files, compiled for three Arm cores and run by an emulator, image by image. Flash is code and tables,"
        " RAM is static memory, and stack is the part of it that all calls wrote to. The instructions are those of the"
        " image that took the most. The logits are compared bit by bit with those of the same file compiled for this"
        " computer. An instruction is not a cycle: only the chip can tell the time.",
        table(header, cells),
        f"Compiler and emulator: {tools}.",
    ]


def main() -> int:
    """Compile, run, compare and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [*list_pretrained(), "resnet8"]
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--images", type=int, default=20, help="how many each of them classifies (default: 20)")
    add_output(parser)
    options = parser.parse_args()
    if not 1 <= options.images <= 1_000:  # as many as fit beside the program
        parser.error(f"--images {options.images}: expected 1 to 1000")
    if missing():
        print(
            f"no {', '.join(missing())} here: expected them installed, as the head of this script says", file=sys.stderr
        )
        return 2
    try:
        rows = measure(options.models, options.images)
    except (subprocess.SubprocessError, RuntimeError) as error:  # the compiler has said why
        print(error, file=sys.stderr)
        return 1
    tools = versions()
    publish(
        options.output,
        "Microcontrollers",
        paragraphs(rows, tools),
        {"versions": tools, "rows": rows},
        n=options.images,
        repeated="images on each core, one emulation each",
    )
    return 0 if all(row["same_logits"] == row["num_images"] for row in rows) else 1


if __name__ == "__main__":
    run_script(main)
