"""Explanations: maps that point at what they should, and a model that is left as it was found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from thimble.cli import main as cli
from thimble.data.pixels import Fitting, to_input
from thimble.errors import RunError, UserError
from thimble.explaining.explanation import Explanation, explain, find_class
from thimble.explaining.picture import draw, page_size
from thimble.measuring.prediction import predict
from thimble.models import build_model
from thimble.models.classifier import Classifier


class Corner(Classifier):
    """Class 1 has the mean red of all the image as its logit, class 0 nothing."""

    def __init__(self) -> None:
        convolution = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            convolution.weight.zero_()
            convolution.weight[1, 0] = 1.0
        super().__init__(
            {"c": convolution, "pool": nn.AdaptiveAvgPool2d(1)}, name="corner", arguments={"num_classes": 2}
        )


def red_corner() -> Tensor:
    """Grey, which is the mean colour, but for 8x8 pixels of red at the top left."""
    image = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    image[0, :8, :8] = 255
    return image


def state(model: nn.Module) -> list[Any]:
    """All that an explanation could leave changed, but for the values of the weights."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [
        [(module.training, [list(getattr(module, name)) for name in hooks]) for module in model.modules()],
        [(parameter.requires_grad, parameter.grad is None) for parameter in model.parameters()],
    ]


def test_the_maps_point_at_what_speaks_for_the_class() -> None:
    (explanation,) = explain(red_corner(), Corner(), class_name="1")
    assert (explanation.class_name, explanation.predicted) == ("1", "1")
    assert 0.5 < explanation.probability < 1
    for values in (explanation.grad_cam, explanation.integrated_gradients):
        assert values.shape == (32, 32)
        assert values.dtype == torch.float32
        assert values.max() == 1
        assert values[:8, :8].mean() > 0.9
        assert values[12:, 12:].abs().max() < 0.05


def test_what_speaks_against_a_class_is_below_zero_and_no_heat() -> None:
    cyan = red_corner()
    cyan[0, :8, :8] = 0
    (explanation,) = explain(cyan, Corner(), class_name="1")
    assert explanation.predicted == "0"
    assert explanation.integrated_gradients.min() == -1
    assert explanation.grad_cam[:8, :8].max() == 0


def test_integrated_gradients_of_a_sum_are_its_terms() -> None:
    """Every pixel's share of the logit, against the mean colour, up to the one scale of the map."""
    image = red_corner()
    image[0, :8, 8:16] = 64
    (explanation,) = explain(image, Corner(), class_name="1")
    above = image[0].float() / 255 - 0.5  # the model's mean
    torch.testing.assert_close(explanation.integrated_gradients, above / 0.5, rtol=0, atol=1e-3)


def test_the_default_class_is_the_one_that_is_predicted() -> None:
    torch.manual_seed(0)
    model = build_model("thimble-78k")
    images = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)) for seed in (0, 1)]
    explanations = explain(images, model)
    assert [each.image for each in explanations] == ["image 0", "image 1"]
    assert all(each.class_name == each.predicted for each in explanations)


@pytest.mark.parametrize("name", ["reference", "thimble-78k", "teacher-2m"])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(name: str, training: bool) -> None:
    model = build_model(name).train(training)
    next(model.parameters()).requires_grad_(False)
    kept = next(iter(model.children())).register_forward_hook(lambda *_: None)
    before, weights = state(model), {key: value.clone() for key, value in model.state_dict().items()}
    with torch.inference_mode():  # whatever the caller has switched off
        explain(red_corner(), model)
    assert state(model) == before
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    kept.remove()


def test_the_model_is_never_changed_not_even_while_captum_works(monkeypatch: pytest.MonkeyPatch) -> None:
    from captum.attr import IntegratedGradients, LayerGradCam

    model = build_model("reference")
    before = state(model)
    for method in (LayerGradCam, IntegratedGradients):
        with monkeypatch.context() as patch:
            seen: list[bool] = []

            def fail(self: Any, *arguments: Any, seen: list[bool] = seen, **options: Any) -> None:
                self.forward_func[0].register_forward_hook(lambda *_: None)  # as if it had not cleaned up
                seen.append(state(model) == before)
                raise ZeroDivisionError

            patch.setattr(method, "attribute", fail)
            with pytest.raises(ZeroDivisionError):
                explain(red_corner(), model)
            assert seen == [True]
        assert state(model) == before


