"""The notebook as it is kept: run to its end, small, and with no photograph in it. CI runs it again, on shapes10."""

from __future__ import annotations

import base64
import json
from typing import Any

import nbformat
import pytest
from places import ROOT

NOTEBOOK = ROOT / "notebooks" / "thimble_cifar10.ipynb"
MOST_BYTES = 3_000_000
MOST_PNG_BYTES, MOST_PNG_BYTES_IN_ALL = 300_000, 2_000_000


@pytest.fixture(scope="module")
def notebook() -> Any:
    # Without nbformat, which would mend a file that is not quite right on its way.
    return json.loads(NOTEBOOK.read_text())


@pytest.fixture(scope="module")
def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def pngs(cells: list[Any]) -> list[bytes]:
    outputs = [output.get("data", {}) for cell in cells for output in cell["outputs"]]
    return [base64.b64decode("".join(data["image/png"])) for data in outputs if "image/png" in data]


def test_it_is_a_valid_notebook(notebook: Any) -> None:
    nbformat.validate(nbformat.from_dict(notebook))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")


def test_it_was_run_from_top_to_bottom_without_an_error(code_cells: list[Any]) -> None:
    assert [cell["execution_count"] for cell in code_cells] == list(range(1, len(code_cells) + 1))
    outputs = [output for cell in code_cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []


def test_its_outputs_are_of_cifar10_and_its_settings_of_shapes10(code_cells: list[Any]) -> None:
    (settings,) = (cell for cell in code_cells if "THIMBLE_NOTEBOOK_DATA" in "".join(cell["source"]))
    assert 'DATA = os.environ.get("THIMBLE_NOTEBOOK_DATA", "shapes10")' in "".join(settings["source"])
    assert "".join(settings["outputs"][0]["text"]) == "The outputs below are of cifar10.\n"


def test_it_holds_no_photograph(code_cells: list[Any]) -> None:
    drawn = [
        (cell, output)
        for cell in code_cells
        for output in cell["outputs"]
        if "image/png" in output.get("data", {}) and "Figure" not in "".join(output["data"]["text/plain"])
    ]
    assert len(drawn) == 2
    for cell, output in drawn:
        assert cell["metadata"]["tags"] == ["pictures"]
        assert output["metadata"]["data"] == "shapes10"  # scripts/refresh_notebook.py says so, nothing else does
    kinds = {kind for cell in code_cells for output in cell["outputs"] for kind in output.get("data", {})}
    assert kinds == {"image/png", "text/plain"}
    assert not any("attachments" in cell or "data:image" in "".join(cell["source"]) for cell in code_cells)


def test_it_is_small(code_cells: list[Any]) -> None:
    sizes = [len(png) for png in pngs(code_cells)]
    assert len(sizes) == 8
    assert max(sizes) <= MOST_PNG_BYTES
    assert sum(sizes) <= MOST_PNG_BYTES_IN_ALL
    assert NOTEBOOK.stat().st_size < MOST_BYTES
