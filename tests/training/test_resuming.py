"""Stopping a run and going on with it: to the last bit, or refused in one line."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
from typing import Any

import pytest
import torch
from little import LittleShapes
from training_runs import FAST, Interrupting, Whole, rows, same_tensors, tensors

import thimble.training.loop
import thimble.training.train
from thimble.data.dataset import ImageDataset
from thimble.data.source import Part
from thimble.errors import Interrupted, RunError, UserError
from thimble.storage.find import load_model
from thimble.storage.logs import Row
from thimble.storage.state import load_state, save_state
from thimble.training.config import TrainConfig
from thimble.training.observer import Observer
from thimble.training.progress import Progress
from thimble.training.train import train


# The signal comes while a step is reported; the next one finishes, or the validation that is due. The fast recipe's
# second epoch has a step less; the record recipe's average changes its kind after the fifth step.
@pytest.mark.parametrize(
    ("step", "last", "number", "recipe"),
    [
        (2, 3, signal.SIGINT, "reference"),
        (4, 5, signal.SIGINT, "reference"),
        (5, 5, signal.SIGINT, "reference"),
        (9, 10, signal.SIGINT, "reference"),
        (2, 3, signal.SIGHUP, "reference"),
        (9, 10, signal.SIGTERM, "reference"),
        (2, 3, signal.SIGINT, "fast"),
        (5, 5, signal.SIGINT, "fast"),
        (6, 7, signal.SIGINT, "fast"),
        (8, 9, signal.SIGINT, "fast"),
        (2, 3, signal.SIGINT, "record"),
        (5, 5, signal.SIGINT, "record"),
        (7, 8, signal.SIGINT, "record"),
    ],
)
def test_an_interrupted_run_resumes_to_the_last_bit(
    little_run: TrainConfig,
    whole: Whole,
    record: dict[str, Any],
    step: int,
    last: int,
    number: signal.Signals,
    recipe: str,
) -> None:
    changes = {"reference": {}, "fast": FAST, "record": record}[recipe]
    little_run = little_run.changed(**changes)
    expected = whole(little_run, recipe)
    handler = signal.getsignal(number)
    interrupting = Interrupting(step, number)
    with pytest.raises(Interrupted, match=f"--resume {little_run.run.runs / 'run'}"):
        train(little_run, observer=interrupting)
    assert signal.getsignal(number) is handler
    assert interrupting.steps[-1] == last
    run = little_run.run.runs / "run"
    assert load_state(run)[1]["step"] == last
    assert not (run / "model.safetensors").exists()

    torch.manual_seed(12345)  # another process would not have this one's generators
    resumed = train(resume=run)

    assert same_tensors(tensors(expected.run), tensors(run))
    timed = {"seconds", "images_per_second"}
    for row, again in zip(rows(expected.run), rows(run), strict=True):
        assert {key: row[key] for key in row.keys() - timed} == {key: again[key] for key in again.keys() - timed}
    assert resumed.test == expected.test
    one, other = (load_state(folder)[0] for folder in (expected.run, run))
    assert any(name.endswith("momentum_buffer") for name in one)
    assert same_tensors(one, other)


def test_a_signal_during_validation_stops_after_the_epoch(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = vars(thimble.training.loop)["infer"]

    def interrupted(*arguments: Any, **options: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        logits: torch.Tensor = infer(*arguments, **options)
        return logits

    monkeypatch.setattr(thimble.training.loop, "infer", interrupted)
    with pytest.raises(Interrupted, match="after epoch 1"):
        train(little_run)
    monkeypatch.setattr(thimble.training.loop, "infer", infer)
    assert len(train(resume=str(little_run.run.runs / "run")).history) == 2


def test_a_second_signal_and_one_during_the_test_say_how_to_go_on(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(Observer):
        def step(self, progress: Progress) -> None:
            if progress.step == 7:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGTERM)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    run, message = little_run.run.runs / "run", r"interrupted: resume from its last state with thimble train --resume "
    with pytest.raises(Interrupted, match=message):
        train(little_run, observer=Impatient())
    assert load_state(run)[1]["step"] == 5
    evaluate = vars(thimble.training.train)["evaluate"]
    monkeypatch.setattr(thimble.training.train, "evaluate", interrupted)
    with pytest.raises(Interrupted, match=message):
        train(resume=run)
    assert load_state(run)[1]["step"] == 10
    monkeypatch.setattr(thimble.training.train, "evaluate", evaluate)
    assert len(train(resume=run).history) == 2


def test_a_run_whose_first_save_failed_is_resumed_from_its_first_step_wherever_it_is(
    little_run: TrainConfig, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    class Filling(Observer):
        def step(self, progress: Progress) -> None:
            monkeypatch.setattr(os, "fsync", full)

    fsync, run = os.fsync, little_run.run.runs / "run"
    with pytest.raises(RunError, match="No space left on device; free some space"):
        train(little_run, observer=Filling())
    monkeypatch.setattr(os, "fsync", fsync)
    assert not list((run / "last.ckpt").iterdir())
    run = run.rename(little_run.run.runs / "moved")
    told: list[str] = []
    listening = Observer()
    monkeypatch.setattr(listening, "message", told.append)
    assert train(resume=run, observer=listening).run == run
    assert told == [f"{run} stopped before it saved a state: it starts again from the first step"]
    assert same_tensors(tensors(run), tensors(whole(little_run).run))
    assert not (little_run.run.runs / "run").exists()


def test_a_run_that_is_moved_or_deleted_while_it_trains_ends_in_one_line(little_run: TrainConfig, whole: Whole) -> None:
    run, elsewhere = little_run.run.runs / "run", little_run.run.runs / "elsewhere"

    class Moving(Observer):
        def step(self, progress: Progress) -> None:
            if progress.step == 7:
                run.rename(elsewhere)

    class Deleting(Observer):
        def step(self, progress: Progress) -> None:
            if progress.step == 2:
                shutil.rmtree(run)

    with pytest.raises(RunError, match=r"run was moved or deleted during training: .* --resume FOLDER"):
        train(little_run, observer=Moving())
    assert not run.exists()
    assert same_tensors(tensors(train(resume=elsewhere).run), tensors(whole(little_run).run))
    with pytest.raises(RunError, match="was moved or deleted"):
        train(little_run, observer=Deleting())
    assert not run.exists()


def test_a_run_that_is_being_trained_is_not_trained_by_another(little_run: TrainConfig, whole: Whole) -> None:
    refused: list[str] = []

    class Trying(Observer):
        def epoch(self, row: Row) -> None:
            for changes in ({"resume": little_run.run.runs / "run"}, {"config": little_run, "overwrite": True}):
                with pytest.raises(UserError, match="is in use by a training run") as caught:
                    train(**changes)
                refused.append(str(caught.value))

    result = train(little_run, observer=Trying(), workers=2)
    assert len(refused) == 4
    assert same_tensors(tensors(result.run), tensors(whole(little_run).run))
    with pytest.raises(UserError, match="is finished"):  # at rest again
        train(resume=result.run)
    assert not (result.run / ".lock").exists()


def test_another_number_of_processes_does_not_resume_a_run(little_run: TrainConfig) -> None:
    with pytest.raises(Interrupted):
        train(little_run, observer=Interrupting(2))
    tensors_, progress = load_state(little_run.run.runs / "run")
    save_state(little_run.run.runs / "run", tensors_, {**progress, "num_processes": 2})
    with pytest.raises(UserError, match="started with 2 processes, not 1: resume it with the same number"):
        train(resume=little_run.run.runs / "run")


def test_a_run_that_was_stopped_before_its_test_is_finished_by_resuming(little_run: TrainConfig) -> None:
    run = train(little_run).run
    before = tensors(run)
    (run / "model.safetensors").unlink()
    result = train(resume=run)
    assert same_tensors(before, tensors(run))
    assert len(result.history) == 2


def test_damaged_weights_of_a_finished_run_are_written_anew_by_resuming(little_run: TrainConfig) -> None:
    run = train(little_run).run
    before = tensors(run)
    whole = (run / "model.safetensors").read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-4] + b"last"):
        (run / "model.safetensors").unlink()  # the tensors from before are mapped from this file
        (run / "model.safetensors").write_bytes(damaged)
        with pytest.raises(UserError, match=f"thimble train --resume {run} writes it anew"):
            load_model(run)
        train(resume=run)
        assert same_tensors(before, tensors(run))


def test_a_finished_run_is_not_resumed(little_run: TrainConfig) -> None:
    run = train(little_run.changed(epochs=1)).run
    with pytest.raises(UserError, match="is finished"):
        train(resume=run)


def test_a_run_keeps_its_recipe_when_it_resumes(little_run: TrainConfig) -> None:
    with pytest.raises(Interrupted):
        train(little_run, observer=Interrupting(2))
    with pytest.raises(UserError, match=r"--learning-rate 0\.2, not 0\.3"):
        train(resume=little_run.run.runs / "run", learning_rate=0.3)


def test_resuming_with_other_data_is_refused(little_run: TrainConfig) -> None:
    class Fewer(LittleShapes):
        def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
            return super().load(part).subset(torch.arange(100 if part == "train" else 40))

    with pytest.raises(Interrupted):
        train(little_run, observer=Interrupting(2))
    with pytest.raises(UserError, match="resume it with the data that it started with"):
        train(resume=little_run.run.runs / "run", data=Fewer())


def test_images_of_the_callers_own_are_known_again(little_run: TrainConfig) -> None:
    """By their pixels and labels: the name alone would not tell."""
    pair = LittleShapes().load("train"), LittleShapes().load("test")
    with pytest.raises(Interrupted):
        train(little_run, data=pair, observer=Interrupting(2))
    run = little_run.run.runs / "run"
    assert json.loads((run / "data.json").read_text()) == {"name": "shapes10", "sha256": pair[0].checksum()}
    turned = dataclasses.replace(pair[0], images=pair[0].images.flip(3))
    with pytest.raises(
        UserError, match="started with different images under the name shapes10: resume it with those, or"
    ):
        train(resume=run, data=(turned, pair[1]))
    with pytest.raises(
        UserError, match=r"images that its trainer gave, shapes10: resume it in Python with the same ones"
    ):
        train(resume=run)
    assert len(train(resume=run, data=pair).history) == 2


def test_a_damaged_state_is_named(little_run: TrainConfig) -> None:
    with pytest.raises(Interrupted):
        train(little_run, observer=Interrupting(2))
    state = little_run.run.runs / "run" / "last.ckpt" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UserError, match="cut short or damaged"):
        train(resume=little_run.run.runs / "run")


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
    assert load_state(little_run.run.runs / "run")[1]["epoch"] == 1
    assert len(rows(little_run.run.runs / "run")) == 1
    assert train(resume=little_run.run.runs / "run").history[-1]["epoch"] == 2
