"""PyTorch's own format: the same answers, in a process that has no Thimble, and nothing pickled inside."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from exports_shared import seasoned

from thimble.data.shapes10 import shapes10
from thimble.exporting import torch_file
from thimble.exporting.deployment import Deployment, deploy

IMAGES = shapes10(7, seed=5).images


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return deploy(seasoned(), metadata={"model": "reference"})


@pytest.fixture(scope="module")
def content(deployment: Deployment) -> bytes:
    return torch_file.build(deployment)


@pytest.mark.slow
def test_it_answers_like_the_network_for_any_number_of_images(
    deployment: Deployment, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    run = torch_file.load(tmp_path / "model.pt2")
    for number in (1, 2, 7):
        inputs = deployment.inputs(IMAGES[:number])
        torch.testing.assert_close(run(inputs), deployment.network(inputs), rtol=1e-5, atol=1e-5)


def test_nothing_in_it_is_pickled_or_tells_of_this_machine(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert not any(part.startswith((b"\x80\x02", b"PK\x03\x04")) for part in parts.values())
    assert not any(b"/src/thimble" in part for part in parts.values())
    (said,) = [part for name, part in parts.items() if name.endswith(torch_file.METADATA_FILE)]
    assert json.loads(said) == {"model": "reference"}


PRODUCT = """
import sys
sys.modules["thimble"] = None
import torch
model = torch.export.load(sys.argv[1]).module()
print(model(torch.full((1, 32, 32, 3), 128, dtype=torch.uint8)).argmax().item())
"""


@pytest.mark.slow
def test_it_runs_in_a_fresh_process_without_thimble(deployment: Deployment, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    command = [sys.executable, "-c", PRODUCT, str(tmp_path / "model.pt2")]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert int(result.stdout) == int(deployment.network(deployment.example(1)).argmax())
