"""What channels-last memory and a heap that keeps its pages are worth: images/s of training steps, side by side.

    python benchmarks/training_speed.py [--rounds 3] [--steps 30] --output benchmarks/results/training_speed

Runs the reference network's training step at batch 128 on random images, each variant in a process of its own, in turn,
several rounds. Machines are noisy: read the ratios. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from pages import Spread, add_output, publish, run_script, spread, table

VARIANTS = {
    "NCHW": (False, False),
    "NCHW, keep_freed_memory": (False, True),
    "channels-last": (True, False),
    "channels-last, keep_freed_memory (Thimble's)": (True, True),
}
BATCH = 128


def measure(channels_last: bool, keep: bool, steps: int) -> float:
    """Images/s of training steps in this process, the first five left out."""
    import torch

    from thimble.models import build_model
    from thimble.system.machine import keep_freed_memory
    from thimble.training.config import TrainConfig
    from thimble.training.optimizers import build_optimizers
    from thimble.training.tricks.averaging import WeightAverage

    if keep:
        keep_freed_memory()
    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = build_model("reference").to(memory_format=layout)  # type: ignore[call-overload]
    [optimizer], average = build_optimizers(model, TrainConfig().optimization), WeightAverage(model, 0.99)
    images = torch.randn(BATCH, 3, 32, 32).to(memory_format=layout)
    labels = torch.arange(BATCH) % 10
    started = 0.0
    for step in range(steps + 5):
        if step == 5:
            started = time.perf_counter()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        average.update(model, step)
    return BATCH * steps / (time.perf_counter() - started)


def paragraphs(speeds: dict[str, Spread], steps: int) -> list[str]:
    """The page: how it was measured, and a row for each variant."""
    base = speeds["NCHW"]["median"]
    cells = [
        [
            name,
            f"{values['median']:.0f}",
            f"{values['least']:.0f} to {values['greatest']:.0f}",
            f"{values['median'] / base:.2f}",
        ]
        for name, values in speeds.items()
    ]
    return [
        f"Batch {BATCH}, float32, {steps} steps a process after 5 to warm up.",
        table(["variant", "images/s, median", "least to greatest", "against NCHW"], cells),
    ]


def main() -> int:
    """Run every variant in every round, or, as a child, one variant."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    add_output(parser)
    parser.add_argument("--only", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(measure(*VARIANTS[options.only], options.steps))
        return 0

    speeds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name in VARIANTS:
            child = [sys.executable, __file__, "--steps", str(options.steps), "--only", name]
            speeds[name].append(
                float(subprocess.run(child, check=True, capture_output=True, text=True, encoding="utf-8").stdout)
            )
    spreads = {name: spread(values) for name, values in speeds.items()}
    publish(
        options.output,
        "Training steps of the reference network on the CPU",
        paragraphs(spreads, options.steps),
        {**speeds, "steps": options.steps, "spreads": spreads},
        n=options.rounds,
        repeated="rounds of all variants in turn",
    )
    return 0


if __name__ == "__main__":
    run_script(main)
