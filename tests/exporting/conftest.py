"""What the tests of exports share: graphs that are traced once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from exports_shared import traced_once

from thimble.exporting import onnx_file


@pytest.fixture(scope="package", autouse=True)
def shared_traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each network is traced once for all tests, in whichever process of pytest-xdist; its files are made anew."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "traced"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_file, "_traced", traced_once(folder))
        yield
