"""The record recipe's parts: a teacher, mixing, averaging and colour, each by what it does to a training."""

from __future__ import annotations

import hashlib
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import Interrupting, little_teacher, same_tensors, tensors, with_session

import thimble.training.loop
import thimble.training.train
from thimble.data.augment.settings import AugmentConfig
from thimble.errors import Interrupted, UserError
from thimble.storage.weights import load_weights, save_weights
from thimble.training.batches import EpochBatches
from thimble.training.config import TrainConfig
from thimble.training.observer import Observer
from thimble.training.progress import Progress
from thimble.training.session import Session
from thimble.training.train import train

COLOUR: dict[str, Any] = {"color_probability": 1.0, "sharpen_probability": 1.0}


@pytest.fixture
def one_epoch(little_run: TrainConfig) -> TrainConfig:
    """A training of 5 steps without dropout, whose masks would change with everything that draws."""
    return little_run.changed(epochs=1, dropout=0.0)


def test_each_part_changes_the_result_and_trains(one_epoch: TrainConfig, record: dict[str, Any]) -> None:
    plain = tensors(train(one_epoch).run)
    parts: dict[str, dict[str, Any]] = {
        "teacher": {"teacher": record["teacher"]},
        "temperature": {"teacher": record["teacher"], "temperature": 8.0},
        "mixing": {"mix_probability": 1.0},
        "averaging": {"swa_fraction": 0.5},
        "colour": {"augment": AugmentConfig(**COLOUR)},
        "colour of batches": {"augment": AugmentConfig(**COLOUR, augmenter="batched")},
        "batches": {"augment": AugmentConfig(augmenter="batched")},
    }
    results = [plain]
    for name, changes in parts.items():
        result = train(one_epoch, name=name, **changes)
        assert math.isfinite(result.history[0]["train_loss"]), name
        results.append(tensors(result.run))
        assert not any(same_tensors(results[-1], other) for other in results[:-1]), name


def test_all_parts_together_learn(little_run: TrainConfig, record: dict[str, Any]) -> None:
    """The divergence from the teacher alone, on mixed and coloured images, falls."""
    result = train(little_run, epochs=4, **{**record, "teacher_weight": 1.0, "learning_rate": 0.05})
    assert result.history[-1]["train_loss"] < 0.8 * result.history[0]["train_loss"]


def test_a_teacher_without_weight_changes_no_bit(one_epoch: TrainConfig, record: dict[str, Any]) -> None:
    alone = train(one_epoch)
    beside = train(one_epoch, name="beside", teacher=record["teacher"], teacher_weight=0.0)
    assert same_tensors(tensors(alone.run), tensors(beside.run))
    assert alone.history[0]["train_loss"] == beside.history[0]["train_loss"]


