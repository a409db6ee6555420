"""What a network costs, computed before training, is what its exported and compiled C file takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from exports_shared import fitted, season, seasoned
from torch import nn

from thimble.data.shapes10 import shapes10
from thimble.exporting import onnx_file
from thimble.exporting.c import source as c_file
from thimble.exporting.c.tables import tabulate
from thimble.exporting.cost import CODE_BYTES, NAMES, Cost, Limits, cost_of, fitting
from thimble.exporting.deployment import Deployment, deploy
from thimble.exporting.integer_graph import read
from thimble.exporting.skeleton import skeleton
from thimble.models import MODELS, build_model
from thimble.models.classifier import Classifier

COMPILER = any(map(shutil.which, ("cc", "gcc", "clang"))) and shutil.which("size")


def odd() -> Classifier:
    """Max-pooling, groups, a dilation, an even kernel."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = {
            "stem": nn.Sequential(nn.Conv2d(3, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            "groups": nn.Sequential(
                nn.Conv2d(8, 12, 3, padding="same", dilation=2, groups=4), nn.BatchNorm2d(12), nn.ReLU()
            ),
            "pool": nn.Sequential(nn.MaxPool2d(3, 2, padding=1), nn.Conv2d(12, 12, 2), nn.BatchNorm2d(12)),
            "head": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Dropout(0.5), nn.Conv2d(12, 10, 1)),
        }
        model = Classifier(layers, name="odd", arguments={"num_classes": 10}, input_size=(3, 32, 32))
        season(model)
    return model.eval()


NETWORKS: dict[str, Any] = {
    "reference": lambda: seasoned("reference"),
    "grey": lambda: seasoned("thimble-97k", in_channels=1, num_classes=2),
    "large": lambda: seasoned("thimble-150k", input_size=(64, 64), num_classes=81),
    "larger": lambda: seasoned("thimble-78k", input_size=(96, 96)),
    "sprint": lambda: seasoned("sprint"),
    "oblong": lambda: seasoned("reference", input_size=(24, 40)),
    "odd": odd,
}


def exported(model: Classifier) -> Deployment:
    images = fitted(shapes10(10).images, model)
    return deploy(model, metadata={"model": "a", "classes": list(model.classes)}, calibration=images)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_the_exported_networks_to_the_byte(name: str) -> None:
    model = NETWORKS[name]()
    expected = tabulate(read(onnx_file.build_int8(exported(model))))
    found = tabulate(skeleton(model))
    assert found.ram_bytes == expected.ram_bytes == cost_of(model).ram_bytes
    assert [(one.name, one.type, one.length) for one in found.arrays] == [
        (one.name, one.type, one.length) for one in expected.arrays
    ]
    assert (found.flash_bytes, found.kinds) == (expected.flash_bytes, expected.kinds)


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.skipif(not COMPILER, reason="no C compiler")
@pytest.mark.parametrize("name", ["reference", "large", "odd"])
def test_a_compiler_finds_the_same_memory(name: str, tmp_path: Path) -> None:
    model = NETWORKS[name]()
    source, program = tmp_path / "a.c", tmp_path / "a.o"
    source.write_bytes(c_file.build(exported(model)))
    subprocess.run([*c_file.compiler(), "-std=c99", "-O2", "-c", "-o", str(program), str(source)], check=True)
    listing = subprocess.run(["size", "-A", str(program)], check=True, capture_output=True, text=True).stdout
    bss = sum(int(size) for size in re.findall(r"^\.bss\S*\s+(\d+)", listing, re.MULTILINE))
    ram = cost_of(model).ram_bytes
    assert ram is not None
    assert 0 <= bss - ram <= 64  # alignment


def test_it_needs_no_weights_and_changes_none() -> None:
    model = build_model("sprint").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    cost_of(model)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_architecture_has_its_cost_or_a_reason(name: str) -> None:
    cost = cost_of(build_model(name))
    if name.startswith("teacher"):
        assert cost.ram_bytes is cost.flash_bytes is None
        assert cost.missing == "the network has GELU, which the C file does not support"
    else:
        assert cost.missing is None
        assert cost.table_bytes is not None
        assert cost.table_bytes > cost.num_parameters


def test_limits_say_by_how_much() -> None:
    cost = Cost(100, 2_000, 30, 400)
    assert Limits().exceeded(cost) == []
    assert Limits(100, 2_000, 30, 400 + CODE_BYTES).exceeded(cost) == []
    assert Limits(99, 1_000, 29, 400).exceeded(cost) == [
        "100 parameters, 1 more than 99",
        "2,000 multiply-adds, 1,000 more than 1,000",
        "30 bytes of RAM, 1 more than 29",
        f"{400 + CODE_BYTES:,} bytes of flash, {CODE_BYTES:,} more than 400",
    ]
    assert Limits(ram_bytes=5).exceeded(Cost(1, 1, None, None, "why")) == [
        "no C file, so no bytes of RAM to compare: why"
    ]


def test_a_network_that_fits_is_named_for_the_same_images_and_classes() -> None:
    model = build_model("reference", input_size=(64, 64), num_classes=5)
    assert fitting(model, Limits(ram_bytes=50_000)) == "thimble-150k"
    assert fitting(model, Limits(ram_bytes=40_000)) == "thimble-97k"
    assert fitting(model, Limits(ram_bytes=30_000)) is None
    assert set(NAMES) < set(MODELS)
