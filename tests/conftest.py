"""What several tests need: little data, and trainings of seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_network
import torch
from cli_shared import untrained
from colour_network import COLOURS
from download_server import Server
from exports_shared import save_onnx
from little import LittleShapes
from torch import nn
from traced_networks import traced_once
from training_runs import Whole, save_teacher
from weights_files import model_of_three

from thimble.data.augment.settings import AugmentConfig
from thimble.data.sources import SOURCES
from thimble.exporting import onnx_file
from thimble.models.classifier import Classifier
from thimble.storage.find import load_pretrained
from thimble.storage.weights import save_weights
from thimble.training.config import TrainConfig
from thimble.training.train import TrainResult, train


@pytest.fixture(autouse=True)
def heeded_signals() -> Iterator[None]:
    """Signals work, also where the tests run in the background of a script or under nohup, which have them ignored."""
    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def tiny_model() -> Iterator[None]:
    """There is a network ``tiny``, of which thousands of steps cost no time."""
    with tiny_network.registered():
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Each network is traced once for all tests, in whichever process of pytest-xdist; its files are made anew."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "traced"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_file, "_traced", traced_once(folder))
        yield


@pytest.fixture
def little_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """shapes10 is 120 + 40 drawings instead of 20,000 + 2,000."""
    monkeypatch.setitem(SOURCES, "shapes10", "little:LittleShapes")


@pytest.fixture
def little_run(little_data: None, tmp_path: Path) -> TrainConfig:
    """A training of 2 epochs of 5 steps, with everything random in it switched on."""
    return TrainConfig.of(
        model="tiny",
        data="shapes10",
        validation=40,
        epochs=2,
        batch_size=16,
        dropout=0.1,
        device="cpu",
        workers=0,
        runs=tmp_path,
        name="run",
    )


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Trains ``little_run`` to its end: each recipe once for all tests, which only read what becomes of it."""
    runs, found = tmp_path_factory.mktemp("whole"), dict[str, TrainResult]()

    def trained(config: TrainConfig, recipe: str = "reference") -> TrainResult:
        if recipe not in found:
            found[recipe] = train(config, data=LittleShapes(), runs=runs, name=recipe)
        return found[recipe]

    return trained


@pytest.fixture
def record(tmp_path: Path) -> dict[str, Any]:
    """All that sets the record recipe apart from the reference recipe, with a teacher of the drawings."""
    return {
        "optimizer": "muon",
        "whiten": True,
        "mix_probability": 1.0,
        "teacher": str(save_teacher(tmp_path / "teacher.safetensors")),
        "teacher_weight": 0.5,
        "ema_decay": 0.9,
        "swa_fraction": 0.5,
        "precision": "bf16",
        "augment": AugmentConfig(
            affine_probability=1.0, color_probability=0.5, sharpen_probability=0.5, augmenter="batched"
        ),
    }


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a test's scans: a folder that does not exist yet."""
    monkeypatch.setenv("THIMBLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model() -> Classifier:
    return model_of_three()


@pytest.fixture
def saved(tmp_path: Path, model: Classifier) -> Path:
    path = tmp_path / "saved.safetensors"
    save_weights(path, model, {"recipe": {"epochs": 24}, "accuracy": 0.85})
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """An untrained network of the ten drawings, saved."""
    return untrained("reference", tmp_path / "weights.safetensors")


@pytest.fixture
def tiny_weights(tmp_path: Path) -> Path:
    """The same of the tiny network."""
    return untrained("tiny", tmp_path / "tiny.safetensors")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def colours() -> Classifier:
    """A network for 8x8 images whose logits are ten times the mean of each channel: it names the colour."""
    convolution = nn.Conv2d(3, 3, 1, bias=False)
    with torch.no_grad():
        convolution.weight.copy_(10 * torch.eye(3)[:, :, None, None])
    blocks: dict[str, nn.Module] = {"output": nn.Sequential(nn.AdaptiveAvgPool2d(1), convolution)}
    model = Classifier(blocks, name="colours", arguments={"num_classes": 3})
    model.classes, model.mean, model.std, model.input_size = COLOURS, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (3, 8, 8)
    return model


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped network as ONNX."""
    return save_onnx(tmp_path_factory.mktemp("exported") / "reference.onnx", load_pretrained("reference"))
