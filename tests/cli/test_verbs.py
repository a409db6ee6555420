"""What the verbs but train print, and what they refuse."""

from __future__ import annotations

import csv
import errno
import io
import json
import re
from pathlib import Path

import pytest
from cli_shared import one_line
from PIL import Image

from thimble.cli import main as cli
from thimble.models import build_model
from thimble.storage.weights import save_weights


def test_evaluate_prints_tables(tiny_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(tiny_weights), "--data", "shapes10", "--flip"]) == 0
    out = capsys.readouterr().out
    for expected in ("2,000 test images of shapes10", "augmentation: flip", "95% interval", "calibration", "crescent"):
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


def test_predict_takes_folders_and_writes_csv(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my photos"
    (folder / "more").mkdir(parents=True)
    names = ["1.png", "2.png", "10.png", "more/=a,b.png"]
    for name in names:
        Image.new("RGB", (40, 40), "red").save(folder / name)
    (folder / "half.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / ".hidden.png").write_text("x")
    sheet = tmp_path / "out" / "answers.csv"
    verb = ["predict", str(folder), "--model", str(tiny_weights), "--csv", str(sheet), "--top", "2"]
    assert cli.main(verb) == 2
    captured = capsys.readouterr()
    assert "half.jpg is" in one_line(captured.err)
    assert f"wrote {sheet}: 4 images" in captured.out
    header, *rows = csv.reader(io.StringIO(sheet.read_text("utf-8")))
    assert header == ["image", "class", "probability", "class_2", "probability_2"]
    assert [row[0] for row in rows] == [str(folder / name) for name in names]
    assert all(0 < float(row[4]) <= float(row[2]) < 1 for row in rows)

    assert cli.main([*verb[:-2], "--json"]) == 2
    captured = capsys.readouterr()
    assert [Path(each["image"]).name for each in json.loads(captured.out)] == [Path(name).name for name in names]


def test_of_many_images_the_table_has_one_line_each(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(21):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    assert cli.main(["predict", str(tmp_path), "--model", str(tiny_weights)]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("%") == 21
    assert captured.err == ""  # no terminal, no bar


def test_a_csv_that_cannot_be_written_is_refused_before_the_work(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    verb = ["predict", str(tmp_path), "--model", str(tiny_weights), "--csv"]
    assert cli.main([*verb, str(tmp_path)]) == 2
    assert "it is a folder" in one_line(capsys.readouterr().err)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert cli.main([*verb, str(tmp_path / "a.csv")]) == 1
    assert "No space left on device; free some space" in one_line(capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.safetensors", "x.png"]


def test_predict_names_an_empty_folder_and_goes_on(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    verb = ["predict", str(tmp_path / "empty"), "--model", str(tiny_weights), "--csv", str(tmp_path / "a.csv")]
    assert cli.main(verb) == 2
    captured = capsys.readouterr()
    assert "empty has no images" in one_line(captured.err)
    assert captured.out == ""
    assert not (tmp_path / "a.csv").exists()
    assert cli.main(["predict", str(tmp_path / "empty"), str(tmp_path / "x.png"), "--model", str(tiny_weights)]) == 2
    assert "x.png" in capsys.readouterr().out


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
        said = "150,576 parameters, 50,576 more than 100,000: thimble-97k fits"
        assert one_line(captured.err) == f"thimble: {model} has {said}\n"
        assert re.search(r"budget +100,000 .*exceeded", captured.out)
        assert "24,265,344" in captured.out  # the table is printed all the same


def test_summary_without_a_number_only_shows_the_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "more.safetensors"
    save_weights(path, build_model("reference", num_classes=11), {})
    assert cli.main(["summary", str(path)]) == 0
    captured = capsys.readouterr()
    assert re.search(r"budget +150,576 .*exceeded", captured.out)
    assert captured.err == ""


def test_summary_tells_the_cost_of_any_network_before_training(capsys: pytest.CaptureFixture[str]) -> None:
    network = ["summary", "thimble-78k", "--image-size", "96", "--channels", "1", "--num-classes", "3"]
    assert cli.main([*network, "--max-ram", "64kB", "--max-flash", "256KiB", "--max-macs", "60M"]) == 0
    assert re.search(r"RAM +34,\d\d\d +bytes", capsys.readouterr().out)
    assert cli.main([*network, "--max-ram", "32KiB", "--max-flash", "0.1MB", "--json"]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["input_size"] == [1, 96, 96]
    assert found["flash_bytes"] > found["table_bytes"] > found["num_parameters"]
    assert re.fullmatch(
        r"thimble: thimble-78k has 34,\d{3} bytes of RAM, \d,\d{3} more than 32,768 and 10\d,\d{3} bytes of flash,"
        r" \d,\d{3} more than 100,000: none of Thimble's architectures fits\n",
        captured.err,
    )


def test_summary_of_a_network_without_a_c_file_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "teacher-2m"]) == 0
    assert "the network has GELU, which the C file does not support" in capsys.readouterr().out
    assert cli.main(["summary", "teacher-2m", "--max-ram", "1MB"]) == 1
    assert "no C file, so no bytes of RAM to compare" in capsys.readouterr().err


def test_the_size_of_a_trained_network_is_not_to_be_had(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", str(weights), "--channels", "1"]) == 2
    assert "--channels goes with an architecture's name" in one_line(capsys.readouterr().err)


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
