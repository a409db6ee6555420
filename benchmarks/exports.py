"""What each export keeps of a network: every shipped model in every format, beside PyTorch on the same images.

    python benchmarks/exports.py --output benchmarks/results/exports

Each is made by ``thimble.export``, with its check on 1,000 images and on the whole test set; a check that fails ends
it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from thimble.errors import UserError
from thimble.exporting.export import export
from thimble.exporting.formats import FORMATS
from thimble.storage.shipped import list_pretrained
from thimble.system.machine import processor


def measure(models: list[str], formats: list[str]) -> list[dict[str, Any]]:
    """A row for each model and format; a format that is not installed here has a row that says so."""
    rows = []
    for model in models:
        for name in formats:
            print(f"{model}, {name}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder) / f"model{FORMATS[name].ending}"
                try:
                    result = export(model, name, output).to_dict()
                except UserError as error:
                    rows.append({"model": model, "format": name, "missing": str(error)})
                    continue
            rows.append({"model": model, "format": name, "num_bytes": result["num_bytes"], **result["parity"]})
    return rows


def page(result: dict[str, Any], called: str) -> str:
    """The rows as Markdown."""
    lines = [
        "# Exports",
        "",
        "Every file beside the network in PyTorch: the greatest difference of a logit and the share of equal labels on "
        "1,000 images, and accuracy on the whole test set. int8 files are calibrated on 1,000 training images.",
        "",
        "| model | format | bytes | greatest difference | same label | accuracy | PyTorch's | lost, points |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        if "missing" in row:
            lines.append(f"| {row['model']} | {row['format']} | {row['missing']} | | | | | |")
            continue
        twin = f", {row['twin_agreement']:.2%} as ONNX int8" if row["twin_agreement"] is not None else ""
        measured = ["", "", ""]
        if row["drop"] is not None:
            measured = [f"{row['accuracy']:.2%}", f"{row['pytorch_accuracy']:.2%}", f"{100 * row['drop']:.2f}"]
        lines.append(
            f"| {row['model']} | {row['format']} | {row['num_bytes']:,} | {row['max_difference']:.1e}"
            f" | {row['agreement']:.2%}{twin} | {' | '.join(measured)} |"
        )
    images = ", ".join(sorted({row["images"] for row in result["rows"] if "images" in row}))
    made = f"Images: {images}. PyTorch {result['torch']} on {result['processor']}. Made by `{called}`."
    return "\n".join([*lines, "", made]) + "\n"


def main() -> int:
    """Export, measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=list_pretrained())
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--output", type=Path, required=True, help="name of the result, without an ending")
    options = parser.parse_args()
    rows = measure(options.models, options.formats)
    result = {"processor": processor(), "torch": str(torch.__version__), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    called = "python benchmarks/exports.py " + shlex.join(sys.argv[1:])
    options.output.with_suffix(".md").write_text(page(result, called), encoding="utf-8")
    print(options.output.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
