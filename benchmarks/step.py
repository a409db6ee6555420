"""How much of the processor a training step uses: images/s, multiply-adds, and the share of the machine's own peak.

    python benchmarks/step.py [--batch 128] [--steps 30] --output benchmarks/results/step

Measures the reference network on random images, forward (evaluation mode, no gradients) and forward with backward and
the optimizers' steps, in the memory layout and with the heap of ``thimble train``; counts the multiply-adds of its
convolutions (forward, for the weights' gradients and for the inputs', but for the first layer's, which nobody needs);
and measures, in between, the fastest float32 matrix product that this machine does (*sgemm*): the better of MKL's and
oneDNN's, over several sizes. bfloat16 is measured where the processor has instructions for it, against the same
float32 peak. Last, what the two augmenters do in a second on one thread. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from pages import Spread, add_output, publish, run_script, spread, table
from torch import nn

from thimble.data.augment.augmenter import build_augmenter
from thimble.measuring.summary import summarize
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.models.family import MODELS, GlobalAverage, HalvingDepthwise
from thimble.system.machine import has_bfloat16, keep_freed_memory
from thimble.training.optimizers import build_optimizers
from thimble.training.recipes import fast, reference
from thimble.training.tricks.averaging import WeightAverage

ROUNDS = 3


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


def steps(model: Classifier, batch: int, precision: str, optimizer: str) -> dict[str, Callable[[], None]]:
    """A forward pass and a training step of a network, each ready to be called."""
    config = fast() if optimizer == "muon" else reference()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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


def build_variants(batch: int) -> dict[str, Callable[[], None]]:
    """What is measured, by name: the phase first, then the precision, then the optimizer."""
    variants = {}
    for precision in ("float32", "bf16") if has_bfloat16("cpu") else ("float32",):
        for optimizer in ("sgd", "muon"):
            torch.manual_seed(0)
            for phase, work in steps(build_model("reference"), batch, precision, optimizer).items():
                if phase == "training" or optimizer == "sgd":
                    variants[f"{phase}, {precision}" + (f", {optimizer}" if phase == "training" else "")] = work
    return variants


def with_pytorch_layers(model: Classifier) -> Classifier:
    """The network with PyTorch's own layers in place of the two whose training is written out: as it was before."""
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, GlobalAverage):
                setattr(module, name, nn.AdaptiveAvgPool2d(1))
            elif isinstance(layer, HalvingDepthwise):
                channels = layer.in_channels
                strided = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False)
                strided.weight = layer.weight
                setattr(module, name, strided)
    return model


def measure_family(batch: int, num: int) -> dict[str, dict[str, Spread]]:
    """Images/s of a training step of the family's networks, before and after, in turn; one thread, Muon."""
    threads, precision = torch.get_num_threads(), "bf16" if has_bfloat16("cpu") else "float32"
    torch.set_num_threads(1)
    found = {}
    for name in MODELS:
        networks = {"before": with_pytorch_layers(build_model(name)), "after": build_model(name)}
        works = {when: steps(network, batch, precision, "muon")["training"] for when, network in networks.items()}
        times = {when: list[float]() for when in works}
        for turn in range(num + 1):
            for when, work in works.items():
                seconds = _seconds(work)
                if turn > 0:  # the first one warms up
                    times[when].append(seconds)
        found[name] = {when: spread([batch / each for each in seconds]) for when, seconds in times.items()}
    torch.set_num_threads(threads)
    return found


def family_table(found: dict[str, dict[str, Spread]]) -> str:
    """A row for each network: its images/s before and after, and how many times as many."""
    rows = [
        [
            f"`{name}`",
            *(f"{row[when]['median']:.0f} ({row[when]['greatest']:.0f})" for when in ("before", "after")),
            f"{row['after']['median'] / row['before']['median']:.2f}",
            f"{row['after']['greatest'] / row['before']['greatest']:.2f}",
        ]
        for name, row in found.items()
    ]
    header = ["training, one thread, images/s: median (best)", "before", "after", "ratio of medians", "of the best"]
    return table(header, rows)


