"""What `pip install thimble-nets` alone can do, in a process where the packages of all extras are missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from places import ROOT

from thimble.cli.verbs import list_verbs

ABSENT = (
    "ai_edge_litert", "captum", "executorch", "gradio", "huggingface_hub", "jinja2", "matplotlib", "onnx",
    "onnxruntime", "onnxscript", "pyyaml", "tensorboard", "yaml",
)  # fmt: skip
IMAGE = str(ROOT / "docs" / "images" / "augmentation.png")
TINY = ["--data", "shapes10", "--train-images", "120", "--validation", "40", "--epochs", "1", "--batch-size", "40"]
TINY += ["--name", "tiny", "--device", "cpu"]
COMMANDS = {
    "train": ["train", *TINY],
    "evaluate": ["evaluate", "runs/tiny", "--data", "shapes10"],
    "predict": ["predict", IMAGE],
    "summary": ["summary", "reference"],
    "compare": ["compare", "runs/tiny", "runs/tiny", "--data", "shapes10"],
    "export torch": ["export", "runs/tiny", "--format", "torch"],
    "report": ["report", "runs/tiny"],
    "explain": ["explain", IMAGE, IMAGE],
    "curves": ["compare", "runs/tiny", "reference", "--output", "x.png"],
    "onnx": ["export", "reference"],
    "c": ["export", "reference", "--format", "c"],
    "executorch": ["export", "reference", "--format", "executorch"],
    "tflite": ["export", "reference", "--format", "tflite"],
    "evaluate onnx": ["evaluate", "reference.onnx"],
    "card": ["card", "reference"],
    "demo": ["demo"],
    **{f"help {verb}": [verb, "--help"] for verb in list_verbs()},
    "help": ["--help"],
}
SCRIPT = '''
import contextlib, io, json, sys

class Blind:
    """A finder that sees neither the modules that are absent nor what pip wrote of them."""
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else self.finder.find_spec(name, path, target)
    def find_distributions(self, *context):
        found = getattr(self.finder, "find_distributions", lambda *_: ())(*context)
        return (one for one in found if one.metadata["Name"].lower() not in absent)

absent, commands = json.load(sys.stdin)
sys.meta_path[:] = map(Blind, sys.meta_path)
from thimble.cli.main import main
answers = {}
for title, arguments in commands.items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
    answers[title] = [code, out.getvalue(), err.getvalue()]
import thimble
try:
    thimble.HubClassifier
except thimble.UserError as error:
    answers["hub"] = [2, "", f"thimble: {error}\\n"]
exec("from thimble import *")  # needs no extra
import inspect
assert len(inspect.getmembers(thimble)) > 15  # as help() does it
print(json.dumps(answers))
'''

pytestmark = pytest.mark.slow


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("core")


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, Answer]:
    """What each command answered, all in one process."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([ABSENT, COMMANDS]),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {title: Answer(*answer) for title, answer in json.loads(done.stdout).items()}


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("train", "test accuracy"),
        ("evaluate", "top-1 accuracy"),
        ("predict", "cat"),
        ("summary", "150,576"),
        ("compare", "tiny"),
        ("export torch", ".pt2"),
        *[(title, "usage: thimble") for title in COMMANDS if title.startswith("help")],
    ],
)
def test_the_core_can_do_it(answers: dict[str, Answer], title: str, text: str) -> None:
    answer = answers[title]
    assert (answer.code, answer.err) == (0, "")
    assert text in answer.out


@pytest.mark.parametrize(
    ("title", "package", "extra"),
    [
        ("report", "matplotlib", "report"),
        ("explain", "captum", "report"),
        ("curves", "matplotlib", "report"),
        ("onnx", "onnx", "export"),
        ("c", "onnx", "export"),
        ("tflite", "onnx", "tflite"),
        ("evaluate onnx", "onnx", "export"),
        ("executorch", "executorch", "executorch"),
        ("card", "jinja2", "hub"),
        ("hub", "huggingface_hub", "hub"),
        ("demo", "gradio", "demo"),
    ],
)
def test_what_takes_an_extra_names_it_in_one_line(
    answers: dict[str, Answer], title: str, package: str, extra: str
) -> None:
    answer = answers[title]
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("thimble: ")
    assert answer.err.endswith(f" needs {package}, which is not installed: pip install 'thimble-nets[{extra}]'\n")
    assert answer.err.count("\n") == 1


def test_a_training_says_how_to_get_its_report_and_nothing_of_tensorboard(
    answers: dict[str, Answer], folder: Path
) -> None:
    assert answers["train"].out.endswith(
        "no report.html: the report needs matplotlib, which is not installed: pip install 'thimble-nets[report]';"
        " then thimble report runs/tiny writes it\n"
    )
    assert "tensorboard" not in answers["train"].out.lower()
    files = {path.name for path in (folder / "runs" / "tiny").iterdir()}
    assert {"model.safetensors", "metrics.csv", "training_logs.md"} <= files
    assert not files & {"tensorboard", "report.html", "report"}
