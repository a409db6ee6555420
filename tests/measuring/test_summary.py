"""The summary of the reference network against the published listing and hand counts, and of odd models."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from thimble.errors import UserError
from thimble.measuring.summary import BUDGET, summarize
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.weights import save_weights

# By hand, for 32x32: (output pixels, inputs per output, output channels) of each convolution.
MULTIPLY_ADDS = {
    "c1": 1024 * (27 * 16 + 144 * 32 + 9 * 32 + 32 * 64) + 256 * (576 * 64),
    "c2": 256 * (64 * 16 + 144 * 32 + 288 * 32) + 64 * (288 * 64),
    "c3": 64 * (64 * 16 + 144 * 32 + 288 * 64) + 16 * (576 * 64),
    "c4": 16 * (64 * 16 + 144 * 64),
    "output": 64 * 10,
}


class WholeImage(nn.Module):
    """A block with a branch, to which the recurrence of the receptive field does not apply."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = images + self.conv(images)
        return result


def small(*layers: nn.Module) -> Classifier:
    return Classifier({"block": nn.Sequential(*layers)}, name="small", arguments={"num_classes": 2})


def test_totals_of_the_reference_network() -> None:
    summary = summarize("reference")
    assert summary.model == "reference"
    assert summary.input_size == (3, 32, 32)
    assert summary.num_parameters == 150_576 == BUDGET
    assert summary.parameter_bytes == 602_304
    assert summary.num_multiply_adds == 24_265_344 == sum(MULTIPLY_ADDS.values())
    assert summary.receptive_field == 93
    assert summary.within_budget


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 64, 64), (1, 96, 96), (3, 128, 128), (1, 64, 100), (1, 8, 8)])
@pytest.mark.parametrize("name", ["reference", "thimble-78k"])
def test_of_a_model_for_other_images(name: str, size: tuple[int, int, int]) -> None:
    model = build_model(name, num_classes=242, in_channels=size[0], input_size=size[1:])
    summary = summarize(model)
    assert summary.input_size == size
    assert summary.num_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert summary.layers[-1].output_shape == (242, 1, 1)
    convolutions = [layer for layer in summary.layers if layer.type in ("Conv2d", "HalvingDepthwise")]
    assert all(layer.num_multiply_adds > 0 and layer.receptive_field for layer in convolutions)
    if name == "thimble-78k":
        first = next(layer for layer in summary.layers if layer.name == "stage1.0.0")
        assert max(first.output_shape[1:]) <= 50
        assert summary.num_multiply_adds <= 100e6
    with pytest.raises(UserError, match=f"expected \\({size[0]}, height, width\\)"):
        summarize(model, (4 - size[0], *size[1:]))


def test_layers_of_the_reference_network() -> None:
    layers = summarize("reference").layers
    assert len(layers) == 54  # as many as torchsummary prints
    assert (layers[0].name, layers[0].type, layers[0].output_shape) == ("c1.0", "Conv2d", (16, 32, 32))
    assert (layers[-1].name, layers[-1].type, layers[-1].output_shape) == ("output.1", "Conv2d", (10, 1, 1))
    by_name = {layer.name: layer for layer in layers}
    assert len(by_name) == 54
    assert by_name["c1.12"].output_shape == (64, 16, 16)
    assert by_name["c1.12"].num_parameters == 64 * 64 * 9
    assert (by_name["c1.12"].receptive_field, by_name["c1.12"].jump) == (9, 2)
    assert (by_name["c1.8"].num_parameters, by_name["c1.8"].num_multiply_adds) == (320, 9 * 32 * 1024)
    assert by_name["c1.1"].num_multiply_adds == 0
    assert sum(layer.num_parameters for layer in layers) == 150_576
    for block, expected in MULTIPLY_ADDS.items():
        assert sum(layer.num_multiply_adds for layer in layers if layer.name.split(".")[0] == block) == expected


def test_another_input_size() -> None:
    summary = summarize("reference", (3, 64, 32))
    assert summary.layers[0].output_shape == (16, 64, 32)
    # All but the last layer, which follows the global pooling, work on twice the pixels.
    assert summary.num_multiply_adds == 2 * (24_265_344 - 640) + 640
    assert summary.num_parameters == 150_576


def test_more_classes_exceed_the_budget() -> None:
    summary = summarize(build_model("reference", num_classes=11))
    assert summary.num_parameters == 150_640
    assert not summary.within_budget


def test_another_budget_is_met_or_exceeded() -> None:
    for budget, met in ((150_576, True), (150_575, False), (1, False), (10**9, True)):
        summary = summarize("reference", budget=budget)
        assert (summary.budget, summary.within_budget) == (budget, met)
        assert (summary.to_dict()["budget"], summary.to_dict()["within_budget"]) == (budget, met)
        assert summary.layers == summarize("reference").layers
    assert BUDGET == 150_576 == summarize("reference").budget


def test_a_weights_file_is_summarized(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(path, build_model("reference", num_classes=4), {})
    summary = summarize(path)
    assert summary.layers[-1].output_shape == (4, 1, 1)
    assert summarize(str(path)) == summary


def test_the_model_and_the_random_stream_are_left_as_they_are() -> None:
    model = build_model("reference").train()
    model.get_submodule("c2").eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    summarize(model)
    assert True in modes
    assert False in modes
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_branch_has_no_receptive_field_but_all_the_rest() -> None:
    summary = summarize(small(WholeImage(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)))
    assert [layer.name for layer in summary.layers] == ["block.0.conv", "block.1", "block.2", "block.3"]
    assert {layer.receptive_field for layer in summary.layers} == {None}
    assert summary.receptive_field is None
    assert summary.num_multiply_adds == 27 * 3 * 1024 + 3 * 2
    assert summary.num_parameters == 84 + 8


def test_a_shared_layer_counts_its_parameters_once_and_its_work_twice() -> None:
    shared = nn.Conv2d(3, 3, 3, padding=1, bias=False)
    summary = summarize(small(shared, shared, nn.AdaptiveAvgPool2d(1)))
    assert summary.num_parameters == 81 == sum(layer.num_parameters for layer in summary.layers)
    assert summary.num_multiply_adds == 2 * 81 * 1024 == sum(layer.num_multiply_adds for layer in summary.layers)


def test_frozen_and_half_precision_models_count_the_same() -> None:
    model = build_model("reference").bfloat16().requires_grad_(False)
    assert summarize(model) == summarize("reference")


def test_to_dict_is_plain_json() -> None:
    values = summarize("reference").to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["budget"] == 150_576
    assert values["within_budget"] is True
    assert values["parameter_bytes"] == 602_304
    assert values["layers"][0] == {
        "name": "c1.0",
        "type": "Conv2d",
        "output_shape": [16, 32, 32],
        "num_parameters": 432,
        "num_multiply_adds": 442_368,
        "receptive_field": 3,
        "jump": 1,
    }


@pytest.mark.parametrize("size", [(1, 32, 32), (3, 0, 32), (3, 32)])
def test_an_impossible_input_size_is_the_users_mistake(size: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match=r"expected \(3, height, width\)"):
        summarize("reference", size)


def test_an_image_too_small_for_the_layers_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"model small cannot take an image of \(3, 2, 2\): .*[Kk]ernel size"):
        summarize(small(nn.Conv2d(3, 2, 5)), (3, 2, 2))


def test_an_unknown_model_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model"):
        summarize(tmp_path / "nothing")
