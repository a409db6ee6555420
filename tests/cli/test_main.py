"""The command line as its users meet it: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from thimble.cli import main as cli
from thimble.data.shapes10 import shapes10
from thimble.models import build_model
from thimble.storage.weights import save_weights
from thimble.training.config_file import to_dict
from thimble.training.recipes import fast

LITTLE = ["--data", "shapes10", "--train-images", "64", "--validation", "20", "--batch-size", "16", "--device", "cpu"]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """An untrained network of the ten drawings, saved."""
    return untrained("reference", tmp_path / "weights.safetensors")


@pytest.fixture
def tiny_weights(tmp_path: Path) -> Path:
    """The same of the tiny network."""
    return untrained("tiny", tmp_path / "tiny.safetensors")


def untrained(name: str, path: Path) -> Path:
    torch.manual_seed(0)
    model = build_model(name)
    drawings = shapes10(10)
    model.classes, model.mean, model.std = drawings.classes, drawings.mean, drawings.std
    save_weights(path, model, {"data": {"name": "shapes10"}})
    return path


def one_line(text: str) -> str:
    assert text.startswith("thimble: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


def test_train_prints_every_epoch_and_the_result(
    little_data: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (
        "--model tiny --data shapes10 --validation 40 --epochs 2 --batch-size 16 --device cpu --name x --no-report"
    )
    assert cli.main(["train", *options.split(), "--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"epoch +1/2 +train \d\.\d+ +[\d.]+% +validation \d\.\d+ +[\d.]+% +\d+ s, \d+ images/s\n", out)
    assert re.search(r"test accuracy [\d.]+% \(95% interval .*\) of 40 shapes10 images\n1,996 parameters", out)
    assert str(tmp_path / "x") in out.replace("\n", "")


def test_a_recipe_sets_the_defaults_of_all_other_options(
    little_data: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--model tiny --data shapes10 --epochs 1 --batch-size 16 --device cpu --name x --no-report"
    for recipe in ("--recipe=fast", "--recipe fast"):
        assert cli.main(["train", *recipe.split(), *options.split(), "--overwrite", "--runs", str(tmp_path)]) == 0
        config = json.loads((tmp_path / "x" / "config.json").read_text())
        asked = {**to_dict(fast()), "model": "tiny", "data": "shapes10", "epochs": 1, "batch_size": 16}
        asked |= {"device": "cpu", "name": "x"}
        same = set(asked) - {"runs", "overwrite", "precision"}
        assert {name: config[name] for name in same} == {name: asked[name] for name in same}
    with pytest.raises(SystemExit):
        cli.main(["train", "--recipe", "fast", "--help"])
    assert re.search(r"--optimizer.*muon\)", capsys.readouterr().out, re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_exits_130_and_resumes(tmp_path: Path, number: signal.Signals) -> None:
    command = [
        sys.executable,
        "-u",
        "-m",
        "thimble",
        "train",
        *LITTLE,
        "--epochs",
        "400",
        "--name",
        "x",
        "--workers",
        "2",
    ]
    with subprocess.Popen(
        [*command, "--runs", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("epoch   1/"):
                break
        os.killpg(process.pid, number)  # as a terminal does it: to the workers too
        error = process.stderr.read()
    assert process.returncode == 130
    # After the step that was under way; or after the epoch, where the signal comes between its line and the next step.
    assert re.search(r"interrupted after (step|epoch) \d+: thimble train --resume .*/x", one_line(error))
    assert (tmp_path / "x" / "last.ckpt" / "state.safetensors").is_file()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_resume_takes_the_settings_of_the_run(
    little_data: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "x"
    options = "--model tiny --data shapes10 --validation 40 --epochs 1 --batch-size 20 --device cpu --name x --fallback"
    assert cli.main(["train", *options.split(), "--no-report", "--runs", str(tmp_path)]) == 0
    (run / "model.safetensors").unlink()
    assert cli.main(["train", "--resume", str(run), "--batch-size", "16"]) == 2
    assert "--batch-size 20, not 16" in one_line(capsys.readouterr().err)
    assert cli.main(["train", "--fallback", f"--resume={run}", "--workers", "0"]) == 0  # as `make train` has it
    assert cli.main(["train", "--resume", str(run)]) == 2
    assert "is finished" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--epochs", "0"], "--epochs 0: expected a whole number of at least 1"),
        (["train", "--resume", "nowhere"], "nowhere holds no config.json"),
        (["train", "--recipe", "slow"], "--recipe slow: expected one of reference, fast"),
        (["train", "--recipe", "fast", "--resume", "runs/x"], "a resumed run keeps its recipe"),
        (["train", "--recipe"], "--recipe"),
        (["train", "--model", "resnet50"], "--model resnet50: expected one of reference"),
        (["evaluate", "nothing"], "no model 'nothing': expected a weights file, a run folder or a shipped model"),
        (["summary", "nothing"], "no model 'nothing'"),
        (["summary", "--max-params", "0"], "--max-params 0: expected a whole number of at least 1"),
        (["summary", "--max-params", "-5"], "--max-params -5: expected a whole number of at least 1"),
        (["summary", "--max-params", "few"], "Error parsing --max-params"),
        (["summary", "--max-params", "1.5"], "Error parsing --max-params"),
        (["train", "--mix-ramp", "0.5", "0.2"], "--mix-ramp (0.5, 0.2): expected two growing fractions from 0 to 1"),
        (["train", "--teacher", "nothing"], "no model 'nothing'"),
        (["predict", "x.png", "--model", "nothing"], "no model 'nothing'"),
        (["predict"], "expected thimble predict IMAGE..."),
        (["explain"], "expected thimble explain IMAGE..."),
        (["train", "--colour", "green"], "Unrecognized options: --colour, green; see thimble train --help"),
        (["train", "--epochs", "many"], "Error parsing --epochs: "),
        (["train", "--device", "tpu"], "invalid choice 'tpu' for argument '--device'"),
        (["evaluate"], "Missing from thimble evaluate: MODEL"),
        (
            [],
            "Expected one of {bank, card, compare, data, demo, evaluate, explain, export, predict, report, summary,",
        ),
        (["nonsense"], "Unrecognized options: nonsense; see thimble --help"),
        (["train", "--resume", "x" * 300], "holds no config.json"),
        (["predict", "x" * 300, "--model", "reference"], "File name too long; expected a readable file"),
        (["data", "--data", "shapes10", "--seed", "-1"], "--seed -1: expected"),
        (["train", "--data", "shapes10", "--runs", "/dev/null", "--name", "x"], "expected a folder"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert message in one_line(captured.err)
    assert captured.out == ""


def test_without_cifar10_train_is_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thimble.data.cifar10.SOURCES", ("http://127.0.0.1:9/cifar-10-binary.tar.gz",))
    assert cli.main(["train", "--data-dir", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")]) == 2
    message = one_line(capsys.readouterr().err)
    assert "--data shapes10" in message
    assert not (tmp_path / "runs").exists()


def test_evaluate_prints_tables(tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(tiny_weights), "--data", "shapes10", "--flip"]) == 0
    out = capsys.readouterr().out
    for expected in ("2,000 test images of shapes10", "mirror images", "95% interval", "calibration", "crescent"):
        assert expected in out


def test_evaluate_prints_json(tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(tiny_weights), "--json"]) == 0  # on what it was trained on, shapes10
    result = json.loads(capsys.readouterr().out)
    assert result["num_images"] == 2000
    assert sum(map(sum, result["confusion"])) == 2000
    assert result["accuracy_interval"][0] < result["accuracy"] < result["accuracy_interval"][1]


def test_a_model_of_other_classes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "foreign.safetensors"
    save_weights(path, build_model("reference"), {})  # its classes are "0" to "9"
    assert cli.main(["evaluate", str(path), "--data", "shapes10"]) == 2
    assert "class 0 is '0', expected 'circle'" in one_line(capsys.readouterr().err)


def test_predict_answers_for_the_good_images_and_names_the_bad(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    Image.new("LA", (9, 90)).save(tmp_path / "grey.png")
    (tmp_path / "text.png").write_text("not an image")
    names = [str(tmp_path / name) for name in ("red.png", "text.png", "missing.png", "grey.png")]
    assert cli.main(["predict", *names, "--model", str(weights), "--json"]) == 2
    captured = capsys.readouterr()
    answers = json.loads(captured.out)
    assert [answer["image"] for answer in answers] == [names[0], names[3]]
    assert len(answers[0]["top"]) == 5
    first, second = captured.err.splitlines()
    assert "text.png" in first
    assert "missing.png" in second

    assert cli.main(["predict", names[0], "--model", str(weights), "--top", "3"]) == 0
    assert capsys.readouterr().out.count("%") == 3


def test_predict_refuses_a_top_of_nothing(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "x.png")
    assert cli.main(["predict", str(tmp_path / "x.png"), "--model", str(weights), "--top", "0"]) == 2
    assert "expected" in one_line(capsys.readouterr().err)


def test_summary_shows_layers_totals_and_budget(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "reference"]) == 0
    out = capsys.readouterr().out
    assert "150,576" in out
    assert "24,265,344" in out
    assert re.search(r"c4\.3 .*Conv2d .*64x4x4 .*9,216 .*147,456 .*93 .*8", out)
    assert "met" in out
    assert cli.main(["summary", "reference", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_parameters"] == 150_576


def test_summary_holds_a_model_to_a_number_of_parameters(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "reference", "--max-params", "150576"]) == 0
    captured = capsys.readouterr()
    assert re.search(r"budget +150,576 .*met", captured.out)
    assert captured.err == ""

    for model in ("reference", str(weights)):
        assert cli.main(["summary", model, "--max-params", "100000"]) == 1
        captured = capsys.readouterr()
        assert one_line(captured.err) == f"thimble: {model} has 150,576 parameters: expected at most 100,000\n"
        assert re.search(r"budget +100,000 .*exceeded", captured.out)
        assert "24,265,344" in captured.out  # the table is printed all the same


def test_summary_without_a_number_only_shows_the_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "more.safetensors"
    save_weights(path, build_model("reference", num_classes=11), {})
    assert cli.main(["summary", str(path)]) == 0
    captured = capsys.readouterr()
    assert re.search(r"budget +150,576 .*exceeded", captured.out)
    assert captured.err == ""


@pytest.mark.parametrize(("budget", "code"), [(200_000, 0), (150_000, 1)])
def test_summary_as_json_has_the_budget_that_was_asked_for(
    budget: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["summary", "reference", "--max-params", str(budget), "--json"]) == code
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["budget"], result["within_budget"]) == (budget, code == 0)
    assert bool(captured.err) == bool(code)


def test_data_describes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "preview.png"
    assert cli.main(["data", "--data", "shapes10", "--preview", str(picture), "--cutout-probability", "1"]) == 0
    out = capsys.readouterr().out
    assert "20,000" in out
    assert f"wrote {picture}" in out.replace("\n", "")
    with Image.open(picture) as image:
        assert min(image.size) > 500
    assert cli.main(["data", "--data", "shapes10", "--preview", str(tmp_path / "preview.nothing")]) == 2
    assert "cannot write the image" in one_line(capsys.readouterr().err)


@pytest.mark.slow
def test_a_closed_pipe_is_no_error(weights: Path) -> None:
    command = f"{sys.executable} -m thimble summary reference | head -n 1"
    finished = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert finished.stderr == ""
    assert finished.returncode == 0


@pytest.mark.parametrize("verb", ["train", "evaluate", "compare", "predict", "summary", "data"])
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([verb, "--help"])
    assert caught.value.code == 0
    assert f"thimble {verb}" in capsys.readouterr().out
