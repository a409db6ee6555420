"""Names from outside, wherever they are shown: as they are, in one line, and obeyed by nothing."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from thimble.cli import main as cli
from thimble.cli import tables
from thimble.cli.training_bars import TrainingConsole
from thimble.data.augment.preview import preview
from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import shapes10
from thimble.explaining.explanation import Explanation
from thimble.explaining.picture import draw
from thimble.exporting.c.source import c_string
from thimble.measuring.evaluation import Evaluation, reduce
from thimble.measuring.inference import infer
from thimble.measuring.prediction import Prediction
from thimble.measuring.summary import summarize
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.reporting import class_figures, figures
from thimble.reporting.content import Plot, Subject
from thimble.reporting.report import render
from thimble.reporting.sections import sections_of
from thimble.storage.weights import save_weights
from thimble.system.names import shown
from thimble.training.config import TrainConfig
from thimble.training.progress import Progress

NAMES = (
    "[/red]",
    "[bold]x[/bold] :smile:",
    "\x1b[2J\x1b]0;title\x07",
    "two\nlines\tand a tab",
    r"$x^2$ \frac{ $",
    "",
    "写真猫犬鳥",
    "a" * 200,
    '</td><script>alert(1)</script> id="x" #1b1f24',
    "\u202eabc\udcff\ud800",
)


def odd_data(images: int = 30) -> ImageDataset:
    drawings = shapes10(images, seed=3)
    return ImageDataset("[/data]", drawings.images, drawings.labels, NAMES, drawings.mean, drawings.std)


def odd_model() -> Classifier:
    torch.manual_seed(0)
    model, data = build_model("reference").eval(), odd_data()
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    return model


@pytest.fixture(scope="module")
def subject() -> Subject:
    model, data = odd_model(), odd_data()
    logits = infer(model, data.images, mean=model.mean, std=model.std)
    return Subject(
        name=shown("run\udcff<b>"),
        model=model,
        metadata={"recipe": {"augment": {"cutout_size": [0.1, 0.2], "augmenter": "batched"}}},
        checksum="0" * 64,
        history=[],
        environment={"command": ["thimble", "train", "--runs", "exp [/home]\udcff"]},
        summary=summarize(model),
        train=data,
        test=data,
        logits=logits,
        evaluation=reduce(logits, model, data, name="[/model]\n", flip=False),
    )


def evaluation() -> Evaluation:
    counts = [[3] * len(NAMES)] * len(NAMES)
    return Evaluation("[/m]\x1b", "[/d]", 300, True, 0.5, (0.4, 0.6), dict.fromkeys(NAMES, 0.5), counts, 1.0, 0.1)


def test_tables_show_every_name_whole(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_predictions([Prediction(name, ((name, 0.5),)) for name in NAMES])
    tables.print_evaluation(evaluation())
    tables.print_dataset({"train": odd_data(), "test": odd_data()})
    out = capsys.readouterr().out
    assert re.search(r"[^\n -~…─-╿぀-鿿]", out) is None
    for name in NAMES:
        if len(name) < 80:
            assert out.count(shown(name)) >= 4
    assert out.count("a" * 40) >= 4
    assert "…" not in out


def test_a_training_shows_its_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingConsole() as observer:
        observer.start(Path("exp [/home]\x1b"), TrainConfig(), Progress(1, 1, 1))
        observer.message("[/red] \x1b\nx")
    out = capsys.readouterr().out
    assert r"in exp [/home]\x1b" in out
    assert r"[/red] \x1b\nx" in out


@pytest.mark.parametrize("name", ["[/x]\n\x1b[2J", ":x:", "a│b", "x\udcff"])
def test_a_mistake_is_one_line_that_shows_the_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["summary", name], [name], ["train", "--epochs", name], ["summary", "reference", name]):
        assert cli.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert error[:-1].isprintable()
        assert name[:2].strip("│\udcff") in error


def test_what_was_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out[x]\x1b[.md"
    assert cli.main(["card", "reference", "--output", str(output)]) == 0
    assert capsys.readouterr().out == f"wrote {shown(output)}\n"
    assert output.is_file()


def test_an_image_whose_name_is_no_text_spoils_no_answer(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    save_weights(tmp_path / "odd.safetensors", odd_model(), {})
    names = [os.fsencode(tmp_path / "plain.png"), os.fsencode(tmp_path) + b"/a\xff.png"]
    for name in names:
        Image.new("RGB", (40, 40), "red").save(tmp_path / "x.png")
        os.rename(tmp_path / "x.png", name)
    images = [os.fsdecode(name) for name in names]
    assert cli.main(["predict", *images, "--model", str(tmp_path / "odd.safetensors"), "--top", "10"]) == 0
    out = capsysbinary.readouterr().out
    assert rb"a\xff.png" in out
    assert out.count(b"[/red]") == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_the_letters(encoding: str, tmp_path: Path) -> None:
    """The box of --help, and names. No verb runs: PyTorch would take seconds to start."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C"}
    for arguments, code in ((["--help"], 0), (["train", "--epochs", "猫"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "thimble", *arguments], env=environment, capture_output=True, check=False
        )
        assert done.returncode == code
        assert b"Traceback" not in done.stderr
    assert rb"\u732b" in done.stderr


def test_a_run_does_not_begin_where_tensorboard_cannot_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (["--runs", f"{tmp_path}/x\udcff"], ["--runs", str(tmp_path), "--name", "x\udcff"]):
        assert cli.main(["train", "--data", "shapes10", *options]) == 2
        assert r"x\xff is not text in utf-8: choose" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_report_shows_names_as_text(subject: Subject) -> None:
    sections, pictures = sections_of(subject)
    page = render(subject, sections)
    page.encode()
    assert "<script>" not in page
    assert "run\\xff&lt;b&gt;" in page
    assert "&#39;exp [/home]\\xff&#39;" in page
    texts = html.unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", page)))
    for name in ("[/red]", r"\x1b[2J\x1b]0;title\x07", r"$x^2$ \frac{ $", "写真猫犬鳥", r"\u202eabc\xff\ud800"):
        assert texts.count(name) == 3  # rows and columns of the confusion, bars
    assert "aaaaaaaaaaaa…aaaaaaaaaaa " in texts
    assert pictures["mistakes"].width > 100


def test_a_drawing_in_a_page_keeps_its_texts() -> None:
    figure = class_figures.per_class({'id="x" #1b1f24 url(#': 0.5}, 0.5)
    inline = Plot("name", "", "", figures.to_svg(figure)).inline
    assert 'id="x" #1b1f24 url(#' in inline
    assert 'id="name-figure_1"' in inline
    assert "currentColor" in inline


def test_pictures_can_be_drawn() -> None:
    picture = Image.new("RGB", (256, 256))
    zeros = torch.zeros(32, 32)
    made = [Explanation(f"/x/{name}.png", picture, name, 0.5, "other" + name, zeros, zeros) for name in NAMES]
    assert draw(made).height > 256 * len(NAMES)
    assert preview(odd_data(), AugmentConfig(augmenter="batched")).height > 900


@pytest.mark.parametrize("name", NAMES)
def test_c_takes_every_name(name: str) -> None:
    literal = c_string(name)
    assert literal.isascii()
    assert literal.isprintable()
    assert "??" not in literal
