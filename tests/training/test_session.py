"""What a training works on: the fast recipe's parts, a GPU that is not waited for, compiling, several processes."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from places import ROOT
from torch.utils._python_dispatch import TorchDispatchMode
from training_runs import FAST, Interrupting, Whole, rows, same_tensors, save_teacher, tensors, with_session

import thimble.training.loop
import thimble.training.train
from thimble.data.augment.settings import AugmentConfig
from thimble.errors import Interrupted, RunError
from thimble.storage.state import load_state
from thimble.training.batches import EpochBatches
from thimble.training.config import TrainConfig
from thimble.training.session import Session
from thimble.training.train import train


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the name of every operation inside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        self.names.add(function.overloadpacket.__name__)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("name", FAST)
def test_each_part_of_the_fast_recipe_changes_the_result_and_trains(
    little_run: TrainConfig, whole: Whole, name: str
) -> None:
    plain = whole(little_run)
    changed = train(little_run, name="changed", **{name: FAST[name]})
    assert not same_tensors(tensors(plain.run), tensors(changed.run))
    assert math.isfinite(changed.history[0]["train_loss"])
    assert changed.history[0]["images_per_second"] > 0


@pytest.mark.parametrize("recipe", ["reference", "fast", "record"])
def test_on_a_gpu_nothing_is_read_within_an_epoch(
    little_run: TrainConfig, whole: Whole, monkeypatch: pytest.MonkeyPatch, record: dict[str, Any], recipe: str
) -> None:
    """That path, on the CPU: the same result to the last bit, told of once an epoch, without reading a value back."""
    changes = {"reference": {}, "fast": FAST, "record": record}[recipe]
    every_step = whole(little_run.changed(**changes), recipe)
    operations, step, batch = Operations(), vars(thimble.training.loop)["_step"], EpochBatches.__getitem__

    def watched_step(*arguments: Any) -> torch.Tensor:
        with operations:
            result: torch.Tensor = step(*arguments)
        return result

    def watched_batch(*arguments: Any) -> Any:
        with operations:
            return batch(*arguments)

    monkeypatch.setattr(thimble.training.loop, "_step", watched_step)
    if changes:
        monkeypatch.setattr(EpochBatches, "__getitem__", watched_batch)
    with_session(monkeypatch, lambda session: setattr(session, "reads_every_step", False))
    watching = Interrupting(-1)
    result = train(little_run, observer=watching, **changes)
    assert watching.steps == ([5, 9] if recipe == "fast" else [5, 10])
    assert same_tensors(tensors(result.run), tensors(every_step.run))
    for row, other in zip(result.history, every_step.history, strict=True):
        assert row["train_accuracy"] == other["train_accuracy"]
        assert row["train_loss"] == pytest.approx(other["train_loss"])
    assert {"convolution", "convolution_backward"} <= operations.names
    # What gives Python a number, or makes a shape depend on one, must wait for it.
    assert not operations.names & {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select"}


def test_on_a_gpu_a_signal_stops_after_the_epoch(
    little_run: TrainConfig, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(little_run.changed(**FAST), "fast")
    with_session(monkeypatch, lambda session: setattr(session, "reads_every_step", False))
    with pytest.raises(Interrupted, match="after epoch 1"):
        train(little_run, observer=Interrupting(5), **FAST)
    assert same_tensors(tensors(train(resume=little_run.run.runs / "run").run), tensors(expected.run))


def test_later_epochs_leave_out_what_was_easy(little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[Session] = []
    with_session(monkeypatch, sessions.append)
    used: list[list[int]] = []
    init = EpochBatches.__init__

    def watched(self: EpochBatches, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        used.append(self.order.tolist())
        if options["epoch"] == 2:
            losses.extend(sessions[0].hardness.last.tolist())

    losses: list[float] = []
    monkeypatch.setattr(EpochBatches, "__init__", watched)
    train(little_run, skip_easy=0.5, epochs=4)
    assert [len(order) for order in used] == [80, 40, 40, 40]
    assert [len(set(order)) for order in used] == [80, 40, 40, 40]
    assert all(math.isfinite(loss) for loss in losses)
    left_out = set(range(80)) - set(used[2])
    assert max(losses[index] for index in left_out) <= min(losses[index] for index in used[2])
    assert [row["epoch"] for row in rows(little_run.run.runs / "run")] == ["1", "2", "3", "4"]
    assert load_state(little_run.run.runs / "run")[1]["step"] == 5 + 2 + 2 + 2


def test_images_grow_over_the_epochs(little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def watch(session: Session) -> None:
        session.model.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))

    with_session(monkeypatch, watch)
    train(little_run, image_sizes=(16, 24, 32), epochs=3)
    assert seen == [(16, 16)] * 5 + [(24, 24)] * 5 + [(32, 32)] * 5


@pytest.mark.compiler
def test_a_compiled_network_trains_alike(little_run: TrainConfig) -> None:
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        pytest.skip("no C++ compiler to compile with")
    plain = train(little_run, epochs=1, dropout=0.0, learning_rate=1e-4)
    compiled = train(little_run, epochs=1, dropout=0.0, learning_rate=1e-4, name="compiled", compile=True)
    assert compiled.history[0]["train_loss"] == pytest.approx(plain.history[0]["train_loss"], rel=1e-3)
    assert tensors(compiled.run).keys() == tensors(plain.run).keys()


def test_a_network_that_cannot_be_compiled_is_one_line(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def failing(session: Any, *_: Any) -> None:
        raise TorchDynamoException("no working C++ compiler\nand a long trace")

    monkeypatch.setattr(thimble.training.loop, "_step", failing)
    with pytest.raises(
        RunError, match=r"^cannot compile the network \(no working C\+\+ compiler\): .* drop --compile$"
    ):
        train(little_run, compile=True)


# What `torchrun --nproc-per-node 2 SCRIPT FOLDER TEACHER` does in each of its processes: two trainings, the second by
# the command line, with all that the record recipe adds, each process with draws of its own.
TWO_PROCESSES = """
import json, os, runpy, sys
import tiny_network
from test_session import train_alike

