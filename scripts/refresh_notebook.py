"""Run the notebook again and keep what it shows: ``THIMBLE_DATA=FOLDER python scripts/refresh_notebook.py``.

Twice: on CIFAR-10, whose outputs are kept, and on shapes10, of which those cells are kept that are tagged ``pictures``.
Those would show photographs that are not ours to hand on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "thimble_cifar10.ipynb"
PICTURES = "pictures"


def main() -> None:
    """Replace the notebook's outputs."""
    drawings, photographs = run("shapes10"), run("cifar10")
    for cell, drawn in zip(photographs.cells, drawings.cells, strict=True):
        if PICTURES in cell.metadata.get("tags", ()):
            cell.outputs = drawn.outputs
            for output in cell.outputs:
                if "metadata" in output:
                    output.metadata["data"] = "shapes10"  # tests/test_notebook.py looks for it
    nbformat.write(photographs, NOTEBOOK)


def run(data: str) -> Any:
    """The notebook, with what it shows of a dataset."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    os.environ["THIMBLE_NOTEBOOK_DATA"] = data
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=place, coalesce_streams=True).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the time of day, another one every time
        for output in cell.get("outputs", ()):
            output.get("data", {}).pop("image/jpeg", None)  # Pillow's images come twice
    notebook.metadata.language_info = {"name": "python"}
    return notebook


if __name__ == "__main__":
    main()
