"""How long an exported network takes, and how much room: PyTorch, ONNX in float32 and int8, and the C file.

    python benchmarks/inference.py --output benchmarks/results/inference

Batches of one image and of 64, on one core and on two, beside MLPerf Tiny's ResNet-8. Every program is a process of its
own, with so many cores; each runs once in every round, a few calls after some that are not counted, so that a slow
moment of the machine is everybody's. Needs Linux and, for the C file, a compiler.
Run it on an idle machine; ``--rounds 10 --models reference`` is a quick look.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from latency import BASE
from pages import add_output, publish, run_script, table
from programs import BATCH, FLAGS, FLOAT32, INT8, Process, build_programs, compiler, load, write_images

from thimble.measuring.summary import summarize
from thimble.storage.shipped import list_pretrained

CALLS = {1: (3, 10), BATCH: (1, 1)}
"""By batch: calls in a round that warm up, and that count."""
PAUSE_SECONDS = 0.1
"""After two threads: the idle one waits for work for some time in a loop, on a core that the next program may have."""
BAR_MS = 1.0
"""What the reference network may take for one image on one core, in onnxruntime."""


def measure(processes: list[Process], rounds: int) -> list[dict[str, Any]]:
    """A row for every process and batch.

    Args:
        processes: those of onnxruntime float32 and ``BASE`` among them.
        rounds: of all processes, once each.
    """
    seconds: dict[tuple[Process, int], list[list[float]]] = {(each, batch): [] for each in processes for batch in CALLS}
    for _ in range(rounds):
        for process in processes:
            for batch, (warmup, calls) in CALLS.items():
                seconds[process, batch].append(process.run(batch, warmup, calls))
            if process.threads > 1:
                time.sleep(PAUSE_SECONDS)
    bases = {
        (each.threads, batch): times
        for (each, batch), times in seconds.items()
        if (each.program.network, each.program.name) == (BASE, FLOAT32)
    }
    return [_row(process, batch, times, bases[process.threads, batch]) for (process, batch), times in seconds.items()]


def _row(process: Process, batch: int, rounds: list[list[float]], base: list[list[float]]) -> dict[str, Any]:
    times = [seconds for each in rounds for seconds in each]
    median = statistics.median(times)
    ratios = [statistics.median(one) / statistics.median(other) for one, other in zip(rounds, base, strict=True)]
    return {
        "network": process.program.network,
        "program": process.program.name,
        "threads": process.threads,
        "batch": batch,
        "median_ms": 1000 * median,
        "p95_ms": 1000 * statistics.quantiles(times, n=20, method="inclusive")[-1],
        "images_per_second": batch / median,
        "ratio": statistics.median(ratios),
    }


def room(process: Process) -> dict[str, Any]:
    """What a program takes, in bytes."""
    return {
        "network": process.program.network,
        "program": process.program.name,
        "file": process.program.file.name,
        "file_bytes": process.program.file.stat().st_size,
        "sections": process.program.sections,
        "imported_bytes": process.imported_bytes,
        "loaded_bytes": process.loaded_bytes,
        "peak_bytes": process.peak_bytes,
    }


def bars(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """By sentence: whether the reference network, on one core, is as fast as it should be."""
    found = {row["program"]: row for row in rows if (row["network"], row["threads"], row["batch"]) == (BASE, 1, 1)}
    latency, ratio = found[FLOAT32]["median_ms"], found[INT8]["ratio"]
    return {
        f"One image in onnxruntime takes {latency:.2f} ms; expected less than {BAR_MS:g} ms": latency < BAR_MS,
        f"In int8 it takes {ratio:.2f} of the time in float32; expected at most 1": ratio <= 1,
    }


def paragraphs(result: dict[str, Any]) -> list[str]:
    """The page: what was measured, time, room, and whether the bars hold."""
    sizes = [
        f"- {name}: {size['num_parameters']:,} parameters, {size['num_multiply_adds'] / 1e6:.1f} million multiply-adds"
        for name, size in result["networks"].items()
    ]
    compiled = [f"Compiled, the C file of {network} is {text}." for network, text in _compiled(result["room"])]
    return [
        f"onnxruntime {result['onnxruntime']}; {result['compiler'] or 'no C compiler'} with `{' '.join(FLAGS)}`.",
        "\n".join(sizes),
        "resnet8 is MLPerf Tiny's network for image classification (benchmarks/resnet8.py), untrained: the weights do"
        " not matter here.",
        "## Time",
        _time_table(result["times"]),
        "The ratio compares one image on one core with the reference network in onnxruntime float32; it is the median"
        " of the rounds' ratios. PyTorch (eager, float32, channels-last, with BatchNorm as it was trained) gets"
        " normalised images and keeps freed memory, as `thimble train` does: at batch 64 it is about half as fast"
        " without. All others get pixels and normalise them too. The C file takes 64 images one after the other; its"
        " memory is static, so that it has one thread. At two, onnxruntime's idle thread waits for work in a loop, as"
        " it does by default.",
        "## Room",
        _room_table(result["room"]),
        "\n".join(
            [
                "Memory is the peak of a process on one core, the 64 images (0.2 MB) in it; without the file, it is"
                " that of Python, NumPy and the runtime, or of the C library alone. The weights for PyTorch are kept in"
                " float16.",
                *compiled,
            ]
        ),
        "\n".join(f"{text}: {'holds' if holds else 'FAILS'}." for text, holds in result["bars"].items()),
    ]


def _time_table(rows: list[dict[str, Any]]) -> str:
    found = {(row["network"], row["program"], row["threads"], row["batch"]): row for row in rows}
    cells = []
    for network, program in dict.fromkeys((row["network"], row["program"]) for row in rows):
        one, two = (found.get((network, program, threads, 1)) for threads in (1, 2))
        many = [found.get((network, program, threads, BATCH)) for threads in (1, 2)]
        latencies = [f"{row['median_ms']:.2f}, {row['p95_ms']:.2f} ms" if row else None for row in (one, two)]
        speeds = [f"{row['images_per_second']:,.0f} images/s" if row else None for row in many]
        ratio = f"{one['ratio']:.2f}" if one else None
        cells.append([network, program, latencies[0], ratio, latencies[1], *speeds])
    times = ["1 image, 1 core: median, p95", "ratio", "2 cores: median, p95", "64 images, 1 core", "2 cores"]
    return table(["network", "program", *times], cells)


def _room_table(rows: list[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        memory = [row["imported_bytes"], row["loaded_bytes"], row["peak_bytes"][1], row["peak_bytes"][BATCH]]
        sizes = [f"{row['file_bytes'] / 1e3:,.0f} kB", *(f"{each / 1e6:.1f} MB" for each in memory)]
        cells.append([row["network"], row["program"], row["file"], *sizes])
    sizes = ["its size", "memory without it", "with it", "after batches of 1", "of 64"]
    return table(["network", "program", "file", *sizes], cells)


def _compiled(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """By network: the parts of the C file's machine code."""
    return [
        (
            row["network"],
            f"{size['text'] / 1e3:.0f} kB, with {(size['data'] + size['bss']) / 1e3:.0f} kB of static memory",
        )
        for row in rows
        if (size := row["sections"])
    ]


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    names = [*list_pretrained(), "resnet8"]
    parser.add_argument("--models", nargs="+", choices=names, default=names, help=f"beside {BASE}")
    parser.add_argument("--rounds", type=int, default=100)
    add_output(parser)
    parser.add_argument("--require", action="store_true", help="exit code 1 if the reference network is too slow")
    options = parser.parse_args()
    networks = {name: load(name) for name in dict.fromkeys([BASE, *options.models])}
    with tempfile.TemporaryDirectory(prefix="thimble-") as folder, contextlib.ExitStack() as stack:
        images = Path(folder) / "images.rgb"
        write_images(images)
        programs = [each for model in networks.values() for each in build_programs(model, Path(folder))]
        processes = [
            stack.enter_context(Process(program, threads, images))
            for program in programs
            for threads in program.num_threads
        ]
        times = measure(processes, options.rounds)
        sizes = [room(process) for process in processes if process.threads == 1]
    summaries = {name: summarize(model) for name, model in networks.items()}
    result = {
        "onnxruntime": version("onnxruntime"),
        "compiler": compiler(),
        "flags": FLAGS,
        "rounds": options.rounds,
        "calls_in_a_round": {batch: calls for batch, (_, calls) in CALLS.items()},
        "networks": {
            name: {"num_parameters": each.num_parameters, "num_multiply_adds": each.num_multiply_adds}
            for name, each in summaries.items()
        },
        "times": times,
        "room": sizes,
        "bars": bars(times),
    }
    publish(
        options.output,
        "Inference",
        paragraphs(result),
        result,
        n=options.rounds,
        repeated="rounds of all programs in turn",
    )
    return 1 if options.require and not all(result["bars"].values()) else 0


if __name__ == "__main__":
    run_script(main)
