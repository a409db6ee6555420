"""The networks: the reference network against its published listing, stored numbers and promises; the teachers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchsummary
from places import ROOT
from torch import Tensor, nn

from thimble.measuring.receptive_field import receptive_field_by_gradient
from thimble.measuring.summary import summarize
from thimble.models import MODELS, build_model, list_models
from thimble.models.classifier import Classifier, Residual
from thimble.models.family import TABLE, GlobalAverage, HalvingDepthwise
from thimble.models.teachers import TEACHERS
from thimble.storage.weights import load_weights, save_weights

# Logits of the network that seed 0 gives, of a train-mode batch of `waves()`. Stored on x86 with PyTorch 2.13.
GOLDEN = [
    [0.239036, 0.0922421, 0.188749, 0.0804790, 0.379261, -0.309093, 0.266296, 0.651174, -0.0850145, -0.140884],
    [-0.0211438, -0.0333692, 0.345850, 0.0857580, 0.265436, -0.378942, 0.193254, 0.659849, -0.120384, -0.323352],
]


def seeded(**arguments: float) -> Classifier:
    torch.manual_seed(0)
    return build_model("reference", **arguments)


def waves(height: int = 32, width: int = 32) -> Tensor:
    """Two images without any randomness."""
    return torch.sin(40 * torch.linspace(-2, 2, 2 * 3 * height * width)).view(2, 3, height, width)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_published_listing_byte_for_byte(capsys: pytest.CaptureFixture[str], dropout: float) -> None:
    torchsummary.summary(seeded(dropout=dropout), (3, 32, 32), device="cpu")
    expected = (ROOT / "tests" / "golden" / "reference_summary.txt").read_text()
    assert expected.count("\n") == 67 - 1 + expected.endswith("\n")
    assert capsys.readouterr().out == expected


def test_golden_logits() -> None:
    logits = seeded().train()(waves())
    torch.testing.assert_close(logits, torch.tensor(GOLDEN), rtol=1e-3, atol=1e-5)


def test_initialisation_follows_the_seed() -> None:
    first, second = seeded().state_dict(), seeded().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = build_model("reference").state_dict()  # the generator has moved on
    assert not torch.equal(first["c1.0.weight"], other["c1.0.weight"])


def test_size() -> None:
    model = build_model("reference")
    assert model.num_parameters == 150_576
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert [name for name, _ in model.named_children()] == ["c1", "c2", "c3", "c4", "output"]
    assert not any(isinstance(module, nn.MaxPool2d) for module in model.modules())


def test_what_an_untrained_model_carries() -> None:
    model = build_model("reference", num_classes=3)
    assert (model.name, model.arguments) == ("reference", {"num_classes": 3, "dropout": 0.0})
    assert model.classes == ("0", "1", "2")
    assert model.input_size == (3, 32, 32)


def test_dropout_reaches_all_nine_layers() -> None:
    layers = [module for module in build_model("reference", dropout=0.3).modules() if isinstance(module, nn.Dropout)]
    assert [layer.p for layer in layers] == [0.3] * 9


def test_dropout_drops_in_training_only() -> None:
    model = seeded(dropout=0.5).eval()
    assert torch.equal(model(waves()), model(waves()))
    model.train()
    assert not torch.equal(model(waves()), model(waves()))
    model = seeded(dropout=0.0).train()
    assert torch.equal(model(waves()), model(waves()))


@pytest.mark.parametrize("num_classes", [1, 7, 100])
def test_any_number_of_classes(num_classes: int) -> None:
    model = build_model("reference", num_classes=num_classes)
    assert model(waves()).shape == (2, num_classes)
    assert model.num_parameters == 150_576 + 64 * (num_classes - 10)
    assert len(model.classes) == num_classes


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (28, 40), (33, 17), (1, 1)])
def test_any_size_of_image(height: int, width: int) -> None:
    logits = seeded().eval()(waves(height, width))
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()


def test_one_image_gives_one_row() -> None:
    """An image more or less in the batch changes nothing, and one alone is still a row of logits."""
    model = trained()
    torch.testing.assert_close(model(waves()[1:]), model(waves())[1:], rtol=1e-4, atol=1e-5)


def test_memory_formats_agree() -> None:
    model, images = trained(), waves()
    expected = model(images)
    assert expected.std() > 0.1
    last = trained().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(
        last(images.contiguous(memory_format=torch.channels_last)), expected, rtol=1e-3, atol=1e-4
    )


def test_gradients_reach_every_parameter() -> None:
    model = seeded().train()
    model(waves()).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("name", ["resnet", "", "Reference"])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(ValueError, match=rf"unknown model '{name}': expected one of .*reference"):
        build_model(name)


def test_an_unknown_argument() -> None:
    with pytest.raises(TypeError, match="depth"):
        build_model("reference", depth=3)


def test_an_impossible_dropout() -> None:
    with pytest.raises(ValueError, match="dropout"):
        build_model("reference", dropout=1.5)


def test_every_model_can_be_built_again_from_what_it_carries() -> None:
    assert "reference" in list_models()
    assert list_models() == sorted(MODELS)
    for name in list_models():
        model = build_model(name, num_classes=4)
        again = build_model(model.name, **model.arguments)
        assert model.name == name
        assert again.arguments == model.arguments
        assert [tensor.shape for tensor in again.parameters()] == [tensor.shape for tensor in model.parameters()]


def test_the_smaller_teacher_has_as_many_parameters_as_by_hand() -> None:
    """Convolutions without bias, and two for each channel of a BatchNorm."""
    expected = 9 * 3 * 32 + 2 * 32  # the stem
    for before, width in ((32, 64), (64, 256), (256, 256)):
        expected += 9 * before * width + 9 * width * width + 2 * 2 * width
    assert build_model("teacher-2m").num_parameters == expected + 256 * 10 == 1_978_016


def test_teachers_are_named_after_their_size() -> None:
    assert set(TEACHERS) <= set(list_models())
    sizes = {name: build_model(name).num_parameters for name in TEACHERS}
    assert [name for name, size in sizes.items() if name != f"teacher-{round(size / 1e6)}m"] == []
    assert list(sizes.values()) == sorted(sizes.values())


@pytest.mark.parametrize("name", TEACHERS)
def test_teachers_take_images_of_several_sizes(name: str) -> None:
    model = build_model(name, num_classes=7)
    for mode in (True, False):
        model.train(mode)
        for side in (32, 24, 16):
            logits = model(waves(side, side))
            assert logits.shape == (2, 7)
            assert logits.isfinite().all()
    assert model.arguments == {"num_classes": 7, "dropout": 0.0}


@pytest.mark.parametrize("name", TEACHERS)
def test_dropout_of_a_teacher_drops_in_training_only(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, dropout=0.5)
    assert [module.p for module in model.modules() if isinstance(module, nn.Dropout)] == [0.5]
    model.train()
    assert not torch.equal(model(waves(16, 16)), model(waves(16, 16)))
    model.eval()
    assert torch.equal(model(waves(16, 16)), model(waves(16, 16)))
    assert torch.equal(build_model(name).train()(waves(16, 16)).isfinite(), torch.ones(2, 10, dtype=torch.bool))


@pytest.mark.parametrize("name", TEACHERS)
def test_every_parameter_of_a_teacher_learns(name: str) -> None:
    model = build_model(name).train()
    model(waves(16, 16)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_teacher_is_saved_and_loaded(tmp_path: Path) -> None:
    model = build_model("teacher-2m", num_classes=5, dropout=0.25).train()
    model(waves())  # moves the statistics of BatchNorm
    save_weights(tmp_path / "teacher.safetensors", model, {})
    again, metadata = load_weights(tmp_path / "teacher.safetensors")
    assert (again.name, again.arguments) == ("teacher-2m", {"num_classes": 5, "dropout": 0.25})
    assert metadata["num_parameters"] == model.num_parameters
    assert not again.training
    assert torch.equal(again(waves()), model.eval()(waves()))


def trained() -> Classifier:
    """The seeded network in eval mode, with the statistics of `waves()`: without, it shrinks all logits to nothing."""
    model = seeded()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(waves())
    return model.eval()


@pytest.mark.parametrize("name", TABLE)
def test_the_family_keeps_its_budgets(name: str) -> None:
    """At most as many parameters as the name promises, and under 60 million multiply-adds: mind the CPU user."""
    budget, _ = TABLE[name]
    summary = summarize(name, budget=budget)
    assert 0.99 * budget < summary.num_parameters <= budget
    assert summary.within_budget
    assert summary.num_multiply_adds < 60_000_000


def test_the_budgets_are_the_published_ones() -> None:
    assert {name: budget for name, (budget, _) in TABLE.items()} == {
        "thimble-78k": 78_666,
        "thimble-97k": 97_530,
        "thimble-150k": 150_576,
    }


def test_a_table_over_its_budget_is_refused_when_the_network_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLE, "thimble-78k", (78_665, TABLE["thimble-78k"][1]))
    with pytest.raises(ValueError, match=r"^thimble-78k has 78,666 parameters: expected at most 78,665, see TABLE$"):
        build_model("thimble-78k")


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("size", [16, 32, 33, 64])
def test_the_family_gives_logits_for_images_of_any_size(name: str, size: int) -> None:
    model = build_model(name, num_classes=7, dropout=0.5)
    assert model(torch.randn(2, 3, size, size)).shape == (2, 7)
    assert len(model.classes) == 7


def test_a_block_begins_near_the_identity_and_still_learns() -> None:
    model = build_model("thimble-78k")
    blocks = [module for module in model.modules() if isinstance(module, Residual)]
    assert len(blocks) == sum(stage.blocks for stage in TABLE["thimble-78k"][1])
    images = torch.randn(8, 48, 8, 8)
    with torch.no_grad():
        change = blocks[-1](images) - images
    assert 0.1 < float(change.std()) < 0.3
    model(torch.randn(8, 3, 16, 16)).square().sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.parameters())


def test_the_receptive_field_of_a_residual_network_is_what_the_gradient_says() -> None:
    model = build_model("thimble-78k")
    assert summarize(model).receptive_field == receptive_field_by_gradient(model) == 37


@pytest.mark.parametrize("layer", [HalvingDepthwise(8), GlobalAverage()], ids=["halving", "average"])
@pytest.mark.parametrize("size", [(32, 32), (16, 16), (15, 20), (1, 1)])
def test_a_layer_that_trains_another_way_is_the_same_function(layer: nn.Module, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 8, *size, requires_grad=True)
    results, gradients = [], []
    for mode in (True, False):
        results.append(layer.train(mode)(images))
        gradients.append(torch.autograd.grad(results[-1].square().sum(), images)[0])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", TABLE)
def test_gradients_stay_in_the_memory_layout_of_the_images(name: str) -> None:
    """Else BatchNorm's backward and the additions of every block behind the head run several times slower."""
    model = build_model(name).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    layouts = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        output.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: layouts.append(gradient.is_contiguous(memory_format=torch.channels_last))
        )

    for module in model.modules():
        if isinstance(module, Residual):
            module.register_forward_hook(note)
    model(waves(16, 16).contiguous(memory_format=torch.channels_last)).square().sum().backward()
    assert len(layouts) == sum(stage.blocks for stage in TABLE[name][1])
    assert all(layouts)
