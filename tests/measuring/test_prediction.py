"""What a model says of single images."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from colour_network import plain
from PIL import Image
from torch import Tensor

import thimble.measuring.prediction
from thimble.data.pixels import to_picture
from thimble.errors import UserError
from thimble.measuring.inference import infer
from thimble.measuring.prediction import Prediction, predict, predict_files, to_csv
from thimble.models import build_model
from thimble.models.classifier import Classifier


def test_predict_gives_probabilities_best_first(colours: Classifier) -> None:
    image = torch.tensor([51, 102, 0], dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8)  # logits 2, 4, 0
    (prediction,) = predict(image, colours.train())
    total = math.exp(2) + math.exp(4) + 1
    assert prediction.image == "image 0"
    assert [name for name, _ in prediction.top] == ["green", "red", "blue"]
    expected = [math.exp(4) / total, math.exp(2) / total, 1 / total]
    assert [value for _, value in prediction.top] == pytest.approx(expected, abs=1e-6)
    assert colours.training


def test_predict_takes_files_pil_images_and_tensors_alike(colours: Classifier, tmp_path: Path) -> None:
    paths = [tmp_path / "green.png", tmp_path / "blue.png"]
    for path, channel in zip(paths, (1, 2), strict=True):
        Image.fromarray(plain(channel)[0].permute(1, 2, 0).numpy()).resize((37, 21)).save(path)
    by_paths = predict(paths, colours)
    assert [prediction.image for prediction in by_paths] == [str(path) for path in paths]
    assert [prediction.top[0][0] for prediction in by_paths] == ["green", "blue"]
    assert predict(str(paths[1]), colours) == [by_paths[1]]
    assert predict(Image.open(paths[1]), colours) == [by_paths[1]]
    by_tensors = predict(plain(1, 2).repeat(1, 1, 3, 5), colours)
    assert [prediction.image for prediction in by_tensors] == ["image 0", "image 1"]
    assert [prediction.top for prediction in by_tensors] == [prediction.top for prediction in by_paths]
    assert predict([], colours) == []


def test_a_folder_stands_for_its_images(colours: Classifier, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for name, channel in (("img10.png", 0), ("img2.png", 1), ("deep/x.png", 2)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(plain(channel)[0].permute(1, 2, 0).numpy()).save(folder / name)
    found = predict(folder, colours)
    assert [Path(each.image).name for each in found] == ["x.png", "img2.png", "img10.png"]
    assert [each.top[0][0] for each in found] == ["blue", "green", "red"]
    assert predict([str(folder), folder / "img2.png"], colours) == [*found, found[1]]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no images"):
        predict(tmp_path / "empty", colours)


def test_many_files_are_predicted_in_batches_and_the_unreadable_are_told(
    colours: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def noted(model: Classifier, images: Tensor, **options: Any) -> Tensor:
        sizes.append(len(images))
        return infer(model, images, **options)

    monkeypatch.setattr(thimble.measuring.prediction, "infer", noted)
    paths = [tmp_path / f"{number}.png" for number in range(140)]
    for number, path in enumerate(paths):
        if number % 70 == 5:
            path.write_text("no image")
        else:
            Image.fromarray(plain(number % 3)[0].permute(1, 2, 0).numpy()).save(path)
    errors: list[UserError] = []
    found = list(predict_files(paths, colours, top=1, failed=errors.append))
    assert sizes == [64, 64, 10]
    assert [str(error).split(" is ")[0] for error in errors] == [str(paths[5]), str(paths[75])]
    assert [each.image for each in found] == [str(path) for path in paths if path not in (paths[5], paths[75])]
    assert found[0].top[0][0] == "red"
    assert found == predict([each.image for each in found], colours, top=1)


def test_csv_has_a_row_for_each_image_with_names_as_they_are() -> None:
    names = ['=1+2,"x".png', "two\nlines.png", "猫.png"]
    found = [Prediction(name, (("cat", 0.75), ("-dog", 0.25))) for name in names]
    text = to_csv(found)
    assert text.splitlines()[0] == "image,class,probability,class_2,probability_2"
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [
        [name, "cat", "0.750000", "-dog", "0.250000"] for name in names
    ]
    assert to_csv([Prediction("a", (("cat", 1.0),))]) == "image,class,probability\na,cat,1.000000\n"
    assert to_csv([]) == ""


def test_predict_brings_images_to_height_and_width_of_the_model(colours: Classifier) -> None:
    """Of a wide image for a tall model, the middle is kept: blue, between red and red."""
    colours.input_size = (3, 8, 4)
    images = torch.cat([plain(0), plain(2), plain(0)], dim=3)
    assert predict(images, colours)[0].top[0][0] == "blue"


@pytest.mark.parametrize("side", [8, 20])
def test_tensors_of_other_channels_are_converted_as_files_are(colours: Classifier, side: int) -> None:
    """Grey to colour: three equal channels. Colour to grey: the luminance, as Pillow computes it."""
    grey = torch.randint(0, 256, (3, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert predict(grey, colours) == predict(grey.expand(-1, 3, -1, -1), colours)
    model = build_model("tiny", num_classes=3, in_channels=1, input_size=(8, 8)).eval()
    color = torch.randint(0, 256, (3, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pictures = [to_picture(image) for image in color]
    expected = [each.top for each in predict([picture.convert("L") for picture in pictures], model)]
    assert [each.top for each in predict(color, model)] == expected
    assert [each.top for each in predict(pictures, model)] == expected
    assert [each.top for each in predict(grey, model)] == [
        each.top for each in predict(grey.expand(-1, 3, -1, -1), model)
    ]
    assert len(predict(color[0], model)) == len(predict(grey[0], model)) == 1


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 2, 8, 8), (8, 8), (1, 0, 8), (0, 8, 8)])
def test_tensors_of_other_shapes_are_refused(colours: Classifier, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"expected uint8 \(\[N,\] 3 or 1, height, width\)"):
        predict(torch.zeros(shape, dtype=torch.uint8), colours)


def test_the_models_own_fit_decides_what_it_sees(colours: Classifier, tmp_path: Path) -> None:
    """Of a wide image, the middle is blue and the rest red, most of it."""
    images = torch.cat([plain(0, 0, 0, 0), plain(2, 2, 2, 2), plain(0, 0, 0, 0)], dim=3)[0]
    path = tmp_path / "wide.png"
    to_picture(torch.cat([images, images], 2)).save(path)
    found = {}
    for fit in ("crop", "squash", "pad"):
        colours.fit = fit
        found[fit] = [dict(predict(each, colours)[0].top) for each in (images, to_picture(images))]
        assert found[fit][0] == found[fit][1]
        assert predict(path, colours)[0].image == str(path)
    assert max(found["crop"][0], key=found["crop"][0].__getitem__) == "blue"
    assert max(found["squash"][0], key=found["squash"][0].__getitem__) == "red"
    assert found["pad"][0]["green"] > found["squash"][0]["green"]  # the borders are grey


def test_top_names_as_many_classes_as_there_are(colours: Classifier) -> None:
    assert len(predict(plain(0), colours, top=2)[0].top) == 2
    assert len(predict(plain(0), colours, top=99)[0].top) == 3
    with pytest.raises(UserError, match="top 0: expected"):
        predict(plain(0), colours, top=0)


def test_prediction_to_dict_is_plain_json() -> None:
    values = Prediction("cat.png", (("cat", 0.75), ("dog", 0.25))).to_dict()
    assert json.loads(json.dumps(values)) == {
        "image": "cat.png",
        "top": [{"class": "cat", "probability": 0.75}, {"class": "dog", "probability": 0.25}],
    }


def test_what_is_no_image_is_the_users_mistake(colours: Classifier, tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    with pytest.raises(UserError, match=r"notes\.png"):
        predict(text, colours)
    with pytest.raises(UserError, match="missing"):
        predict(tmp_path / "missing.png", colours)
    for tensor in (torch.zeros(3, 8, 8), torch.zeros(8, 8, 3, dtype=torch.uint8), plain(0)[:, :, :0]):
        with pytest.raises(UserError, match=r"expected uint8 \(\[N,\] 3 or 1, height, width\)"):
            predict(tensor, colours)
    with pytest.raises(UserError, match="image 0 is of type int"):
        predict([7], colours)  # type: ignore[list-item]
    with pytest.raises(UserError, match="0x5 pixels"):
        predict(Image.new("RGB", (0, 5)), colours)


def test_a_pil_image_cut_short_is_the_users_mistake(colours: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "cut.bmp"
    Image.new("RGB", (64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with Image.open(path) as image, pytest.raises(UserError, match=r"cut\.bmp is damaged or closed"):
        predict(image, colours)


def test_predict_without_a_shipped_model_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing-here"):
        predict(plain(0), tmp_path / "nothing-here")
