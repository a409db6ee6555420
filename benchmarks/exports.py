"""What each export keeps of a network: every shipped model in every format, beside PyTorch on the same images.

    python benchmarks/exports.py --output benchmarks/results/exports

Each is made by ``thimble.export``, with its check on 1,000 images and on the whole test set; a check that fails ends
it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from pages import add_output, publish, run_script, table

from thimble.errors import UserError
from thimble.exporting.export import export
from thimble.exporting.formats import FORMATS
from thimble.storage.shipped import list_pretrained


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


def paragraphs(rows: list[dict[str, Any]]) -> list[str]:
    """The page: a table of what was exported, what could not be, and the images."""
    cells = []
    for row in rows:
        if "missing" in row:
            continue
        twin = f", {row['twin_agreement']:.2%} as ONNX int8" if row["twin_agreement"] is not None else ""
        tested = ["", "", ""]
        if row["drop"] is not None:
            tested = [f"{row['accuracy']:.2%}", f"{row['pytorch_accuracy']:.2%}", f"{100 * row['drop']:.2f}"]
        difference, same = f"{row['max_difference']:.1e}", f"{row['agreement']:.2%}{twin}"
        cells.append([row["model"], row["format"], row["num_bytes"], difference, same, *tested])
    header = ["model", "format", "bytes", "greatest difference", "same label", "accuracy", "PyTorch's", "lost, points"]
    images = ", ".join(sorted({row["images"] for row in rows if "images" in row}))
    return [
        "Every file is compared with the network in PyTorch: the greatest difference of a logit and the share of equal"
        " labels on 1,000 images, and the accuracy on the whole test set. int8 files are calibrated on 1,000 training"
        " images.",
        table(header, cells),
        *[f"{row['model']}, {row['format']}: {row['missing']}" for row in rows if "missing" in row],
        f"Images: {images}.",
    ]


def main() -> int:
    """Export, measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=list_pretrained(), default=list_pretrained())
    names = [name for name, row in FORMATS.items() if not row.folder]  # a project has the C file's answers
    parser.add_argument("--formats", nargs="+", choices=names, default=names)
    add_output(parser)
    options = parser.parse_args()
    rows = measure(options.models, options.formats)
    publish(options.output, "Exports", paragraphs(rows), {"rows": rows}, n=1, repeated="export of each")
    return 0


if __name__ == "__main__":
    run_script(main)
