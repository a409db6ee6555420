"""The bank: made once, in pieces if need be, refused where it does not fit, and learned from to the last bit."""

from __future__ import annotations

import dataclasses
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from little import LittleShapes
from torch import Tensor
from training_runs import Interrupting, Whole, little_teacher, same_tensors, save_teacher, tensors, with_session

import thimble.data.augment.mirroring
import thimble.training.tricks.bank
from thimble.cli import main as cli
from thimble.data.shapes10 import shapes10
from thimble.data.split import split
from thimble.errors import Interrupted, UserError
from thimble.storage.tensor_file import open_tensors, save_tensors
from thimble.storage.weights import load_weights, save_weights
from thimble.training.config import TrainConfig
from thimble.training.session import Session
from thimble.training.train import train
from thimble.training.tricks.bank import Bank, StoredTeacher, load_bank, make_bank
from thimble.training.tricks.view_config import ViewConfig, view_augmentation

CONFIG = ViewConfig(views=3, mixed_views=1)


@pytest.fixture(autouse=True)
def few_drawings(little_data: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thimble.training.tricks.bank, "has_bfloat16", lambda device: False)


@pytest.fixture
def teacher(tmp_path: Path, made: Path) -> str:
    return str(shutil.copy(made.with_name("teacher.safetensors"), tmp_path))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank, made once for all tests."""
    folder = tmp_path_factory.mktemp("bank")
    teacher = str(save_teacher(folder / "teacher.safetensors"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thimble.training.tricks.bank, "has_bfloat16", lambda device: False)
        return make_bank([teacher], folder / "bank.safetensors", CONFIG, data=LittleShapes(), device="cpu").path


@pytest.fixture
def bank(tmp_path: Path, made: Path) -> Bank:
    """Each test's own copy."""
    return load_bank(Path(shutil.copy(made, tmp_path)))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with open_tensors(path) as file:
        return {name: file.read(name) for name in file.layouts}, file.metadata


def test_its_answers_are_the_teachers_to_the_views(bank: Bank, teacher: str) -> None:
    data = shapes10(120, seed=1)
    assert bank.logits.shape == (3, 120, 10)
    assert bank.logits.dtype == torch.float16
    stored = StoredTeacher(bank, data, seed=0)
    for epoch, plain in ((0, False), (1, False), (2, False), (4, True)):
        indices = torch.tensor([3, 77, 119, 0, 51])
        images, _, answers = stored.batch(indices, epoch, plain)
        exact = little_teacher()(images)
        torch.testing.assert_close(answers.float(), exact, atol=2e-3, rtol=2e-3)


def test_several_teachers_answer_by_the_mean_of_their_logits(tmp_path: Path, bank: Bank, teacher: str) -> None:
    other = little_teacher()
    other.get_parameter("output.1.weight").data.mul_(-3.0)
    save_weights(tmp_path / "other.safetensors", other, {})
    both = make_bank([teacher, str(tmp_path / "other.safetensors")], tmp_path / "both", CONFIG, data="shapes10")
    torch.testing.assert_close(both.logits.float(), -bank.logits.float(), atol=0.02, rtol=0.01)
    assert [each["name"] for each in both.teachers] == ["teacher.safetensors", "other.safetensors"]


def test_all_views_come_once_in_as_many_epochs(bank: Bank) -> None:
    data, everyone = shapes10(120, seed=1), torch.arange(120)
    stored = StoredTeacher(bank, data, seed=0)
    seen = torch.stack([stored.batch(everyone, epoch, plain=False)[2] for epoch in range(3)], 1)
    for image in range(120):
        found = {tuple(row.tolist()) for row in seen[image]}
        assert found == {tuple(row.tolist()) for row in bank.logits[:, image]}
    first = torch.cat([stored.batch(everyone, epoch, plain=True)[2] for epoch in range(2)])
    assert {tuple(row.tolist()) for row in first} == {tuple(row.tolist()) for row in bank.logits[1:].flatten(0, 1)}