def test_to_a_teacher_of_all_weight_labels_are_nothing(
    one_epoch: TrainConfig, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither their smoothing nor what they say."""
    settings = {"teacher": record["teacher"], "teacher_weight": 1.0, "label_smoothing": 0.0}
    first = train(one_epoch, **settings)
    smoothed = train(one_epoch, name="smoothed", **{**settings, "label_smoothing": 0.5})
    assert same_tensors(tensors(first.run), tensors(smoothed.run))
    weaker = train(one_epoch, name="weaker", **{**settings, "label_smoothing": 0.5, "teacher_weight": 0.9})
    assert not same_tensors(tensors(first.run), tensors(weaker.run))
    getitem = EpochBatches.__getitem__

    def mislabelled(self: EpochBatches, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = getitem(self, batch)
        return images, (labels + 1) % 10

    monkeypatch.setattr(EpochBatches, "__getitem__", mislabelled)
    mislabelled_run = train(one_epoch, name="mislabelled", **settings)
    assert same_tensors(tensors(first.run), tensors(mislabelled_run.run))
    weaker_run = train(one_epoch, name="weaker too", **{**settings, "label_smoothing": 0.5, "teacher_weight": 0.9})
    assert not same_tensors(tensors(weaker.run), tensors(weaker_run.run))  # to which they are something


def test_the_teacher_sees_what_the_student_sees(
    little_run: TrainConfig, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same augmented and mixed images; at full size, also while the student's are small."""
    seen: dict[str, list[torch.Tensor]] = {"student": [], "teacher": []}

    def watch(session: Session) -> None:
        assert session.teacher is not None
        for name, model in (("student", session.model), ("teacher", session.teacher.model)):
            model.register_forward_pre_hook(lambda _, inputs, name=name: seen[name].append(inputs[0].detach().clone()))

    with_session(monkeypatch, watch)
    train(little_run, **{**record, "image_sizes": (16, 32), "precision": "float32"})
    assert [images.shape[-1] for images in seen["student"]] == [16] * 5 + [32] * 5
    assert [images.shape[-1] for images in seen["teacher"]] == [32] * 10
    for student, teacher in zip(seen["student"][5:], seen["teacher"][5:], strict=True):
        assert torch.equal(student, teacher)
    for student, teacher in zip(seen["student"][:5], seen["teacher"][:5], strict=True):
        torch.testing.assert_close(student.mean((2, 3)), teacher.mean((2, 3)), rtol=0.0, atol=0.15)


def test_the_mixing_of_a_run_follows_its_ramp_and_seed(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four epochs the first mixes nothing yet, the last nothing more; no two steps draw the same."""
    asked: list[tuple[float, int]] = []
    mix = vars(thimble.training.loop)["mix"]

    def watched(*arguments: Any, **options: Any) -> Any:
        asked.append((options["probability"], options["seed"]))
        assert options["alpha"] == 0.7
        return mix(*arguments, **options)

    monkeypatch.setattr(thimble.training.loop, "mix", watched)
    train(little_run, epochs=4, mix_probability=0.8, mix_alpha=0.7, mix_ramp=(0.5, 0.75))
    assert [probability for probability, _ in asked] == [0.0] * 5 + [0.4] * 5 + [0.8] * 5 + [0.0] * 5
    assert len({seed for _, seed in asked}) == 20
    seeds = [seed for _, seed in asked]
    asked.clear()
    train(little_run, name="other", epochs=1, seed=1, mix_probability=0.8, mix_alpha=0.7)
    assert len(asked) == 5
    assert not {seed for _, seed in asked} & set(seeds)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_what_is_saved_is_the_mean_of_the_last_weights(
    little_run: TrainConfig, monkeypatch: pytest.MonkeyPatch, ema_decay: float
) -> None:
    """Of a run of 10 steps with swa_fraction 0.3, those after the steps 8, 9 and 10; counts are the last."""
    sessions: list[Session] = []
    with_session(monkeypatch, sessions.append)

    class Keeping(Observer):
        def __init__(self) -> None:
            self.states: list[dict[str, torch.Tensor]] = []

        def step(self, progress: Progress) -> None:
            model = sessions[0].model
            self.states.append({name: tensor.detach().clone() for name, tensor in model.state_dict().items()})

    keeping = Keeping()
    saved = tensors(train(little_run, observer=keeping, ema_decay=ema_decay, swa_fraction=0.3).run)
    assert len(keeping.states) == 10
    for name, tensor in saved.items():
        last = torch.stack([state[name] for state in keeping.states[7:]])
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, last.mean(0), rtol=1e-5, atol=1e-6)
        else:
            assert torch.equal(tensor, last[-1])
    assert any(not torch.equal(saved[name], keeping.states[-1][name]) for name in saved)


def test_a_run_goes_on_with_the_teacher_that_it_began_with_wherever_it_lies(
    little_run: TrainConfig, record: dict[str, Any], tmp_path: Path
) -> None:
    """Between two slices the file may move; another in its place, or none, is refused."""
    run = little_run.run.runs / "run"
    with pytest.raises(Interrupted):
        train(little_run, **record, observer=Interrupting(2, signal.SIGINT))
    moved = tmp_path / "moved.safetensors"
    Path(record["teacher"]).rename(moved)
    with pytest.raises(UserError, match=r"--teacher .* no model"):
        train(resume=run)
    model = little_teacher()
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)
    save_weights(Path(record["teacher"]), model, {})
    for other in (record["teacher"], None):
        with pytest.raises(UserError, match=r"--teacher of SHA-256 \w{12}, not (\w{12}|none):"):
            train(resume=run, teacher=other)
    finished = train(resume=run, teacher=str(moved))
    checksum = hashlib.sha256(moved.read_bytes()).hexdigest()
    assert load_weights(finished.run / "model.safetensors")[1]["teacher_sha256"] == checksum


def test_a_run_without_a_teacher_says_so_in_its_file(one_epoch: TrainConfig) -> None:
    assert load_weights(train(one_epoch).run / "model.safetensors")[1]["teacher_sha256"] is None
