"""The demo: what it answers, without Gradio; and the page, served, in a browser, and on the bad day."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from demo_shared import draw_ship, save_shapes, write_bad
from PIL import Image

from thimble.cli import main as cli
from thimble.data.cifar10 import CLASSES, Cifar10, data_folder
from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import shapes10
from thimble.data.source import Part, Source
from thimble.demo.answers import Models, answer, check_upload, draw_samples
from thimble.demo.page import _about, _save_samples
from thimble.errors import UserError
from thimble.measuring.prediction import predict
from thimble.models import build_model
from thimble.storage.find import load_pretrained


def test_it_answers_with_five_classes_a_picture_and_a_time(tmp_path: Path) -> None:
    found = answer(draw_ship(tmp_path / "ship.png"), load_pretrained())
    assert found.top[0][0] == "ship"
    assert len(found.top) == 5
    assert 1 >= found.top[0][1] >= found.top[4][1] >= 0
    assert found.picture.size == (256, 256)
    assert 0 < found.milliseconds < 10_000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("huge", r"^huge\.png is 9,000 x 7,000 = 63\.0 megapixels: expected at most 50 megapixels$"),
        ("heavy", r"^heavy\.png has 10\.0 MB: expected at most 10 MB$"),
        ("corrupt", r"^corrupt\.png is a damaged or truncated image"),
        ("none", r"^none\.png is not an image in a format that Thimble reads"),
        ("missing", r"^missing\.png does not exist"),
    ],
)
def test_it_refuses_in_one_line_without_the_folder(tmp_path: Path, name: str, message: str) -> None:
    write_bad(tmp_path)
    with pytest.raises(UserError, match=message) as refused:
        answer(tmp_path / f"{name}.png", load_pretrained())
    assert str(tmp_path) not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_pixel_is_decoded_of_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_bad(tmp_path)

    def decode(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(Image.Image, "load", decode)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own limit says the same
    for path in (paths["huge"], paths["heavy"]):
        with pytest.raises(UserError, match="expected at most"):
            check_upload(path)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_a_model_of_grey_images_answers_to_a_photograph(fit: str, tmp_path: Path) -> None:
    model = build_model("tiny", num_classes=7, in_channels=1, input_size=(28, 20)).eval()
    model.fit = fit
    found = answer(draw_ship(tmp_path / "ship.png"), model)
    assert found.top == predict(tmp_path / "ship.png", model)[0].top
    assert found.picture.size == (183, 256)
    assert found.picture.mode == "RGB"


class Odd(Source):
    """Grey images of classes with names that no file may have, one of them without test images."""

    name = title = "odd"
    classes = ("../../up", "People & Body", "a/b", "none", "[x](y) <b>", "x" * 300)

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        labels = torch.tensor([5, 4, 2, 1, 0, 0])
        images = torch.full((6, 1, 28, 20), 30, dtype=torch.uint8) * labels.view(-1, 1, 1, 1).byte()
        return ImageDataset("odd", images, labels, self.classes, (0.5,), (0.25,))


def test_samples_of_grey_images_and_of_classes_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thimble.demo.answers.recorded_source", lambda *_: Odd())
    model = build_model("tiny", num_classes=6, in_channels=1, input_size=(28, 20))
    model.classes = Odd.classes
    folder = tmp_path / "deep" / "samples"
    folder.mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    rows, reason = _save_samples(model, folder)
    assert reason == ""
    paths = [Path(path) for (path,) in rows]
    assert set(tmp_path.rglob("*")) - before == set(paths)
    assert all(path.parent == folder for path in paths)
    assert [path.stem for path in paths[:3]] == ["000 -up", "001 People-Body", "002 a-b"]
    with Image.open(paths[1]) as picture:
        assert (picture.size, picture.mode, picture.getpixel((0, 0))) == ((20, 28), "L", 30)
    about = _about(model)
    assert "\\[x\\](y) \\<b\\>" in about
    assert "x" * 100 not in about


def test_the_page_names_at_most_fifty_classes() -> None:
    model = build_model("tiny", num_classes=242)
    about = _about(model)
    assert about.endswith("them: " + ", ".join(map(str, range(50))) + " and 192 more.")
    assert "more" not in _about(build_model("tiny", num_classes=50))


def test_samples_are_of_the_models_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("reference")
    model.classes, model.data = shapes10(10).classes, {"name": "shapes10"}
    samples, reason = draw_samples(model)
    assert [name for name, _ in samples] == list(shapes10(10).classes)
    assert {picture.size for _, picture in samples} == {(32, 32)}
    assert reason == ""
    model.classes = ("salt", "pepper")
    assert draw_samples(model) == ([], "No examples: the classes of shapes10 are not the model's.")
    model.data = {}
    samples, reason = draw_samples(model)
    assert samples == []
    assert reason.startswith("No examples: they exist for models trained on")
    monkeypatch.setenv("THIMBLE_DATA", str(tmp_path))
    monkeypatch.setattr(Cifar10, "load", None)  # which would download it
    samples, reason = draw_samples(load_pretrained("reference"))
    assert samples == []
    assert "CIFAR-10" in reason
    assert data_folder() == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_models_are_the_named_and_the_shipped_and_no_others(tmp_path: Path) -> None:
    path = str(save_shapes(tmp_path / "shapes.safetensors"))
    models = Models([path, path])
    assert models.names[:2] == [path, "reference"]
    assert models.load(path) is models.load(path)
    assert models.load("reference").classes == CLASSES
    assert Models().names[0] == "reference"
    with pytest.raises(UserError, match="no model '/etc/passwd' here: expected one of"):
        models.load("/etc/passwd")
    with pytest.raises(UserError, match="no model 'nothing'"):
        Models(["nothing"])


def test_a_refusal_is_text_not_markup() -> None:
    from thimble.demo.page import _refusal

    assert _refusal("<b>.png") == '<p class="refusal" role="alert">&lt;b&gt;.png</p>'


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["demo"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'thimble-nets[demo]'" in error


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["--port", "-1"], ["--port", "70000"], ["--model", "nothing"], ["--host", "256.1"]]
)
def test_a_wrong_option_is_told_in_one_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    assert cli.main(["demo", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert options[1] in error


@pytest.mark.slow
def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["demo", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"thimble: cannot serve at 127.0.0.1:{port} (Address already in use): expected a free --port and an address of"
        " this machine as --host\n"
    )