def test_held_out_images_take_their_answers_with_them(bank: Bank) -> None:
    data = shapes10(120, seed=1)
    rest, _ = split(data, 40)
    assert rest.numbers is not None
    images, targets, answers = StoredTeacher(bank, rest, seed=0).batch(torch.arange(80), 0, plain=False)
    torch.testing.assert_close(answers.float(), little_teacher()(images), atol=2e-3, rtol=2e-3)
    assert targets.shape == (80, 10)


def test_a_bank_that_was_begun_is_gone_on_with(tmp_path: Path, bank: Bank, teacher: str) -> None:
    """To the last bit; and what another command began is left alone."""
    path = tmp_path / "again.safetensors"
    stored, described = read_tensors(bank.path)
    save_tensors(path, {"logits": stored["logits"][:1]}, {**described, "done": 1})
    with pytest.raises(UserError, match=r"--bank .* has 1 of 3 views: repeat the thimble bank command that wrote it"):
        load_bank(path)
    told: list[int] = []
    again = make_bank(
        [teacher], path, CONFIG, data="shapes10", device="cpu", progress=lambda done, of: told.append(done)
    )
    assert told == [2, 3]
    assert torch.equal(again.logits, bank.logits)
    assert make_bank([teacher], path, CONFIG, data="shapes10", device="cpu").checksum == again.checksum
    before = path.read_bytes()
    for other in (ViewConfig(views=4, mixed_views=1), ViewConfig(views=3, mixed_views=1, seed=1)):
        with pytest.raises(UserError, match="exists and is not from an interrupted run of this command"):
            make_bank([teacher], path, other, data="shapes10", device="cpu")
    with pytest.raises(UserError, match="exists and is not from an interrupted run of this command"):
        make_bank([teacher], Path(teacher), CONFIG, data="shapes10", device="cpu")
    assert path.read_bytes() == before


def test_a_bank_says_which_flips_its_views_have(tmp_path: Path, teacher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thimble.data.augment.mirroring, "choose_flip", lambda data: ("none", "it is so"))
    auto = ViewConfig(views=2, augment=dataclasses.replace(view_augmentation(), flip="auto"))
    made = make_bank([teacher], tmp_path / "auto", auto, data="shapes10", device="cpu")
    assert made.views.augment.flip == "none"
    images, _, answers = StoredTeacher(made, shapes10(120, seed=1), seed=0).batch(torch.arange(5), 0, plain=False)
    torch.testing.assert_close(answers.float(), little_teacher()(images), atol=2e-3, rtol=2e-3)
    assert make_bank([teacher], tmp_path / "auto", auto, data="shapes10", device="cpu").checksum == made.checksum


def test_a_run_learns_from_a_bank_and_says_so(
    little_run: TrainConfig, whole: Whole, bank: Bank, monkeypatch: Any
) -> None:
    plain = whole(little_run)
    sessions: list[Session] = []
    with_session(monkeypatch, sessions.append)
    result = train(little_run, bank=bank.path, mix_ramp=(0.0, 0.5))
    assert sessions[0].config.augment == bank.views.augment
    assert sessions[0].config.mixing.mix_probability == pytest.approx(1 / 3)
    assert not same_tensors(tensors(plain.run), tensors(result.run))
    metadata = load_weights(result.run / "model.safetensors")[1]
    assert metadata["bank_sha256"] == bank.checksum
    assert metadata["teacher_sha256"] is None
    assert metadata["recipe"]["augment"]["augmenter"] == "batched"


def test_an_interrupted_run_resumes_to_the_last_bit(little_run: TrainConfig, bank: Bank) -> None:
    """Between its epochs, and within one."""
    little_run = little_run.changed(bank=bank.path, optimizer="muon", mix_ramp=(0.0, 0.5))
    whole = train(little_run, name="whole")
    for step in (5, 7):
        with pytest.raises(Interrupted):
            train(little_run, name=f"{step}", observer=Interrupting(step, signal.SIGTERM))
        resumed = train(resume=little_run.run.runs / f"{step}")
        assert same_tensors(tensors(whole.run), tensors(resumed.run))
        assert resumed.test == whole.test


