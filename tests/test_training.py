"""Training: that it learns, logs, stops, resumes to the last bit, and fails in one line."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import thimble.training
from thimble.batches import EpochBatches
from thimble.checkpoint import load_model, load_state, load_weights, save_state
from thimble.config import AugmentConfig, Interrupted, RunError, TrainConfig, UserError
from thimble.data import DataUnavailable, shapes10
from thimble.progress import Observer, Progress, Row
from thimble.session import Session
from thimble.training import train


class Interrupting(Observer):
    """Sends this process a signal when so many steps are done."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.at, self.number = step, number
        self.steps: list[int] = []

    def step(self, progress: Progress) -> None:
        self.steps.append(progress.step)
        if progress.step == self.at:
            os.kill(os.getpid(), self.number)


# All that sets the fast recipe apart from the reference recipe.
FAST: dict[str, Any] = {
    "optimizer": "muon",
    "whiten": True,
    "image_sizes": (16, 32),
    "skip_easy": 0.2,
    "ema_decay": 0.0,
    "precision": "bf16",
    "augment": AugmentConfig(affine_probability=1.0, augmenter="batched"),
}


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run / "model.safetensors")


def same_tensors(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_leaves_a_folder_with_everything_in_it(little_run: TrainConfig, tmp_path: Path) -> None:
    result = train(little_run)

    assert result.run == tmp_path / "run"
    assert json.loads((result.run / "config.json").read_text())["dropout"] == 0.1
    environment = json.loads((result.run / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__
    assert [row["epoch"] for row in rows(result.run)] == ["1", "2"]
    assert float(rows(result.run)[0]["validation_loss"]) > 0
    log = (result.run / "training_logs.md").read_text()
    assert f"**Test: {result.test.accuracy:.2%}** of 40 images" in log
    assert list((result.run / "tensorboard").glob("events.*"))

    model, metadata = load_weights(result.run / "model.safetensors")
    assert metadata["recipe"]["learning_rate"] == little_run.learning_rate
    assert metadata["data"] == {"name": "shapes10", "train_images": 80, "validation_images": 40}
    assert metadata["metrics"]["test"]["accuracy"] == result.test.accuracy
    assert metadata["versions"]["thimble"] == thimble.__version__
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images), result.model(images))
    assert torch.equal(load_model(result.run)(images), model(images))
    assert not list(result.run.rglob("*.tmp"))


def test_it_learns(little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    drawings = shapes10(120)
    shades = (20 * drawings.labels + 20).to(torch.uint8)[:, None, None, None]
    plain = dataclasses.replace(drawings, images=shades.expand(-1, 3, 32, 32).contiguous())
    monkeypatch.setattr(thimble.training, "load_dataset", lambda *_, **__: plain)
    result = train(little_run, epochs=8, dropout=0.0, label_smoothing=0.0, validation=0)
    assert result.history[0]["train_loss"] > 1.5
    assert result.history[-1]["train_loss"] < 0.7 * result.history[0]["train_loss"]
    assert result.history[-1]["train_accuracy"] > 0.4
    assert result.test.accuracy >= 0.2


def test_the_seed_decides_the_result_and_the_number_of_workers_does_not(little_run: TrainConfig) -> None:
    config = dataclasses.replace(little_run, epochs=1)
    first = tensors(train(config).run)
    again = tensors(train(dataclasses.replace(config, name="again", workers=2)).run)
    other = tensors(train(dataclasses.replace(config, name="other", seed=1)).run)
    assert same_tensors(first, again)
    assert not same_tensors(first, other)


# The signal comes while a step is reported; the next one finishes, or the validation that is due. The fast recipe's
# second epoch has a step less.
@pytest.mark.parametrize(
    ("step", "last", "number", "changes"),
    [
        (2, 3, signal.SIGINT, {}),
        (4, 5, signal.SIGINT, {}),
        (5, 5, signal.SIGINT, {}),
        (9, 10, signal.SIGINT, {}),
        (2, 3, signal.SIGTERM, {}),
        (9, 10, signal.SIGTERM, {}),
        (2, 3, signal.SIGINT, FAST),
        (5, 5, signal.SIGINT, FAST),
        (6, 7, signal.SIGINT, FAST),
        (8, 9, signal.SIGINT, FAST),
    ],
)
def test_an_interrupted_run_resumes_to_the_last_bit(
    little_run: TrainConfig, step: int, last: int, number: signal.Signals, changes: dict[str, Any]
) -> None:
    little_run = dataclasses.replace(little_run, **changes)
    whole = train(dataclasses.replace(little_run, name="whole"))
    handler = signal.getsignal(number)
    interrupting = Interrupting(step, number)
    with pytest.raises(Interrupted, match=f"--resume {little_run.runs / 'run'}"):
        train(little_run, observer=interrupting)
    assert signal.getsignal(number) is handler
    assert interrupting.steps[-1] == last
    run = little_run.runs / "run"
    assert load_state(run)[1]["step"] == last
    assert not (run / "model.safetensors").exists()

    torch.manual_seed(12345)  # another process would not have this one's generators
    resumed = train(resume=run)

    assert same_tensors(tensors(whole.run), tensors(run))
    timed = {"seconds", "images_per_second"}
    for row, again in zip(rows(whole.run), rows(run), strict=True):
        assert {key: row[key] for key in row.keys() - timed} == {key: again[key] for key in again.keys() - timed}
    assert resumed.test == whole.test
    one, other = (load_state(folder)[0] for folder in (whole.run, run))
    assert any(name.endswith("momentum_buffer") for name in one)
    assert same_tensors(one, other)


def test_a_signal_during_validation_stops_after_the_epoch(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = vars(thimble.training)["infer"]

    def interrupted(*arguments: Any, **options: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        logits: torch.Tensor = infer(*arguments, **options)
        return logits

    monkeypatch.setattr(thimble.training, "infer", interrupted)
    with pytest.raises(Interrupted, match="after epoch 1"):
        train(little_run)
    monkeypatch.setattr(thimble.training, "infer", infer)
    assert len(train(resume=str(little_run.runs / "run")).history) == 2


def test_another_number_of_processes_does_not_resume_a_run(little_run: TrainConfig) -> None:
    with pytest.raises(Interrupted):
        train(little_run, observer=Interrupting(2))
    tensors_, progress = load_state(little_run.runs / "run")
    save_state(little_run.runs / "run", tensors_, {**progress, "num_processes": 2})
    with pytest.raises(UserError, match="began with 2 processes, expected as many to go on, not 1"):
        train(resume=little_run.runs / "run")


def test_a_run_that_was_stopped_before_its_test_is_finished_by_resuming(little_run: TrainConfig) -> None:
    run = train(little_run).run
    before = tensors(run)
    (run / "model.safetensors").unlink()
    result = train(resume=run)
    assert same_tensors(before, tensors(run))
    assert len(result.history) == 2


def test_a_finished_run_is_not_resumed(little_run: TrainConfig) -> None:
    run = train(dataclasses.replace(little_run, epochs=1)).run
    with pytest.raises(UserError, match="is finished"):
        train(resume=run)


def test_a_run_keeps_its_recipe_when_it_resumes(little_run: TrainConfig) -> None:
    with pytest.raises(Interrupted):
        train(little_run, observer=Interrupting(2))
    with pytest.raises(UserError, match=r"--learning-rate 0\.2, not 0\.3"):
        train(resume=little_run.runs / "run", learning_rate=0.3)


def test_resuming_with_other_data_is_refused(little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        train(little_run, observer=Interrupting(2))
    load = vars(thimble.training)["load_dataset"]
    monkeypatch.setattr(
        thimble.training, "load_dataset", lambda *arguments, **options: load(*arguments).subset(torch.arange(100))
    )
    with pytest.raises(UserError, match="is it the data that the run began with"):
        train(resume=little_run.runs / "run")


def test_a_damaged_state_is_named(little_run: TrainConfig) -> None:
    with pytest.raises(Interrupted):
        train(little_run, observer=Interrupting(2))
    state = little_run.runs / "run" / "last.ckpt" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UserError, match="cut short or damaged"):
        train(resume=little_run.runs / "run")


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_loss_that_is_not_finite_stops_with_step_rate_and_advice(
    little_run: TrainConfig, clip_norm: float | None
) -> None:
    with pytest.raises(RunError, match=r"not finite at step \d+ of 10, at learning rate .*--learning-rate") as caught:
        train(little_run, learning_rate=1e30, clip_norm=clip_norm)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_one_line_and_keeps_the_last_state(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    class Filling(Observer):
        def epoch(self, row: Row) -> None:
            monkeypatch.setattr(os, "fsync", full)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match="No space left on device"):
        train(little_run, observer=Filling())
    monkeypatch.setattr(os, "fsync", fsync)
    assert load_state(little_run.runs / "run")[1]["epoch"] == 1
    assert len(rows(little_run.runs / "run")) == 1
    assert train(resume=little_run.runs / "run").history[-1]["epoch"] == 2


def test_the_test_images_are_read_once_and_only_after_the_last_epoch(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    load = vars(thimble.training)["load_dataset"]

    def watched(name: str, part: Any, *arguments: Any, **options: Any) -> Any:
        events.append(part)
        return load(name, part, *arguments, **options)

    class Watching(Observer):
        def epoch(self, row: Row) -> None:
            events.append("epoch")

    monkeypatch.setattr(thimble.training, "load_dataset", watched)
    train(little_run, observer=Watching())
    assert events == ["train", "epoch", "epoch", "test"]


def test_without_validation_all_images_are_trained_on(little_run: TrainConfig) -> None:
    result = train(little_run, validation=0, epochs=1, batch_size=40)
    row = rows(result.run)[0]
    assert row["validation_loss"] == row["validation_accuracy"] == ""
    assert load_weights(result.run / "model.safetensors")[1]["data"]["train_images"] == 120


@pytest.mark.parametrize("name", FAST)
def test_each_part_of_the_fast_recipe_changes_the_result_and_trains(little_run: TrainConfig, name: str) -> None:
    plain = train(little_run)
    changed = train(little_run, name="changed", **{name: FAST[name]})
    assert not same_tensors(tensors(plain.run), tensors(changed.run))
    assert math.isfinite(changed.history[0]["train_loss"])
    assert changed.history[0]["images_per_second"] > 0


def with_session(monkeypatch: pytest.MonkeyPatch, change: Callable[[Session], Any]) -> None:
    """Have every training's session changed before its first step."""
    begin = vars(thimble.training)["begin"]

    def changed(*arguments: Any) -> Session:
        session: Session = begin(*arguments)
        change(session)
        return session

    monkeypatch.setattr(thimble.training, "begin", changed)


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the name of every operation inside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        self.names.add(function.overloadpacket.__name__)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("changes", [{}, FAST], ids=["reference recipe", "fast recipe"])
def test_on_a_gpu_nothing_is_read_within_an_epoch(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """That path, on the CPU: the same result to the last bit, told of once an epoch, without reading a value back."""
    every_step = train(little_run, name="other", **changes)
    operations, step, batch = Operations(), vars(thimble.training)["_step"], EpochBatches.__getitem__

    def watched_step(*arguments: Any) -> torch.Tensor:
        with operations:
            result: torch.Tensor = step(*arguments)
        return result

    def watched_batch(*arguments: Any) -> Any:
        with operations:
            return batch(*arguments)

    monkeypatch.setattr(thimble.training, "_step", watched_step)
    if changes:
        monkeypatch.setattr(EpochBatches, "__getitem__", watched_batch)
    with_session(monkeypatch, lambda session: setattr(session, "reads_every_step", False))
    watching = Interrupting(-1)
    result = train(little_run, observer=watching, **changes)
    assert watching.steps == ([5, 9] if changes else [5, 10])
    assert same_tensors(tensors(result.run), tensors(every_step.run))
    for row, other in zip(result.history, every_step.history, strict=True):
        assert row["train_accuracy"] == other["train_accuracy"]
        assert row["train_loss"] == pytest.approx(other["train_loss"])
    assert {"convolution", "convolution_backward"} <= operations.names
    # What gives Python a number, or makes a shape depend on one, must wait for it.
    assert not operations.names & {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select"}


def test_on_a_gpu_a_signal_stops_after_the_epoch(little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(dataclasses.replace(little_run, name="whole", **FAST))
    with_session(monkeypatch, lambda session: setattr(session, "reads_every_step", False))
    with pytest.raises(Interrupted, match="after epoch 1"):
        train(little_run, observer=Interrupting(5), **FAST)
    assert same_tensors(tensors(train(resume=little_run.runs / "run").run), tensors(whole.run))


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
    assert [row["epoch"] for row in rows(little_run.runs / "run")] == ["1", "2", "3", "4"]
    assert load_state(little_run.runs / "run")[1]["step"] == 5 + 2 + 2 + 2


def test_images_grow_over_the_epochs(little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def watch(session: Session) -> None:
        session.model.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))

    with_session(monkeypatch, watch)
    train(little_run, image_sizes=(16, 24, 32), epochs=3)
    assert seen == [(16, 16)] * 5 + [(24, 24)] * 5 + [(32, 32)] * 5


def test_the_precision_of_the_processor_is_found_and_kept(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thimble.training, "has_bfloat16", lambda device: False)
    run = train(little_run, epochs=1, precision="auto").run
    assert json.loads((run / "config.json").read_text())["precision"] == "float32"
    monkeypatch.setattr(thimble.training, "has_bfloat16", lambda device: True)
    run = train(little_run, epochs=1, precision="auto", name="other").run
    assert json.loads((run / "config.json").read_text())["precision"] == "bf16"


def test_a_recipe_is_chosen_by_name_and_its_settings_changed(little_run: TrainConfig) -> None:
    changes = {
        name: getattr(little_run, name) for name in ("data", "validation", "batch_size", "device", "runs", "name")
    }
    run = train(recipe="fast", epochs=1, **changes).run
    config = json.loads((run / "config.json").read_text())
    assert (config["optimizer"], config["epochs"], config["batch_size"]) == ("muon", 1, 16)
    with pytest.raises(UserError, match="--recipe slow: expected one of reference, fast"):
        train(recipe="slow")
    with pytest.raises(UserError, match="expected one of them"):
        train(little_run, recipe="fast")


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

    monkeypatch.setattr(thimble.training, "_step", failing)
    with pytest.raises(
        RunError, match=r"^cannot compile the network \(no working C\+\+ compiler\): .* leave --compile out$"
    ):
        train(little_run, compile=True)


def test_the_learning_rate_rises_and_falls_within_the_run(little_run: TrainConfig) -> None:
    rates = [row["learning_rate"] for row in train(little_run, warmup_fraction=0.5).history]
    assert rates[0] == pytest.approx(0.2)
    assert rates[1] == pytest.approx(0.2 / 5)


def test_clipping_and_bfloat16_train_too(little_run: TrainConfig) -> None:
    result = train(little_run, epochs=1, clip_norm=0.1, precision="bf16")
    assert math.isfinite(result.history[0]["train_loss"])
    assert all(parameter.dtype == torch.float32 for parameter in result.model.parameters())


def test_clipping_changes_the_steps(little_run: TrainConfig) -> None:
    free = tensors(train(little_run, epochs=1).run)
    clipped = tensors(train(little_run, epochs=1, name="clipped", clip_norm=1e-3).run)
    assert not same_tensors(free, clipped)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet50"}, "--model resnet50: expected one of reference"),
        ({"batch_size": 1000}, "--batch-size 1000: expected at most the 80 images of an epoch"),
        ({"validation": 120}, "--validation 120: expected 0 to 119"),
        ({"train_images": 81}, "--train-images 81: expected at most 80"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_named(
    little_run: TrainConfig, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(little_run, **changes)
    assert not (little_run.runs / "run").exists()


def test_a_run_folder_is_never_overwritten_unasked(little_run: TrainConfig) -> None:
    run = train(little_run, epochs=1).run
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"exists: choose another --name, or --resume .*, or --overwrite"):
        train(little_run, epochs=1)
    assert (run / "model.safetensors").read_bytes() == before
    train(little_run, epochs=1, seed=3, overwrite=True)
    assert (run / "model.safetensors").read_bytes() != before


def test_without_data_it_stops_unless_the_fallback_is_asked_for(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = vars(thimble.training)["load_dataset"]

    def offline(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "cifar10":
            raise DataUnavailable("CIFAR-10 cannot be had")
        return load(name, *arguments, **options)

    monkeypatch.setattr(thimble.training, "load_dataset", offline)
    with pytest.raises(DataUnavailable):
        train(little_run, data="cifar10", epochs=1)
    assert not (little_run.runs / "run").exists()

    class Listening(Observer):
        said = ""

        def message(self, text: str) -> None:
            self.said += text

    listening = Listening()
    result = train(little_run, data="cifar10", epochs=1, fallback=True, observer=listening)
    assert "CIFAR-10 cannot be had" in listening.said
    assert "shapes10 INSTEAD" in listening.said
    assert result.test.data == "shapes10"
    assert json.loads((result.run / "config.json").read_text())["data"] == "shapes10"


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """Within noise; and both end with the same weights, the same BatchNorm statistics and the same average."""
    script = tmp_path / "script.py"
    script.write_text(TWO_PROCESSES)
    common = [str(script), str(tmp_path)]
    parallel = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *common]
    outputs = []
    for command in ([sys.executable, *common], parallel):
        finished = subprocess.run(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        assert "deprecated" not in finished.stderr
        outputs.append([json.loads(path.read_text()) for path in sorted(tmp_path.glob("rank*.json"))])
    [single], pair = outputs
    assert sorted(each["rank"] for each in pair) == [0, 1]
    assert pair[0]["digest"] == pair[1]["digest"]
    assert pair[0]["history"] == pair[1]["history"]
    for one, two in zip(single["history"], pair[0]["history"], strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], rel=0.1)
        assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=0.1)
    # The statistics are of all images, each process's half counted alike: the inputs' mean needs no training to agree.
    assert pair[0]["first_mean"] == pytest.approx(single["first_mean"], abs=0.1)
    assert len(rows(tmp_path / "world2")) == 2
    assert json.loads((tmp_path / "world2" / "environment.json").read_text())["num_processes"] == 2
    assert load_state(tmp_path / "world2")[1]["step"] == single["steps"]


TWO_PROCESSES = """
import hashlib, json, os, sys
from thimble.config import AugmentConfig
from thimble.session import Session
from thimble.training import train

world = os.environ.get("WORLD_SIZE", "1")
result = train(
    data="shapes10", train_images=256, validation=100, epochs=2, batch_size=32, device="cpu", learning_rate=0.02,
    optimizer="muon", whiten=True, ema_decay=0.5, skip_easy=0.25, augment=AugmentConfig(augmenter="batched"),
    runs=sys.argv[1], name="world" + world,
)
digest = hashlib.sha256()
for tensor in result.model.state_dict().values():
    digest.update(tensor.contiguous().numpy().tobytes())
history = [{key: row[key] for key in ("train_loss", "train_accuracy", "validation_loss")} for row in result.history]
mean = result.model.state_dict()["c1.1.running_mean"].tolist()
rank = int(os.environ.get("RANK", "0"))
with open(os.path.join(sys.argv[1], f"rank{rank}.json"), "w") as file:
    told = {"rank": rank, "digest": digest.hexdigest(), "history": history, "first_mean": mean, "steps": 14}
    json.dump(told, file)
"""


def test_two_processes_under_torchrun_train_one_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = "--data shapes10 --train-images 64 --validation 20 --epochs 1 --batch-size 32 --device cpu --name both"
    finished = subprocess.run(
        [*command, "-m", "thimble", "train", *options.split(), "--runs", str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("test accuracy") == 1  # one process speaks for both
    assert len(rows(tmp_path / "both")) == 1
    assert json.loads((tmp_path / "both" / "environment.json").read_text())["num_processes"] == 2
    assert load_state(tmp_path / "both")[1]["step"] == 2
