"""How long networks take for one image, beside the reference network's time, in turn.

    python benchmarks/latency.py --output benchmarks/results/latency

PyTorch, eager, float32, channels-last, batches of one image of 32x32, one thread; the weights do not matter. Every
network runs once in every round, so that a slow moment of the machine is everybody's.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from pages import add_output, publish, run_script, table

from thimble.measuring.summary import summarize
from thimble.models import build_model, list_models
from thimble.models.classifier import Classifier

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


def paragraphs(networks: dict[str, dict[str, float]]) -> list[str]:
    """The page: how it was measured, and a row for each network."""
    header = ["network", "parameters", "multiply-adds", "median", "95th percentile", "of the reference network's"]
    cells = []
    for name, row in networks.items():
        times = [f"{row['median_ms']:.2f} ms", f"{row['p95_ms']:.2f} ms", f"{row['ratio']:.2f}"]
        cells.append([name, row["num_parameters"], row["num_multiply_adds"], *times])
    return [
        "PyTorch, eager, float32, one thread; all networks in turn in every round. The ratio is the median of the"
        " rounds' ratios.",
        table(header, cells),
    ]


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--models",
        nargs="+",
        choices=list_models(),
        default=["thimble-78k", "thimble-97k", "thimble-150k", "teacher-2m"],
    )
    parser.add_argument("--rounds", type=int, default=500)
    add_output(parser)
    options = parser.parse_args()
    networks = {name: build_model(name) for name in dict.fromkeys([BASE, *options.models])}
    times = measure(networks, options.rounds)
    for name in networks:
        size = summarize(name)
        times[name] |= {"num_parameters": size.num_parameters, "num_multiply_adds": size.num_multiply_adds}
    publish(
        options.output,
        "Latency of one image",
        paragraphs(times),
        {"rounds": options.rounds, "networks": times},
        n=options.rounds,
        repeated="rounds of all networks in turn",
    )
    return 0


if __name__ == "__main__":
    run_script(main)
