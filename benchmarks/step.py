"""How much of the processor a training step uses: images/s, multiply-adds, and the share of the machine's own peak.

    python benchmarks/step.py [--batch 128] [--steps 30] --output benchmarks/results/step

Measures the reference network on random images, forward (evaluation mode, no gradients) and forward with backward and
the optimizers' steps, in the memory layout and with the heap of ``thimble train``; counts the multiply-adds of its
convolutions (forward, for the weights' gradients and for the inputs', but for the first layer's, which nobody needs);
and measures, in between, the fastest float32 matrix product that this machine does (*sgemm*): the better of MKL's and
oneDNN's, over several sizes. bfloat16 is measured where the processor has instructions for it, against the same
float32 peak. Last, what the two augmenters do in a second on one thread. Writes OUTPUT.md and OUTPUT.json. Run it on
an idle machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from thimble.data.augment.augmenter import build_augmenter
from thimble.measuring.summary import summarize
from thimble.models import build_model
from thimble.system.machine import has_bfloat16, keep_freed_memory, processor
from thimble.training.optimizers import build_optimizers
from thimble.training.recipes import fast, reference
from thimble.training.tricks.averaging import WeightAverage


def sgemm_flops() -> dict[str, float]:
    """The most floating-point operations per second of the float32 matrix products tried here, for each library."""
    best = {"torch.mm": 0.0, "oneDNN": 0.0}
    for size in (1024, 2048, 4096):
        left, right = torch.randn(size, size), torch.randn(size, size)
        image = left.t().reshape(1, size, -1, 64).to(memory_format=torch.channels_last)  # the same product for oneDNN
        kernel = right.view(size, size, 1, 1)
        products: dict[str, Callable[[], Any]] = {
            "torch.mm": lambda: left @ right,  # noqa: B023
            "oneDNN": lambda: F.conv2d(image, kernel),  # noqa: B023
        }
        for name, product in products.items():
            best[name] = max(best[name], 2 * size**3 / min(_seconds(product) for _ in range(6)))
    return best


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def steps(batch: int, precision: str, optimizer: str) -> dict[str, Callable[[], None]]:
    """A forward pass and a training step, each ready to be called."""
    torch.manual_seed(0)
    config = fast() if optimizer == "muon" else reference()
    model = build_model("reference").to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers, average = build_optimizers(model, config.optimization), WeightAverage(model, config.averaging.ema_decay)
    images = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10

    def logits() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            result: torch.Tensor = model(images)
        return result.float()

    def forward() -> None:
        model.eval()
        with torch.no_grad():
            logits()

    def train() -> None:
        model.train()
        loss = F.cross_entropy(logits(), labels)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for each in optimizers:
            each.step()
        average.update(model, 1000)

    return {"forward": forward, "training": train}


def multiply_adds(phase: str) -> int:
    """Multiply-adds for one image: a layer's own forward; for a training again for its weights and for its inputs."""
    layers = [layer.num_multiply_adds for layer in summarize("reference").layers if layer.num_multiply_adds]
    # The first layer's input is the image, whose gradient nobody needs.
    return sum(layers) if phase == "forward" else 3 * sum(layers) - layers[0]


def augmented_per_second() -> dict[str, float]:
    """Images that each augmenter does in a second, one thread, with the settings of a recipe."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = {
        "reference recipe, Albumentations": reference().augment,
        "reference recipe's settings, batched": dataclasses.replace(reference().augment, augmenter="batched"),
        "fast recipe's settings, Albumentations": dataclasses.replace(fast().augment, augmenter="albumentations"),
        "fast recipe, batched": fast().augment,
    }
    images, speeds = torch.randint(0, 256, (128, 3, 32, 32), dtype=torch.uint8), {}
    for name, config in settings.items():
        augmenter = build_augmenter(config, (0.5, 0.5, 0.5))
        augmenter.augment(images, 0)
        seconds = [_seconds(lambda: augmenter.augment(images, 1)) for _ in range(30)]  # noqa: B023
        speeds[name] = len(images) / statistics.median(seconds)
    torch.set_num_threads(threads)
    return speeds


def main() -> int:
    """Measure every variant in turn, in several rounds."""
    parser = argparse.ArgumentParser(description="Images/s of a step, and the share of the machine's sgemm peak.")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30, help="measured steps of each variant, over three rounds")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    keep_freed_memory()
    variants: dict[str, Callable[[], None]] = {}
    for precision in ("float32", "bf16") if has_bfloat16("cpu") else ("float32",):
        for optimizer in ("sgd", "muon"):
            for phase, work in steps(options.batch, precision, optimizer).items():
                if phase == "training" or optimizer == "sgd":
                    variants[f"{phase}, {precision}" + (f", {optimizer}" if phase == "training" else "")] = work
    counts = {name: 2 * options.batch * multiply_adds(name.partition(",")[0]) for name in variants}
    peaks, seconds = [sgemm_flops()], {name: list[float]() for name in variants}
    for _ in range(3):
        for name, work in variants.items():
            for _ in range(3):
                work()
            seconds[name] += [_seconds(work) for _ in range(max(1, options.steps // 3))]
        peaks.append(sgemm_flops())
    peak = max(max(each.values()) for each in peaks)
    usual = max(each["torch.mm"] for each in peaks)
    result: dict[str, Any] = {
        "batch": options.batch,
        "processor": processor(),
        "torch": str(torch.__version__),
        "torch_threads": torch.get_num_threads(),
        "sgemm_gflops": peak / 1e9,
        "sgemm_gflops_each_round": [{name: value / 1e9 for name, value in each.items()} for each in peaks],
        "variants": {},
    }
    lines = [
        "# A step of the reference network on the CPU",
        "",
        f"Batch {options.batch}, {torch.get_num_threads()} threads on {os.cpu_count()} cores ({processor()}), torch"
        f" {torch.__version__}. The machine's sgemm peak in the same run: **{peak / 1e9:.0f} GFLOP/s** in float32, the"
        f" better of oneDNN's (as a 1x1 convolution) and torch.mm's ({usual / 1e9:.0f} GFLOP/s).",
        "",
        "| step | images/s, median | best | million multiply-adds an image | GFLOP/s | of the sgemm peak |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, times in seconds.items():
        middle = statistics.median(times)
        rate = counts[name] / middle
        adds = counts[name] / options.batch / 2
        result["variants"][name] = {
            "images_per_second": options.batch / middle,
            "best_images_per_second": options.batch / min(times),
            "multiply_adds_per_image": adds,
            "gflops": rate / 1e9,
            "of_sgemm_peak": rate / peak,
        }
        lines.append(
            f"| {name} | {options.batch / middle:.0f} | {options.batch / min(times):.0f} | {adds / 1e6:.1f}"
            f" | {rate / 1e9:.0f} | {rate / peak:.0%} |"
        )
    lines += ["", "| augmentation, one thread | images/s |", "|---|---:|"]
    result["augmented_images_per_second"] = augmented_per_second()
    lines += [f"| {name} | {speed:,.0f} |" for name, speed in result["augmented_images_per_second"].items()]
    text = "\n".join([*lines, "", f"Made by `python benchmarks/step.py {' '.join(sys.argv[1:])}`."]) + "\n"
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.with_suffix(".md").write_text(text, encoding="utf-8")
        options.output.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
