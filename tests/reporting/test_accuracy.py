"""The report on other datasets than ten classes of colour images: two, many, of one channel, without a test part."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from thimble.data.dataset import ImageDataset
from thimble.models import build_model
from thimble.reporting import class_figures, figures
from thimble.reporting.report import write_report
from thimble.storage.weights import save_weights
from thimble.training.config import TrainConfig
from thimble.training.config_file import to_dict


def drawings(num_classes: int, channels: int = 3) -> tuple[ImageDataset, ImageDataset]:
    """Noise of as many classes, 5 images of each to train on and 3 to test with."""
    names = tuple(f"class {number}" for number in range(num_classes))
    parts = []
    for count in (5, 3):
        labels = torch.arange(num_classes).repeat_interleave(count)
        generator = torch.Generator().manual_seed(count)
        images = torch.randint(256, (len(labels), channels, 24, 24), generator=generator, dtype=torch.uint8)
        parts.append(ImageDataset("noise", images, labels, names, (0.5,) * channels, (0.25,) * channels))
    return parts[0], parts[1]


def report_on(data: tuple[ImageDataset, ImageDataset], folder: Path) -> str:
    channels, height, width = data[0].images.shape[1:]
    torch.manual_seed(0)
    model = build_model("tiny", num_classes=len(data[0].classes), in_channels=channels, input_size=(height, width))
    model.classes, model.mean, model.std = data[0].classes, data[0].mean, data[0].std
    save_weights(folder / "x.safetensors", model, {"recipe": to_dict(TrainConfig.of(model="tiny"))})
    return write_report(folder / "x.safetensors", folder / "x.html", data=data).read_text()


def test_two_classes_of_one_channel(tmp_path: Path) -> None:
    text = report_on(drawings(2, channels=1), tmp_path)
    assert "nan" not in re.sub(r"<[^>]*>", "", text)
    assert "Area under the ROC curve: " in text
    assert "ROC curve of class 1 against class 0" in text
    assert "8 kernels of 3x3 pixels, shown as greys." in text
    assert "2 of 2 classes have fewer than 10 test images: class 0 (3), class 1 (3)." in text
    assert "roc" in [path.stem for path in (tmp_path / "x").glob("*.svg")]
    assert "most frequent mistakes" not in text


def test_many_classes_stay_readable(tmp_path: Path) -> None:
    text = report_on(drawings(60), tmp_path)
    assert "Classes, the lowest recall first" in text
    assert "The 20 classes with the lowest accuracy" in text
    assert "The most frequent mistakes" in text
    assert "One training image of each of the first 12 classes of noise" in text
    confusion = (tmp_path / "x" / "confusion.svg").read_text()
    assert confusion.count("<text") < 60  # a picture with some names, no numbers
    assert "class 57" in confusion
    assert len(text) < 1_500_000
    (row,) = re.findall(r"<tr><th scope=.row. class=.text.>class 59</th>(.*?)</tr>", text)
    assert re.findall(r"<td>(.*?)</td>", row)[:2] == ["5", "3"]


def test_images_without_a_test_part_are_not_called_so(tmp_path: Path) -> None:
    train, _ = drawings(3)
    text = report_on((train, train), tmp_path)
    assert "test image" not in text.lower()
    assert "test accuracy" not in text
    assert "training images</th>" not in text


def test_first_layers_of_other_kernels_are_drawn() -> None:
    for shape in ((1, 1, 1, 1), (40, 1, 7, 7), (16, 3, 4, 4), (13, 3, 2, 5)):
        assert "<svg" in figures.to_svg(figures.filters(torch.randn(shape)))


def test_a_confusion_matrix_of_one_class_or_without_mistakes() -> None:
    for counts, names in (
        ([[5]], ["only"]),
        ([[5, 0], [0, 0]], ["a", "b"]),
        ([[3] * 40] * 40, [f"c{n}" for n in range(40)]),
    ):
        assert "<svg" in figures.to_svg(class_figures.confusion(counts, names))


def test_bars_show_the_interval_of_each_class() -> None:
    bare = figures.to_svg(class_figures.per_class({"a": 0.9, "b": 0.2, "absent": float("nan")}, 0.5))
    ends = {"a": (0.8, 0.95), "b": (0.1, 0.4)}
    drawn = figures.to_svg(class_figures.per_class({"a": 0.9, "b": 0.2}, 0.5, ends))
    assert "absent" not in bare
    assert len(drawn) > len(bare)