def test_a_run_goes_on_with_its_own_bank_only(
    little_run: TrainConfig, bank: Bank, teacher: str, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train(little_run, bank=bank.path, observer=Interrupting(2))
    run = little_run.run.runs / "run"
    other = make_bank([teacher], tmp_path / "other", ViewConfig(views=2, seed=9), data="shapes10", device="cpu")
    with pytest.raises(UserError, match=f"{run} started with a --bank of SHA-256 {bank.checksum[:12]}, not"):
        train(resume=run, bank=other.path)
    moved = bank.path.rename(tmp_path / "moved.safetensors")
    train(resume=run, bank=moved)


def test_what_is_refused(little_run: TrainConfig, bank: Bank, teacher: str, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(UserError, match="use --teacher or --bank, not both"):
        little_run.changed(bank=bank.path, teacher=teacher)
    with pytest.raises(UserError, match=r"--bank .*nowhere: no such file"):
        train(little_run, bank=tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"--bank .*teacher.safetensors is not a bank"):
        train(little_run, bank=Path(teacher))
    with pytest.raises(UserError, match=r"was made for other training images, with sha256 [0-9a-f]{57}\.\.\., not"):
        bank.check(shapes10(120, seed=2))
    with pytest.raises(UserError, match="was made for other training images, with images 120, not 60"):
        bank.check(shapes10(60, seed=1))
    with pytest.raises(UserError, match="no MODEL: expected at least one teacher"):
        make_bank([], tmp_path / "x", CONFIG)
    stored, described = read_tensors(bank.path)
    stored["logits"][0, 0, 0] = torch.nan
    save_tensors(tmp_path / "nan", stored, described)
    with pytest.raises(UserError, match=r"is not a bank .logits that are not finite"):
        load_bank(tmp_path / "nan")
    assert cli.main(["bank", "nobody", "--output", str(tmp_path / "x"), "--data", "shapes10"]) == 2
    assert capsys.readouterr().err.startswith("thimble: MODEL nobody: no model 'nobody'")


@pytest.mark.parametrize("done", [1, 3])
@pytest.mark.parametrize(
    "logits",
    [
        torch.zeros(()),
        torch.zeros(1),
        torch.zeros(1, 5, 3).half(),
        torch.zeros(3, 120, 10),
        torch.zeros(3, 120, 0).half(),
    ],
)
def test_a_file_of_other_tensors_is_refused(
    tmp_path: Path, bank: Bank, teacher: str, logits: Tensor, done: int
) -> None:
    path = tmp_path / "forged"
    save_tensors(path, {"logits": logits}, {**read_tensors(bank.path)[1], "done": done})
    with pytest.raises(UserError, match=r"is not a bank .its tensors|has 1 of 3 views"):
        load_bank(path)
    with pytest.raises(UserError, match="exists and is not from an interrupted run of this command"):
        make_bank([teacher], path, CONFIG, data="shapes10", device="cpu")


@pytest.mark.parametrize(
    "forged", [{"views": 3.0}, {"seed": 1.5}, {"mixed_views": 0.5}, {"views": 10**11}, {"views": True}]
)
def test_views_of_other_types_or_sizes_are_refused(tmp_path: Path, bank: Bank, forged: dict[str, Any]) -> None:
    stored, described = read_tensors(bank.path)
    views = {**described["views"], **forged}
    save_tensors(tmp_path / "forged", stored, {**described, "views": views, "done": views["views"]})
    with pytest.raises(UserError, match=f"forged is not a bank .--{next(iter(forged)).replace('_', '-')}"):
        load_bank(tmp_path / "forged")


def test_a_name_that_no_file_can_have_is_refused_before_the_work(tmp_path: Path, teacher: str) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_bank("x" * 300)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        make_bank([teacher], tmp_path / "file" / "bank", CONFIG, data="shapes10", device="cpu")


def test_numpys_numbers_are_numbers() -> None:
    views: Any = np.int64(3)
    assert type(ViewConfig(views=views, seed=views).views) is int


def test_the_verb(tmp_path: Path, bank: Bank, teacher: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "verb.safetensors"
    options = ["--views", "3", "--mixed-views", "1", "--data", "shapes10", "--device", "cpu"]
    assert cli.main(["bank", teacher, "--output", str(path), *options]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == ["view 1 of 3", "view 2 of 3", "view 3 of 3"]
    assert out[3].startswith(f"wrote {path}: 3 views of 120 images, SHA-256 ")
    assert load_bank(path).checksum == bank.checksum
