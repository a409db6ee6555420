"""How long networks take for one image, beside the reference network's time, in turn.

    python benchmarks/latency.py --output benchmarks/results/latency

PyTorch, eager, float32, channels-last, batches of one image of 32x32, one thread; the weights do not matter. Every
network runs once in every round, so that a slow moment of the machine is everybody's.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from thimble.measuring.summary import summarize
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.system.machine import processor

BASE = "reference"


def measure(networks: dict[str, Classifier], rounds: int) -> dict[str, dict[str, float]]:
    """Median and 95th percentile in milliseconds, and the median of the ratio to ``BASE`` in the same round, by name.

    Args:
        networks: of input 3x32x32, ``BASE`` among them.
        rounds: of all networks, once each; a tenth more go before, uncounted.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    image = torch.zeros(1, 3, 32, 32).to(memory_format=torch.channels_last)
    ready = {
        name: network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for name, network in networks.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    try:
        with torch.inference_mode():
            for number in range(rounds + rounds // 10):
                for name, network in ready.items():
                    started = time.perf_counter()
                    network(image)
                    if number >= rounds // 10:
                        seconds[name].append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return {
        name: {
            "median_ms": 1000 * statistics.median(times),
            "p95_ms": 1000 * statistics.quantiles(times, n=20)[-1],
            "ratio": statistics.median(one / base for one, base in zip(times, seconds[BASE], strict=True)),
        }
        for name, times in seconds.items()
    }


def page(result: dict[str, Any], called: str) -> str:
    """The result as Markdown."""
    lines = [
        "# Latency of one image",
        "",
        f"PyTorch {result['torch']}, eager, float32, one thread of {result['processor']}; {result['rounds']} rounds of"
        " all networks in turn. The ratio is the median of the rounds'.",
        "",
        "| network | parameters | multiply-adds | median | 95th percentile | of the reference network's |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in result["networks"].items():
        lines.append(
            f"| {name} | {row['num_parameters']:,} | {row['num_multiply_adds']:,} | {row['median_ms']:.2f} ms"
            f" | {row['p95_ms']:.2f} ms | {row['ratio']:.2f} |"
        )
    return "\n".join([*lines, "", f"Made by `{called}`."]) + "\n"


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["thimble-78k", "thimble-97k", "thimble-150k", "teacher-2m"])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--output", type=Path, required=True, help="name of the result, without an ending")
    options = parser.parse_args()
    networks = {name: build_model(name) for name in dict.fromkeys([BASE, *options.models])}
    times = measure(networks, options.rounds)
    for name in networks:
        size = summarize(name)
        times[name] |= {"num_parameters": size.num_parameters, "num_multiply_adds": size.num_multiply_adds}
    result = {
        "processor": processor(),
        "torch": str(torch.__version__),
        "rounds": options.rounds,
        "networks": times,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    called = "python benchmarks/latency.py " + shlex.join(sys.argv[1:])
    options.output.with_suffix(".md").write_text(page(result, called), encoding="utf-8")
    print(options.output.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
