"""Training states of somebody's: a forged or damaged one is refused in a line, and nothing of the run has moved."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import history

from thimble.errors import UserError
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.logs import COLUMNS
from thimble.storage.state import ROW, check_record, load_state, save_state
from thimble.training.optimizers import OptimizerConfig, build_optimizers
from thimble.training.progress import Progress
from thimble.training.resume import restore_progress, save_progress
from thimble.training.tricks.averaging import WeightAverage
from thimble.training.tricks.hard_images import Hardness

IMAGES = 40


def progress() -> Progress:
    return Progress(5, 15, 1, "", epoch=2, batch=1, step=11, images=8, seconds=0.5, history=history(2))


class Run:
    """A training after its second epoch and a step of the third, and another one to go on with it."""

    def __init__(self, folder: Path, optimizer: str = "muon") -> None:
        self.folder = folder
        config = OptimizerConfig(optimizer=optimizer)  # type: ignore[arg-type]
        torch.manual_seed(0)
        self.model = build_model("reference", num_classes=3)
        self.optimizers = build_optimizers(self.model, config)
        self.model(torch.randn(4, 3, 8, 8)).sum().backward()
        for each in self.optimizers:
            each.step()
        self.average = WeightAverage(self.model, 0.9)
        self.hardness = Hardness(IMAGES, torch.device("cpu"))
        self.progress = progress()

    def save(self) -> None:
        save_progress(self.folder, self.progress, self.model, self.optimizers, self.average, self.hardness)

    def restore(self) -> Progress:
        found = Progress(5, 15, 1)
        restore_progress(self.folder, found, self.model, self.optimizers, self.average, self.hardness)
        return found

    def refusal(self) -> str:
        with pytest.raises(UserError) as caught:
            self.restore()
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = Run(tmp_path_factory.mktemp("run"))
    made.save()
    return made


@pytest.fixture
def run(tmp_path: Path, saved: Run) -> Run:
    """The same training for all tests, with a folder, and values, that are each test's own."""
    made = copy.deepcopy(saved)
    made.folder = Path(shutil.copytree(saved.folder, tmp_path / "run"))
    return made


def forge(run: Run, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], Any]) -> None:
    """Write the state again, changed and with checksums of its own, as who forges it would."""
    tensors, record = load_state(run.folder)
    change(tensors, record)
    save_state(run.folder, tensors, record)


def test_there_and_back(run: Run) -> None:
    assert run.restore() == run.progress


def test_the_columns_are_those_of_the_table() -> None:
    assert tuple(COLUMNS) == ROW
    assert tuple(progress().end_epoch(None, 0.1)) == ROW


def test_every_field_is_checked() -> None:
    assert check_record(dataclasses.asdict(progress())) == dataclasses.asdict(progress())


ANYTHING = [None, "x", [], {}, True, -1, 1.5, 2**62, [1], {"a": 1}, "x" * 1000]


FIT: dict[str, list[Any]] = {  # among them, what a field may well be
    "num_batches": [2**62],
    "num_processes": [2**62],
    "num_steps": [2**62],
    "loss_sum": [1.5, 2**62],
    "seconds": [1.5, 2**62],
    "correct": [2**62],
    "images": [2**62],
    "teacher": ["x", "x" * 1000],
    "bank": ["x", "x" * 1000],
}


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(Progress)])
def test_a_field_of_another_type_or_range(name: str) -> None:
    record = dataclasses.asdict(progress())
    for value in ANYTHING:
        if value in FIT.get(name, []):
            check_record({**record, name: value})
        else:
            with pytest.raises(ValueError, match=rf"{name}|agree|at step"):
                check_record({**record, name: value})
    del record[name]
    if name == "bank":  # states from before there were banks lack it
        assert check_record(record)["bank"] == ""
        return
    with pytest.raises(ValueError, match=f"it lacks {name}"):
        check_record(record)


def test_a_field_is_checked_before_anything_moves(run: Run) -> None:
    for name, value in (("step", "11"), ("teacher", None), ("history", {}), ("num_steps", None)):
        forge(run, lambda _, record, name=name, value=value: record.update({name: value}))  # type: ignore[misc]
        assert f"the training state of {run.folder} does not fit this run ({name} is " in run.refusal()
        run.save()


def test_a_name_that_a_run_does_not_count_is_never_set(run: Run) -> None:
    """Not a method, nor anything else that a file may name: this one would have ended the training."""
    forge(run, lambda _, record: record.update(advance=3, __class__="x", end_epoch=None))
    found = run.restore()
    assert found == run.progress
    found.advance(4)
    assert found.step == 12