def measure(variants: dict[str, Callable[[], None]], num: int) -> tuple[dict[str, list[float]], list[dict[str, float]]]:
    """Seconds of every step of each variant, and the peaks measured before, between and after the rounds.

    Args:
        variants: by name.
        num: steps of each that count, over all rounds; three more warm up in every round.
    """
    peaks, seconds = [sgemm_flops()], {name: list[float]() for name in variants}
    for _ in range(ROUNDS):
        for name, work in variants.items():
            for _ in range(3):
                work()
            seconds[name] += [_seconds(work) for _ in range(max(1, num // ROUNDS))]
        peaks.append(sgemm_flops())
    return seconds, peaks


def rates(name: str, batch: int, seconds: list[float], peak: float) -> dict[str, Any]:
    """A variant's images, multiply-adds and floating-point operations, and its share of the peak, in FLOP/s."""
    adds, speeds = multiply_adds(name.partition(",")[0]), spread([batch / each for each in seconds])
    flops = 2 * adds * batch / statistics.median(seconds)
    return {
        "images_per_second": batch / statistics.median(seconds),
        "best_images_per_second": speeds["greatest"],
        "spread_images_per_second": speeds,
        "multiply_adds_per_image": float(adds),
        "gflops": flops / 1e9,
        "of_sgemm_peak": flops / peak,
    }


def paragraphs(result: dict[str, Any]) -> list[str]:
    """The page: the machine's peak, a row for each variant, and a row for each augmenter."""
    usual = max(each["torch.mm"] for each in result["sgemm_gflops_each_round"])
    num = min(row["after"]["n"] for row in result["family"].values())
    rows = [
        [
            name,
            f"{row['images_per_second']:.0f}",
            f"{row['spread_images_per_second']['least']:.0f} to {row['best_images_per_second']:.0f}",
            f"{row['multiply_adds_per_image'] / 1e6:.1f}",
            f"{row['gflops']:.0f}",
            f"{row['of_sgemm_peak']:.0%}",
        ]
        for name, row in result["variants"].items()
    ]
    header = ["step", "images/s, median", "least to greatest", "million multiply-adds an image", "GFLOP/s"]
    augmented = [[name, f"{speed:,.0f}"] for name, speed in result["augmented_images_per_second"].items()]
    return [
        f"Batch {result['batch']}, threads: {result['torch_threads']}. The machine's sgemm peak in the same run:"
        f" **{result['sgemm_gflops']:.0f} GFLOP/s** in float32, the better of oneDNN's (as a 1x1 convolution) and"
        f" torch.mm's ({usual:.0f} GFLOP/s).",
        table([*header, "of the sgemm peak"], rows),
        f"The family's step, in {result['family_precision']} with Muon, before and after its two layers that train"
        f" faster than PyTorch's, in turn, {num} steps of each:",
        family_table(result["family"]),
        table(["augmentation, one thread", "images/s"], augmented),
    ]


def main() -> int:
    """Measure every variant in turn, in several rounds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=30, help="measured steps of each variant, over three rounds")
    add_output(parser)
    options = parser.parse_args()
    keep_freed_memory()
    seconds, peaks = measure(build_variants(options.batch), options.steps)
    peak = max(max(each.values()) for each in peaks)
    result = {
        "batch": options.batch,
        "torch_threads": torch.get_num_threads(),
        "sgemm_gflops": peak / 1e9,
        "sgemm_gflops_each_round": [{name: value / 1e9 for name, value in each.items()} for each in peaks],
        "variants": {name: rates(name, options.batch, times, peak) for name, times in seconds.items()},
        "family_precision": "bf16" if has_bfloat16("cpu") else "float32",
        "family": measure_family(options.batch, max(1, options.steps // ROUNDS)),
        "augmented_images_per_second": augmented_per_second(),
    }
    publish(
        options.output,
        "A step of the reference network on the CPU",
        paragraphs(result),
        result,
        n=ROUNDS * max(1, options.steps // ROUNDS),
        repeated=f"steps of each variant, in {ROUNDS} rounds of all in turn",
    )
    return 0


if __name__ == "__main__":
    run_script(main)
