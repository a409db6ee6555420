"""The teacher, which never changes and is refused where it does not fit, and the divergence from its answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from training_runs import little_teacher, save_teacher, with_session

import thimble.training.train
from thimble.cli import main as cli
from thimble.data.cifar10 import Cifar10
from thimble.data.dataset import normalize
from thimble.data.shapes10 import shapes10
from thimble.errors import UserError
from thimble.storage.weights import save_weights
from thimble.training.config import TrainConfig
from thimble.training.session import Session
from thimble.training.train import train
from thimble.training.tricks.distillation import Teacher, divergence


@pytest.fixture
def teacher(tmp_path: Path) -> Teacher:
    return Teacher(str(save_teacher(tmp_path / "teacher.safetensors")))


@pytest.fixture
def inputs() -> Tensor:
    drawings = shapes10(16)
    return normalize(drawings.images, drawings.mean, drawings.std)


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def softmax(logits: list[float], temperature: float) -> list[float]:
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


STUDENT = [[1.0, 2.0, -0.5], [0.0, 3.0, 0.3]]
WANTED = [[2.0, 1.0, 0.0], [-1.0, 0.5, 4.0]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_divergence_by_hand(temperature: float) -> None:
    """The mean over the images of sum p * ln(p / q), p the teacher's and q the student's, times the square of T."""
    total = 0.0
    for student, wanted in zip(STUDENT, WANTED, strict=True):
        p, q = softmax(wanted, temperature), softmax(student, temperature)
        total += sum(one * math.log(one / other) for one, other in zip(p, q, strict=True))
    found = divergence(torch.tensor(STUDENT), torch.tensor(WANTED), temperature)
    assert found.shape == ()
    assert found.item() == pytest.approx(total / 2 * temperature**2, rel=1e-5)


def test_at_a_high_temperature_the_gradient_keeps_its_size() -> None:
    """In the limit it is the difference of the centred logits over classes and images (Hinton et al., section 2.1)."""
    student = torch.tensor(STUDENT, requires_grad=True)
    (gradient,) = torch.autograd.grad(divergence(student, torch.tensor(WANTED), 1000.0), student)
    apart = torch.tensor(STUDENT) - torch.tensor(WANTED)
    torch.testing.assert_close(gradient, (apart - apart.mean(1, keepdim=True)) / 3 / 2, rtol=0.01, atol=1e-3)


def test_equal_answers_do_not_diverge_and_others_do() -> None:
    torch.manual_seed(0)
    logits = 3 * torch.randn(8, 10)
    shift = torch.randn(8, 1)
    for temperature in (0.5, 1.0, 4.0):
        assert divergence(logits, logits, temperature).item() == 0.0
        assert divergence(logits, logits + shift, temperature).item() == pytest.approx(0.0, abs=1e-5)
        for _ in range(20):
            assert divergence(logits, logits + torch.randn(8, 10), temperature) > 0.01
    assert divergence(torch.tensor(STUDENT), torch.tensor(WANTED), 1.0) != pytest.approx(
        divergence(torch.tensor(WANTED), torch.tensor(STUDENT), 1.0).item(), rel=0.01
    )


def test_half_precision_is_computed_with_in_float32() -> None:
    student, wanted = torch.tensor(STUDENT).bfloat16(), torch.tensor(WANTED).bfloat16()
    found = divergence(student, wanted, 2.0)
    assert found.dtype == torch.float32
    assert torch.equal(found, divergence(student.float(), wanted.float(), 2.0))


def test_only_the_student_learns(teacher: Teacher, inputs: Tensor) -> None:
    student = little_teacher().requires_grad_(True).train()
    before = state(teacher.model)
    answers = teacher.logits(inputs.requires_grad_(True))
    assert not answers.requires_grad
    loss = divergence(3 * student(inputs.detach()), answers, 2.0)
    gradients = torch.autograd.grad(loss, list(student.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    assert same(state(teacher.model), before)


def test_the_teacher_answers_as_the_model_that_was_saved_and_each_image_alone(teacher: Teacher, inputs: Tensor) -> None:
    """In eval mode, in which a batch's other images say nothing about one; and asking changes nothing."""
    before = state(teacher.model)
    assert not any(module.training for module in teacher.model.modules())
    answers = teacher.logits(inputs)
    assert answers.shape == (16, 10)
    assert answers.std() > 0.1
    torch.testing.assert_close(answers, little_teacher()(inputs).detach())
    torch.testing.assert_close(teacher.logits(inputs[3:4]), answers[3:4], rtol=1e-3, atol=1e-4)
    assert same(state(teacher.model), before)


