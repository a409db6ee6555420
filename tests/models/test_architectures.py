"""Every architecture obeys what ``Architecture`` asks, in the order of its list."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

from thimble.measuring.summary import summarize
from thimble.models import MODELS, Architecture, build_model

NAMES = sorted(MODELS)
SIZES = [(1, (28, 28)), (3, (32, 32)), (3, (24, 40))]


def images(channels: int, size: tuple[int, int], num_images: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(num_images, channels, *size, generator=generator)


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_the_four_arguments_with_their_defaults_and_carries_them(name: str) -> None:
    expected = inspect.signature(Architecture.__call__).parameters
    found = inspect.signature(MODELS[name]).parameters
    assert list(found) == [parameter for parameter in expected if parameter != "self"]
    assert {key: value.default for key, value in found.items()} == {key: expected[key].default for key in found}
    model = build_model(name, num_classes=7, dropout=0.25, in_channels=1, input_size=(24, 40))
    assert model.name == name
    assert model.arguments == {"num_classes": 7, "dropout": 0.25}
    assert model.input_size == (1, 24, 40)
    assert (len(model.classes), len(model.mean), len(model.std)) == (7, 1, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "size"), SIZES)
def test_it_gives_a_logit_for_each_class_at_full_and_at_half_size(
    name: str, channels: int, size: tuple[int, int]
) -> None:
    model = build_model(name, num_classes=5, in_channels=channels, input_size=size).eval()
    with torch.inference_mode():
        for sides in (size, (size[0] // 2, size[1] // 2)):
            logits = model(images(channels, sides))
            assert logits.shape == (2, 5)
            assert logits.isfinite().all()
    assert summarize(model).input_size == (channels, *size)


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_traced(name: str) -> None:
    model = build_model(name).eval()
    with torch.inference_mode():
        program = torch.export.export(model, (images(3, (32, 32)),)).module()
        torch.testing.assert_close(program(images(3, (32, 32))), model(images(3, (32, 32))))


@pytest.mark.parametrize("name", NAMES)
def test_only_its_ends_depend_on_the_classes_and_the_channels(name: str) -> None:
    def shapes(**arguments: int) -> dict[str, torch.Size]:
        model = build_model(name, **arguments)
        return {key: tensor.shape for key, tensor in model.named_parameters()}

    plain, classes, grey = shapes(), shapes(num_classes=3), shapes(in_channels=1)
    assert plain.keys() == classes.keys() == grey.keys()
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in plain))
    assert {key.rpartition(".")[0] for key in plain if plain[key] != classes[key]} == {layers[-1]}
    assert {key.rpartition(".")[0] for key in plain if plain[key] != grey[key]} == {layers[0]}


@pytest.mark.parametrize("name", NAMES)
def test_it_pools_once_to_one_pixel(name: str) -> None:
    pooling = [
        each for each in build_model(name).modules() if isinstance(each, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)
    ]
    assert [each.output_size for each in pooling] == [1]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_answered_alike_in_any_company(name: str) -> None:
    torch.manual_seed(0)
    model, batch = build_model(name).eval(), images(3, (32, 32), 3)
    with torch.inference_mode():
        torch.testing.assert_close(model(batch)[:1], model(batch[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_its_weights_follow_from_the_generator(name: str) -> None:
    def weights(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(build_model(name).state_dict().values())

    assert all(torch.equal(one, other) for one, other in zip(weights(0), weights(0), strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(weights(0), weights(1), strict=True))


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("teacher")])
def test_images_too_small_for_it_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} cannot take images of \(4, 32\) pixels: expected at least 8 by 8"):
        build_model(name, input_size=(4, 32))
