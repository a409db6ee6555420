"""The report: one file that needs nothing else, says what the run's own files say, and survives the bad day."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image
from training_runs import Whole

import thimble.reporting.report
from thimble.cli import main as cli
from thimble.data.cifar10 import CLASSES
from thimble.data.dataset import ImageDataset
from thimble.data.shapes10 import Shapes10, shapes10
from thimble.data.source import Part
from thimble.data.sources import SOURCES
from thimble.errors import UserError
from thimble.measuring.evaluation import evaluate
from thimble.models import build_model
from thimble.reporting.report import write_report
from thimble.storage.find import load_described, load_model
from thimble.storage.weights import save_weights
from thimble.training.config import TrainConfig
from thimble.training.config_file import to_dict

SECTIONS = ["learning", "network", "accuracy", "mistakes", "augmentation", "filters", "reproduce"]
SVG = ["confusion", "curves", "filters", "per_class", "receptive_field", "reliability"]


class Page(html.parser.HTMLParser):
    """What a browser would find: ids, links, sources, images without a text, headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.fragments: set[str] = set()
        self.outside: list[str] = []
        self.nameless: list[str] = []
        self.headings: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in ("meta", "img", "br", "path", "use", "rect"):
            self.open.append(tag)
        self.ids += [values["id"] or ""] if "id" in values else []
        for name in ("href", "src", "xlink:href"):
            target = values.get(name) or ""
            if target.startswith("#"):
                self.fragments.add(target[1:])
            elif target and not target.startswith("data:"):
                self.outside.append(target)
        if tag == "img" and not values.get("alt"):
            self.nameless.append(tag)
        if values.get("role") == "img" and not values.get("aria-label"):
            self.nameless.append(tag)
        self.headings += [tag] if re.fullmatch("h[1-6]", tag) else []

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


@pytest.fixture
def little_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "shapes10", f"{__name__}:Drawings")


class Drawings(Shapes10):
    """120 drawings to train on, 60 to test with."""

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        return shapes10(120, seed=1) if part == "train" else shapes10(60, seed=3)


@pytest.fixture
def run(little_run: TrainConfig, little_test: None, whole: Whole) -> Path:
    """Each test's own copy of a finished run."""
    return Path(shutil.copytree(whole(little_run).run, little_run.run.runs / "run"))