def test_answers_are_float32_under_autocast(teacher: Teacher, inputs: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert teacher.model(inputs).dtype == torch.bfloat16
        answers = teacher.logits(inputs)
    assert answers.dtype == torch.float32
    exact = teacher.logits(inputs)
    assert (answers - exact).abs().max() < 0.1 * exact.abs().max()


def test_a_whole_training_leaves_the_teacher_as_it_was(
    little_run: TrainConfig, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights, its BatchNorms' statistics, its mode."""
    sessions: list[Session] = []
    with_session(monkeypatch, sessions.append)
    train(little_run, **record)
    teacher = sessions[0].teacher
    assert teacher is not None
    assert same(state(teacher.model), state(little_teacher()))
    assert not any(module.training for module in teacher.model.modules())
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_a_run_folder_is_a_teacher_too(little_run: TrainConfig) -> None:
    first = train(little_run, epochs=1, name="first")
    Teacher(str(first.run)).check(shapes10(10))
    second = train(little_run, epochs=1, teacher=str(first.run))
    assert math.isfinite(second.history[0]["train_loss"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"classes": tuple("abcdefghij")},
            "has the classes a, b, c, d, .*: expected the classes of shapes10, circle, ",
        ),
        (
            {"classes": shapes10(10).classes[::-1]},
            "has the classes .*, circle: expected the classes of shapes10, circle, ",
        ),
        ({"mean": (0.1, 0.2, 0.3)}, r"has mean \(0.1, 0.2, 0.3\) and std .*: expected those of shapes10, \(0"),
        ({"std": (0.1, 0.2, 0.3)}, r"has mean .* and std \(0.1, 0.2, 0.3\): expected those of shapes10, \(0"),
    ],
    ids=["other classes", "another order", "another mean", "another std"],
)
def test_a_teacher_of_other_data_is_refused(
    little_run: TrainConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    message: str,
) -> None:
    """In one line with both sides of it; and no run folder is begun."""
    model, path = little_teacher(), tmp_path / "other.safetensors"
    for name, value in change.items():
        setattr(model, name, value)
    save_weights(path, model, {})
    with pytest.raises(UserError, match=f"^--teacher {path} {message}") as caught:
        Teacher(str(path)).check(shapes10(10))
    assert "\n" not in str(caught.value)

    options = ["--data", "shapes10", "--validation", "40", "--batch-size", "16", "--device", "cpu", "--name", "run"]
    assert cli.main(["train", *options, "--runs", str(tmp_path), "--teacher", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"thimble: {caught.value}\n"
    assert captured.out == ""
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_channels_is_refused(tmp_path: Path) -> None:
    drawings, grey = shapes10(10), tmp_path / "grey.safetensors"
    model = thimble.build_model("tiny", in_channels=1)
    model.classes, model.mean, model.std = drawings.classes, drawings.mean[:1], drawings.std[:1]
    save_weights(grey, model, {})
    with pytest.raises(UserError) as caught:
        Teacher(str(grey)).check(drawings)
    assert str(caught.value) == (
        f"--teacher {grey} takes images of one channel (grey): expected one for the images of shapes10, of three"
        " channels (colour)"
    )


def test_a_teacher_of_fewer_classes_is_refused(little_run: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "three.safetensors"
    save_weights(path, thimble.build_model("reference", num_classes=3), {})
    with pytest.raises(UserError, match="has the classes 0, 1, 2: expected the classes of shapes10"):
        train(little_run, teacher=str(path))
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_is_nowhere_is_refused_before_any_data_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Cifar10, "load", None)  # whoever calls it fails
    assert cli.main(["train", "--teacher", "nobody", "--runs", str(tmp_path / "runs")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(
        "thimble: --teacher nobody: no model 'nobody': expected a weights file, a run folder or"
    )
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UserError, match="no model 'nobody'"):
        Teacher("nobody")