folder, teacher = sys.argv[1:]
with tiny_network.registered():
    told = train_alike(folder, "world2")
    options = "--data shapes10 --train-images 64 --validation 20 --epochs 1 --batch-size 32 --device cpu --name both"
    options += " --mix-probability 0.7 --swa-fraction 0.5 --augmenter batched --color-probability 0.5 --teacher"
    sys.argv = ["thimble", "train", "--model", "tiny", *options.split(), teacher, "--runs", folder]
    try:
        runpy.run_module("thimble", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        told["code"] = end.code
with open(os.path.join(folder, f"rank{os.environ['RANK']}.json"), "w") as file:
    json.dump(told, file)
"""


def train_alike(folder: str | Path, name: str) -> dict[str, Any]:
    """Train on drawings, and tell what should hardly hang on the number of processes."""
    result = train(
        model="tiny", data="shapes10", train_images=256, validation=100, epochs=2, batch_size=32, device="cpu",
        learning_rate=0.02, optimizer="muon", whiten=True, ema_decay=0.5, skip_easy=0.25,
        augment=AugmentConfig(augmenter="batched"), runs=folder, name=name,
    )  # fmt: skip
    digest = hashlib.sha256()
    for tensor in result.model.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    history = [{key: row[key] for key in ("train_loss", "train_accuracy", "validation_loss")} for row in result.history]
    mean = result.model.state_dict()["c1.1.running_mean"].tolist()
    return {"digest": digest.hexdigest(), "history": history, "first_mean": mean}


@pytest.mark.torchrun
def test_two_processes_train_one_model_and_what_one_does(tmp_path: Path) -> None:
    """Within noise; and both end with the same weights, the same BatchNorm statistics and the same average."""
    (tmp_path / "script.py").write_text(TWO_PROCESSES)
    teacher = save_teacher(tmp_path / "teacher.safetensors")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(ROOT / "tests"), str(ROOT / "tests" / "training"), *sys.path])
    finished = subprocess.run(
        [*command, str(tmp_path / "script.py"), str(tmp_path), str(teacher)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    assert "deprecated" not in finished.stderr
    pair = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]

    single = train_alike(tmp_path, "world1")
    assert pair[0]["digest"] == pair[1]["digest"]
    assert pair[0]["history"] == pair[1]["history"]
    for one, two in zip(single["history"], pair[0]["history"], strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=0.1)
        assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=0.1)
    # The statistics are of all images, each process's half counted alike: the inputs' mean needs no training to agree.
    assert pair[0]["first_mean"] == pytest.approx(single["first_mean"], abs=0.1)
    assert len(rows(tmp_path / "world2")) == 2
    assert json.loads((tmp_path / "world2" / "environment.json").read_text())["num_processes"] == 2
    assert load_state(tmp_path / "world2")[1]["step"] == load_state(tmp_path / "world1")[1]["step"] == 14

    assert [each["code"] for each in pair] == [0, 0]
    assert finished.stdout.count("test accuracy") == 1  # one process speaks for both
    assert len(rows(tmp_path / "both")) == 1
    assert json.loads((tmp_path / "both" / "environment.json").read_text())["num_processes"] == 2
    assert load_state(tmp_path / "both")[1]["step"] == 2
