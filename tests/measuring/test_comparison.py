"""Comparisons: what is told of each model, which pairs are called different, and the bad day."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import history, little_teacher

import thimble.measuring.comparison
from thimble.cli import main as cli
from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import Shapes10, shapes10
from thimble.data.source import Part
from thimble.data.sources import SOURCES
from thimble.errors import RunError, UserError
from thimble.measuring.comparison import Pair, compare
from thimble.measuring.evaluation import evaluate
from thimble.measuring.inference import infer
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.logs import write_logs
from thimble.storage.weights import save_weights
from thimble.training.config import TrainConfig, headline
from thimble.training.train import train

SHAPES: dict[str, Any] = {"data": {"name": "shapes10"}}


@functools.cache
def network() -> Classifier:
    return little_teacher()


@functools.cache
def other_network() -> Classifier:
    """The little teacher with its classes in another order: nearly always of another opinion."""
    model = little_teacher()
    with torch.no_grad():
        weight = model.get_parameter("output.1.weight")
        weight.copy_(weight.roll(1, 0))
    return model


def make_run(folder: Path, model: Classifier | None = None, epochs: int = 3) -> Path:
    folder.mkdir(parents=True)
    save_weights(folder / "model.safetensors", model or network(), SHAPES)
    write_logs(folder, headline(TrainConfig.of(data="shapes10", epochs=epochs)), history(epochs))
    return folder


@functools.cache
def labelled() -> ImageDataset:
    images, teacher = shapes10(60, seed=5), network()
    answers = infer(teacher, images.images, mean=teacher.mean, std=teacher.std).argmax(1)
    return dataclasses.replace(images, labels=answers.to(images.labels.dtype))


class Labelled(Shapes10):
    """The test images: 60 drawings, whose labels are what the little teacher takes them for."""

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        assert part == "test"
        return labelled()


@pytest.fixture(autouse=True)
def drawings(monkeypatch: pytest.MonkeyPatch) -> ImageDataset:
    monkeypatch.setitem(SOURCES, "shapes10", f"{__name__}:Labelled")
    return labelled()


def test_each_model_has_its_cost_its_score_and_its_curves(tmp_path: Path, drawings: ImageDataset) -> None:
    run = make_run(tmp_path / "run", other_network())
    save_weights(tmp_path / "other.safetensors", network(), SHAPES)
    result = compare([run, str(tmp_path / "other.safetensors")])
    one, other = result.models
    assert (result.data, result.num_images) == (drawings.name, 60)
    assert (one.name, one.architecture, one.num_parameters) == (str(run), "tiny", 1_996)
    assert one.num_multiply_adds == 467_024
    expected = evaluate(run, drawings)
    for field in ("accuracy", "accuracy_interval", "nll", "ece"):
        assert getattr(one, field) == getattr(expected, field)
    assert one.accuracy_interval[0] <= one.accuracy <= one.accuracy_interval[1]
    assert (one.epochs, one.training_seconds) == (3, 30.0)
    assert list(one.history) == history()
    assert (other.epochs, other.training_seconds, other.history) == (None, None, ())
    assert list(result.curves) == [f"1  {run}"]


def test_a_pair_that_differs_is_called_different(tmp_path: Path) -> None:
    """The teacher is always right about its own answers."""
    models = [make_run(tmp_path / "wrong", other_network()), make_run(tmp_path / "right")]
    result = compare(models)
    (pair,) = result.pairs
    assert result.models[1].accuracy == 1
    assert (pair.first, pair.second, pair.only_first) == (0, 1, 0)
    assert pair.only_second == round(60 * (1 - result.models[0].accuracy)) > 30
    assert pair.p_value == pair.p_corrected == pytest.approx(2 * 0.5**pair.only_second)
    assert pair.verdict == "different"


def test_a_model_and_itself_may_be_chance(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (pair,) = compare([run, run]).pairs
    assert pair == Pair(0, 1, 0, 0, 1.0, 1.0)
    assert pair.verdict == "may be chance"


def test_all_pairs_are_tested_and_corrected_for_their_number(tmp_path: Path) -> None:
    same, other = make_run(tmp_path / "same"), make_run(tmp_path / "other", other_network())
    pairs = compare([same, other, same]).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    assert pairs[0].p_corrected == 3 * pairs[0].p_value
    assert [pair.verdict for pair in pairs] == ["different", "may be chance", "different"]


def test_the_threshold_is_of_the_corrected_value() -> None:
    assert Pair(0, 1, 5, 15, 0.0414, 0.1242).verdict == "may be chance"
    assert Pair(0, 1, 5, 15, 0.0414, 0.05).verdict == "may be chance"
    assert Pair(0, 1, 5, 15, 0.0414, 0.0499).verdict == "different"


@pytest.mark.parametrize("models", [[], ["reference"], "reference", Path("reference")])
def test_one_model_is_no_comparison(models: Any) -> None:
    with pytest.raises(UserError, match="expected at least two"):
        compare(models)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with pytest.raises(
        UserError, match=r"run and reference have different classes: class 0 is 'circle' and 'airplane'; expected"
    ):
        compare([run, run, "reference"])
    few = build_model("reference", num_classes=9)
    few.classes = network().classes[:9]
    save_weights(tmp_path / "few.safetensors", few, {})
    with pytest.raises(UserError, match=r"class 9 is '\w+' and missing"):
        compare([run, tmp_path / "few.safetensors"])


def test_data_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="model reference has 10 classes"):
        compare(["reference", "reference"], data="shapes10")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: None, "holds no metrics.csv"),
        (lambda text: "", "is not a table of a run's epochs"),
        (lambda text: text.replace("train_loss,", ""), "expected the columns epoch, train_loss"),
        (lambda text: text.splitlines()[0] + "\n", "has no epochs"),
        (lambda text: text.replace("10.0", "ten"), "cannot read"),
        (lambda text: text.replace("10.0", ""), "seconds of row 1 is empty"),
        (lambda text: text.replace("10.0", "nan"), "seconds of row 1 is nan"),
        (lambda text: text.replace("\n1,", "\nnan,"), "epoch of row 1 is nan"),
        (lambda text: text[: text.rindex(",") - 20], "of row 3 is empty"),
        (lambda text: text.replace("12.0", "12.0,1"), "cannot read"),
        (lambda text: text.replace("1", "\0", 1), "metrics.csv"),
        (lambda text: "\udcff" + text, "cannot read"),
    ],
)
def test_a_damaged_table_of_epochs_is_refused(tmp_path: Path, damage: Any, message: str) -> None:
    run = make_run(tmp_path / "run")
    path = run / "metrics.csv"
    damaged = damage(path.read_text())
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=message) as caught:
        compare([run, run])
    assert "\n" not in str(caught.value)
    if damaged is None:
        compare([run / "model.safetensors", run / "model.safetensors"])  # which needs no table


def test_a_folder_of_a_shipped_name_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawings: ImageDataset
) -> None:
    """As load_model does: the name wins, and ./reference is the folder."""
    make_run(tmp_path / "reference", epochs=1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="class 0 is 'airplane' and 'circle'"):
        compare(["reference", "./reference"])
    assert compare(["./reference", Path("reference")]).models[1].epochs == 1


def test_nan_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run")

    def broken(_: str | Path) -> Classifier:
        model = little_teacher()
        model.data = SHAPES["data"]
        with torch.no_grad():
            model.get_parameter("output.1.weight").fill_(torch.nan)
        return model

    monkeypatch.setattr(thimble.measuring.comparison, "load_model", broken)
    with pytest.raises(RunError, match="nan or infinite logits"):
        compare([run, run])


def test_the_verb_prints_two_tables_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(make_run(tmp_path / "wrong", other_network())), str(make_run(tmp_path / "right"))]
    output = tmp_path / "curves.png"
    assert cli.main(["compare", *runs, "--output", str(output)]) == 0
    out = capsys.readouterr().out
    for expected in ("2 models on 60 test images of shapes10", "1,996", "467,024", "100.00%", "30 s"):
        assert expected in out
    for expected in ("McNemar", "Holm", "1 and 2", "<0.0001", "different", "seeds", f"wrote {output}"):
        assert expected in out
    assert output.stat().st_size > 10_000


def test_the_verb_prints_json_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, output = make_run(tmp_path / "run"), tmp_path / "curves.svg"
    weights = run / "model.safetensors"
    assert cli.main(["compare", str(run), str(weights), "--json", "--output", str(output)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == compare([run, weights]).to_dict()
    assert [model["epochs"] for model in result["models"]] == [3, None]
    assert result["models"][0]["history"] == history()
    assert result["pairs"] == [
        {
            "first": 0,
            "second": 1,
            "only_first": 0,
            "only_second": 0,
            "p_value": 1.0,
            "p_corrected": 1.0,
            "verdict": "may be chance",
        }
    ]
    assert output.is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "models to compare: found 0, expected at least two: thimble compare MODEL MODEL..."),
        (["run"], "found 1, expected at least two"),
        (["run", "nothing"], "no model 'nothing'"),
        (["run", "empty"], "holds no model.safetensors"),
        (["run", "bare"], "bare holds no metrics.csv"),
        (["run", "reference"], "run and reference have different classes: class 0 is"),
        (["run", "run", "--output", "x.pdf"], "expected a name that ends in .png or .svg"),
        (["run", "run", "--output", "no/x.png"], "no is not a folder"),
    ],
)
def test_the_verbs_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("run"))
    make_run(Path("bare")).joinpath("metrics.csv").unlink()
    Path("empty").mkdir()
    assert cli.main(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""
    assert not list(tmp_path.glob("x.*"))


def test_curves_that_are_not_there_are_reported_after_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, output = str(make_run(tmp_path / "run") / "model.safetensors"), tmp_path / "x.png"
    assert cli.main(["compare", weights, weights]) == 0
    assert "may be chance" in capsys.readouterr().out
    assert cli.main(["compare", weights, weights, "--output", str(output)]) == 2
    captured = capsys.readouterr()
    assert "may be chance" in captured.out
    assert "none of the models has training curves" in captured.err
    assert captured.err.count("\n") == 1
    assert not output.exists()


def test_runs_that_were_trained(little_run: TrainConfig, tmp_path: Path) -> None:
    """The real thing, with and without validation."""
    first = train(little_run).run
    second = train(little_run.changed(name="second", validation=0, epochs=1)).run
    result = compare([first, second])
    assert [model.epochs for model in result.models] == [2, 1]
    assert all((model.training_seconds or 0) > 0 for model in result.models)
    assert result.models[1].history[0]["validation_loss"] is None
    assert json.loads(json.dumps(result.to_dict()))["num_images"] == 40