@pytest.mark.parametrize(
    "row",
    [
        None,
        {},
        {**history(1)[0], "note": 1},
        {**history(1)[0], "train_loss": "x"},
        {**history(1)[0], "train_loss": None},
        {**history(1)[0], "epoch": 2},
        {**history(1)[0], "epoch": 1.0},
        {**history(1)[0], "epoch": True},
        {**history(1)[0], "validation_loss": [1]},
    ],
)
def test_a_row_of_the_history_that_is_none(row: Any) -> None:
    record = dataclasses.asdict(progress())
    record["history"][0] = row
    with pytest.raises(ValueError, match=r"history|of epoch 1"):
        check_record(record)


def test_a_run_that_could_not_end_its_epoch() -> None:
    """A division by the images or the seconds of an epoch, of which there are none."""
    for change in ({"images": 0}, {"seconds": 0.0}, {"batch": 0}, {"batch": 6, "step": 12}, {"step": 0}, {"step": 16}):
        with pytest.raises(ValueError, match=r"do not agree|it is at step"):
            check_record({**dataclasses.asdict(progress()), **change})


@pytest.mark.parametrize(
    "name",
    [
        "model/c1.0.weight",
        "average/c1.1.running_var",
        "optimizer0/0/momentum_buffer",
        "optimizer1/3/momentum_buffer",
        "hardness/last",
        "hardness/fresh",
        "random/cpu",
    ],
)
def test_a_tensor_that_is_missing_or_of_another_shape_or_type(run: Run, name: str) -> None:
    forge(run, lambda tensors, _: tensors.pop(name))
    assert f"it lacks {name}" in run.refusal()
    for change in (
        lambda tensor: tensor.flatten()[:-1],
        lambda tensor: tensor[None],
        lambda tensor: torch.zeros(0, dtype=tensor.dtype),
        lambda tensor: tensor.double(),
        lambda tensor: tensor.long(),
    ):
        run.save()
        forge(run, lambda tensors, _, change=change: tensors.update({name: change(tensors[name])}))  # type: ignore[misc]
        assert f"{name} is torch." in run.refusal()


@pytest.mark.parametrize(
    "name", ["model/x", "x", "", "optimizer0/x/y", "optimizer0/999/momentum_buffer", "optimizer7/0/momentum_buffer"]
)
def test_a_tensor_that_no_run_has(run: Run, name: str) -> None:
    forge(run, lambda tensors, _: tensors.update({name: torch.zeros(3)}))
    assert "which this run does not use" in run.refusal()


def test_values_that_are_not_finite_and_a_generator_that_is_none(run: Run) -> None:
    for name in ("model/c1.0.weight", "average/c1.1.running_var", "optimizer0/0/momentum_buffer"):
        forge(run, lambda tensors, _, name=name: tensors[name].flatten().__setitem__(0, torch.nan))  # type: ignore[misc]
        assert f"{name} has values that are not finite" in run.refusal()
        run.save()
    forge(run, lambda tensors, _: tensors["hardness/last"].fill_(torch.nan))
    assert "hardness/last has values" in run.refusal()
    run.save()
    forge(run, lambda tensors, _: tensors["random/cpu"].fill_(255))
    assert "does not fit this run" in run.refusal()
    run.save()
    forge(run, lambda tensors, _: tensors.update({"random/cuda": torch.zeros(10_000, dtype=torch.uint8)}))
    assert "random/cuda is torch.uint8 (10000,)" in run.refusal()


def test_a_flipped_bit_is_noticed_and_the_tensor_named(run: Run) -> None:
    path = run.folder / "last.ckpt" / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4  # of the random generator, which stands last
    path.write_bytes(content)
    assert "state.safetensors: tensor " in run.refusal()
    assert "has checksum" in run.refusal()


def test_what_is_refused_leaves_all_as_it_was(run: Run) -> None:
    def copied(model: Classifier) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}

    forge(run, lambda tensors, _: [tensors["model/c1.0.weight"].fill_(1.0), tensors.pop("hardness/last")])
    before = copied(run.model)
    run.refusal()
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())


def test_plain_sgd_without_momentum_has_none_to_bring(tmp_path: Path) -> None:
    run = Run(tmp_path, "sgd")
    run.optimizers = [torch.optim.SGD(run.model.parameters(), lr=0.1)]
    run.save()
    assert run.restore() == run.progress