def test_threads_explain_one_model_at_once() -> None:
    """And others ask it; it is in training mode, with a norm and a dropout that would show it, and stays in it."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5))
    blocks = {"c": layers, "pool": nn.AdaptiveAvgPool2d(1), "out": nn.Conv2d(4, 3, 1)}
    model = Classifier(blocks, name="tiny", arguments={"num_classes": 3}).train()
    before, weights = state(model), {key: value.clone() for key, value in model.state_dict().items()}
    images = [red_corner().roll(8 * number, 2) for number in range(4)] * 2
    copy = deepcopy(model).eval()
    expected = [(explain(image, copy)[0], predict(image, copy)[0]) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda image: (explain(image, model)[0], predict(image, model)[0]), images))
    for (explanation, prediction), (wanted, answer) in zip(found, expected, strict=True):
        torch.testing.assert_close(explanation.grad_cam, wanted.grad_cam)
        torch.testing.assert_close(explanation.integrated_gradients, wanted.integrated_gradients)
        assert prediction == answer
    assert state(model) == before
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("size", [(48, 24), (24, 48), (32, 32), (16, 64)])
def test_the_picture_is_what_the_network_sees(size: tuple[int, int]) -> None:
    model = Corner()
    model.input_size = (3, *size)
    image = Image.new("RGBA", (120, 90), (0, 0, 0, 0))  # transparent, so white, where its colour is black
    image.paste((255, 0, 0, 255), (0, 0, 60, 45))
    image.getexif()[0x0112] = 6
    (explanation,) = explain(image, model)
    assert explanation.picture.size == (256 * size[1] // max(size), 256 * size[0] // max(size))
    assert tuple(explanation.grad_cam.shape) == size
    shrunk = explanation.picture.resize((size[1], size[0]), Image.Resampling.BOX)
    seen = to_input(image, Fitting(size)).permute(1, 2, 0).numpy().astype(float)
    assert np.abs(np.asarray(shrunk) - seen).mean() < 6
    page = draw([explanation, explanation])
    assert page.size == page_size([explanation.picture.size] * 2)
    assert page.height < 56 + 2 * (explanation.picture.height + 40)


class GreyCorner(Classifier):
    """Of grey images. Class 1 has the mean grey of all the image as its logit, class 0 nothing."""

    def __init__(self) -> None:
        convolution = nn.Conv2d(1, 2, 1, bias=False)
        with torch.no_grad():
            convolution.weight.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
        blocks = {"c": convolution, "pool": nn.AdaptiveAvgPool2d(1)}
        super().__init__(blocks, name="grey", arguments={"num_classes": 2}, input_size=(1, 24, 40))


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_of_grey_images_whatever_their_fit(fit: str) -> None:
    model = GreyCorner()
    model.fit = fit
    grey = torch.full((1, 24, 40), 128, dtype=torch.uint8)
    grey[:, :8, :8] = 255
    for image in (grey, grey.expand(3, -1, -1), grey.repeat_interleave(4, 1).repeat_interleave(4, 2)):
        (explanation,) = explain(image, model, class_name="1")
        for values in (explanation.grad_cam, explanation.integrated_gradients):
            assert values.shape == (24, 40)
            assert values.max() == 1
            assert values[:7, :7].mean() > 0.9
            assert values[12:, 12:].abs().max() < 0.05
        assert explanation.picture.size == (256, 154)
        assert explanation.picture.mode == "RGB"
        assert draw([explanation]).size == page_size([(256, 154)])


def test_a_class_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match=r"^--class cow: expected one of 0, 1$"):
        explain(red_corner(), Corner(), class_name="cow")
    assert find_class(Corner(), "1") == 1


def test_a_model_without_pooling_is_refused() -> None:
    flat = Classifier({"c": nn.Conv2d(3, 2, 32, bias=False)}, name="flat", arguments={"num_classes": 2})
    with pytest.raises(UserError, match="flat has no global pooling"):
        explain(red_corner(), flat)


def test_a_model_that_gives_nan_is_an_error() -> None:
    model = Corner()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(RunError, match="nan or infinite logits"):
        explain(red_corner(), model)


def test_the_drawing_has_a_row_for_each() -> None:
    explanations = explain([_picture(40, 30), _picture(700, 600)], Corner(), class_name="1")
    one, two = draw(explanations[:1]), draw(explanations)
    assert two.width == one.width
    assert two.height - one.height > 256


def test_what_is_against_is_blue_and_what_is_for_is_red() -> None:
    (explanation,) = explain(red_corner(), Corner(), class_name="1")
    changed = Explanation(**{**vars(explanation), "integrated_gradients": -explanation.integrated_gradients})
    for each, channel in ((explanation, 0), (changed, 2)):
        pixels = np.asarray(draw([each]), np.int64)[:, -268:-12]  # the third panel
        corner = pixels[60:110, 4:50].mean((0, 1))
        assert corner.argmax() == channel


def test_a_long_name_is_cut_at_its_beginning() -> None:
    (explanation,) = explain(red_corner(), Corner())
    long = Explanation(**{**vars(explanation), "image": "a" * 400 + ".png"})
    page = np.asarray(draw([long]))
    assert (page[-30:, :8] == 255).all()  # nothing runs into the margin


def _picture(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, output = tmp_path / "cat.png", tmp_path / "out.png"
    _picture(50, 40).save(image)
    assert cli.main(["explain", str(image), "--class", "cat", "--output", str(output)]) == 0
    out = capsys.readouterr().out
    assert "cat.png" in out.replace("\n", "")
    assert f"wrote {output}" in out.replace("\n", "")
    with Image.open(output) as drawn:
        assert drawn.format == "PNG"


def test_the_verb_explains_the_others_and_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, output = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "out.png"
    _picture(32, 32).save(good)
    bad.write_bytes(good.read_bytes()[:100])
    assert cli.main(["explain", str(bad), str(good), "--output", str(output)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "bad.png" in captured.err
    assert output.is_file()
    output.unlink()
    assert cli.main(["explain", str(good), str(good), "--class", "cow", "--output", str(output)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["explain", "--output", str(output)]) == 2
    assert cli.main(["explain", str(bad), "--output", str(output)]) == 2
    assert not output.exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("many.webp", "WEBP holds at most 16,383 pixels a side, and the picture is 816 x 17,456"),
        ("many.nothing", "expected the name of a file, such as picture.png"),
        ("many.xbm", "expected the name of a file, such as picture.png"),
        ("folder.png", "it is a folder"),
        ("file/many.png", "is not a folder"),
    ],
)
def test_where_the_picture_cannot_be_written_is_told_before_the_work(
    tmp_path: Path,
    name: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr("thimble.explaining.explanation.explain", None)
    images = [str(tmp_path / "cat.png")] * 60
    assert cli.main(["explain", *images, "--output", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
