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
from cli_shared import LITTLE, one_line

from thimble.cli import main as cli
from thimble.training.config_file import to_dict
from thimble.training.recipes import fast


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
        (["train", "--epochs", "-1"], "--epochs -1: expected a whole number of at least 0"),
        (["train", "--resume", "nowhere"], "nowhere has no config.json"),
        (["train", "--recipe", "slow"], "--recipe slow: expected one of reference, fast"),
        (["train", "--recipe", "fast", "--resume", "runs/x"], "a resumed run keeps its recipe"),
        (["train", "--recipe"], "--recipe"),
        (["train", "--model", "resnet50"], "--model resnet50: expected one of reference"),
        (["evaluate", "nothing"], "no model 'nothing': expected a weights file, a run folder or a shipped model"),
        (["summary", "nothing"], "no model 'nothing'"),
        (["summary", "--max-params", "0"], "--max-params 0: expected a whole number of at least 1"),
        (["summary", "--max-params", "-5"], "--max-params -5: expected a whole number of at least 1"),
        (["summary", "--max-params", "few"], "--max-params few: expected a whole number of at least 1"),
        (["summary", "--max-params", "1.5"], "--max-params 1.5: expected a whole number of at least 1"),
        (["summary", "--max-params", "64kB"], "--max-params 64kB: expected a whole number of at least 1"),
        (["summary", "--max-ram", "64 kb"], "--max-ram 64 kb: expected a whole number of at least 1"),
        (["summary", "--channels", "2"], "--channels 2: expected 3 for colour or 1 for grey"),
        (["summary", "--image-size", "-1"], "--image-size -1: expected a whole number of at least 1"),
        (["summary", "sprint", "--image-size", "9"], "sprint cannot take images of (9, 9) pixels"),
        (["train", "--mix-ramp", "0.5", "0.2"], "--mix-ramp (0.5, 0.2): expected two increasing fractions from 0 to 1"),
        (["train", "--teacher", "nothing"], "no model 'nothing'"),
        (["predict", "x.png", "--model", "nothing"], "no model 'nothing'"),
        (["predict"], "expected thimble predict PATH..."),
        (["explain"], "expected thimble explain IMAGE..."),
        (["train", "--colour", "green"], "Unrecognized options: --colour, green; see thimble train --help"),
        (["train", "--epochs", "many"], "Error parsing --epochs: "),
        (["train", "--device", "tpu"], "invalid choice 'tpu' for argument '--device'"),
        (["evaluate"], "Missing from thimble evaluate: MODEL"),
        (
            [],
            "Expected one of {train, bank, card, compare, data, demo, evaluate, explain, export, predict,",
        ),
        (["nonsense"], "Unrecognized options: nonsense; see thimble --help"),
        (["train", "--resume", "x" * 300], "has no config.json"),
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