@pytest.fixture
def written(run: Path, made: dict[str, Path]) -> Path:
    """The same with its report, which is made once for all tests that only read it."""
    if "run" not in made:
        write_report(run)
        made["run"] = Path(shutil.copytree(run, made["folder"] / "run"))
    return made["run"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {"folder": tmp_path_factory.mktemp("written")}


def svgs(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.svg"))


def test_a_run_has_a_whole_report(written: Path) -> None:
    run, path = written, written / "report.html"
    text = path.read_text()
    page = Page(text)
    assert page.outside == []  # it opens from a disk, without a network
    assert "<script" not in text
    assert "@import" not in text
    assert page.fragments <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)
    assert page.nameless == []
    assert page.headings[:2] == ["h1", "h2"]
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert path.stat().st_size < 5_000_000
    assert svgs(run / "report") == SVG
    for name in ("augmentation", "mistakes"):
        with Image.open(run / "report" / f"{name}.png") as picture:
            picture.verify()
    for name in SVG:
        assert (run / "report" / f"{name}.svg").read_text().startswith("<svg")


def test_it_says_what_the_run_says(written: Path) -> None:
    run, text = written, (written / "report.html").read_text()
    result = load_described(run)[1]
    assert "1,996" in text
    assert "0.5 M" in text
    assert json.loads((run / "environment.json").read_text())["versions"]["torch"] in text
    assert load_described(run)[2] in text
    assert "&#34;learning_rate&#34;: 0.2" in text
    assert result["recipe"]["model"] == "tiny"
    assert text.count('class="soft">test image') == 25
    evaluation = evaluate(load_model(run), shapes10(60, seed=3))
    assert f"{evaluation.accuracy:.2%}" in text
    assert "is 13 pixels wide" in text  # the receptive field


@pytest.mark.slow
def test_a_weights_file_has_no_curves_and_says_so(run: Path, tmp_path: Path) -> None:
    file, output = tmp_path / "mine.safetensors", tmp_path / "page" / "mine.html"
    shutil.copy(run / "model.safetensors", file)
    assert write_report(file, output) == output
    text = output.read_text()
    assert "a weights file does not contain them" in text
    assert svgs(output.with_suffix("")) == [name for name in SVG if name != "curves"]


@pytest.mark.slow
def test_a_folder_of_a_shipped_name_is_not_taken_for_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipped name wins, as everywhere: the report goes beside the folder, and has none of its curves."""
    shutil.copytree(run, tmp_path / "here" / "reference")
    monkeypatch.chdir(tmp_path / "here")
    cifar = dataclasses.replace(shapes10(60, seed=3), classes=CLASSES)
    assert write_report("reference", data=cifar) == Path("report.html")
    assert not (tmp_path / "here" / "report" / "curves.svg").exists()
    assert "No training curves" in Path("report.html").read_text()


@pytest.mark.slow
def test_names_are_text_not_markup(run: Path) -> None:
    odd = run.with_name("<b>&'odd' run")
    run.rename(odd)
    text = write_report(odd).read_text()
    assert "<b>" not in text
    assert "&lt;b&gt;" in text
    Page(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["thimble-78k", "teacher-2m"])
def test_other_networks_too(name: str, tmp_path: Path, little_test: None) -> None:
    data = shapes10(10)
    model = build_model(name)
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    metadata = {"recipe": to_dict(TrainConfig.of(model=name)), "data": {"name": "shapes10"}}
    save_weights(tmp_path / "x.safetensors", model, metadata)
    text = write_report(tmp_path / "x.safetensors", tmp_path / "x.html").read_text()
    assert ("over the budget" in text) == (name == "teacher-2m")
    Page(text)


@pytest.mark.slow
def test_a_perfect_model_has_no_mistakes_to_show(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = shapes10(60, seed=3).labels
    perfect = torch.nn.functional.one_hot(labels, 10).float() * 20
    monkeypatch.setattr(thimble.reporting.report, "infer", lambda *_, **__: perfect)
    text = write_report(run).read_text()
    assert "0 of 60 test images" in text
    assert "100.00%" in text


@pytest.mark.slow
def test_written_twice_it_is_the_same_and_the_model_is_only_read(
    run: Path, written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "report.html").unlink(missing_ok=True)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert cli.main(["report", str(run)]) == 0
    assert f"wrote {run / 'report.html'}" in capsys.readouterr().out.replace("\n", "")
    assert (run / "report.html").read_bytes() == (written / "report.html").read_bytes()
    after = {path: path.read_bytes() for path in before}
    assert after == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("metrics.csv", None, "holds no metrics.csv"),
        ("metrics.csv", "epoch,loss\n1,2\n", "expected the columns epoch, train_loss"),
        ("environment.json", None, "environment.json"),
        ("environment.json", "{", "environment.json"),
        ("model.safetensors", None, "expected the folder of a finished run"),
        ("model.safetensors", "half a file", "expected a complete safetensors file"),
    ],
)
def test_a_run_that_lacks_something(
    run: Path, file: str, content: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / file).unlink()
    if content is not None:
        (run / file).write_text(content)
    capsys.readouterr()
    assert cli.main(["report", str(run)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (run / "report.html").exists()


def test_a_metrics_file_without_rows_or_with_words(run: Path) -> None:
    header = (run / "metrics.csv").read_text().splitlines()[0]
    for rows in ("", "1,many,0.5,,,0.1,1,1\n", "1,2,0.5\n"):
        (run / "metrics.csv").write_text(f"{header}\n{rows}")
        with pytest.raises(UserError, match=r"metrics\.csv"):
            write_report(run)


def test_a_model_of_other_classes_is_refused(tmp_path: Path, little_test: None) -> None:
    model = build_model("reference", num_classes=3)
    save_weights(tmp_path / "x.safetensors", model, {"recipe": to_dict(TrainConfig())})
    with pytest.raises(UserError, match="records no dataset: name its data with --data"):
        write_report(tmp_path / "x.safetensors", tmp_path / "x.html")
    with pytest.raises(UserError, match="3 classes and shapes10 has 10"):
        write_report(tmp_path / "x.safetensors", tmp_path / "x.html", data="shapes10")
    assert not (tmp_path / "x.html").exists()


def test_a_place_where_nothing_can_be_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(thimble.reporting.report, "load_described", None)  # it is told before the work
    with pytest.raises(UserError, match=r"cannot write .*file is not a folder"):
        write_report(run, tmp_path / "file" / "report.html")
    with pytest.raises(UserError, match="is a folder"):
        write_report(run, tmp_path)
    with pytest.raises(UserError, match=r"expected a name such as report\.html"):
        write_report(run, tmp_path / "report")


@pytest.mark.slow
def test_training_writes_it_by_default(
    little_run: TrainConfig, little_test: None, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["train", "--data", "shapes10", "--validation", "40", "--epochs", "1", "--batch-size", "16"]
    common += ["--model", "tiny", "--device", "cpu", "--runs", str(little_run.run.runs)]
    assert cli.main([*common, "--name", "with"]) == 0
    assert f"report: {little_run.run.runs / 'with' / 'report.html'}" in capsys.readouterr().out.replace("\n", "")
    assert (little_run.run.runs / "with" / "report" / "curves.svg").is_file()
    assert cli.main([*common, "--name", "without", "--no-report"]) == 0
    assert not (little_run.run.runs / "without" / "report.html").exists()
    load_model(little_run.run.runs / "without")


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the report is not looked at in a browser")
@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_shows_it_without_scrolling_sideways(run: Path, width: int) -> None:
    """A page that is wider than the window would have to be pushed about on a phone."""
    path = write_report(run)
    probe = "<script>document.title = [document.documentElement.scrollWidth, innerWidth].join(' of ')</script></body>"
    path.write_text(path.read_text().replace("</body>", probe))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"--window-size={width},900"]
    done = subprocess.run(
        [str(CHROMIUM), *flags, path.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    found = re.search(r"<title>(\d+) of (\d+)</title>", done.stdout)
    assert found is not None
    assert int(found[1]) <= int(found[2]) == width
