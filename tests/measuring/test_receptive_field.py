"""The recurrence against published and hand-worked values, and against the gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from thimble.measuring.receptive_field import ReceptiveField, receptive_field_by_gradient, receptive_fields
from thimble.models import build_model

# From the design: the field after each 3x3 convolution of the reference network.
REFERENCE = {
    "c1.0": 3,
    "c1.4": 5,
    "c1.8": 7,
    "c1.12": 9,
    "c2.3": 13,
    "c2.7": 17,
    "c2.11": 21,
    "c3.3": 29,
    "c3.7": 37,
    "c3.11": 45,
    "c4.3": 93,
}


class Residual(nn.Module):
    """A 3x3 convolution beside a 7x7 one: no sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Conv2d(2, 2, 3, padding=1)
        self.large = nn.Conv2d(2, 2, 7, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        result: Tensor = self.small(images) + self.large(images)
        return result


def test_reference_network_by_recurrence() -> None:
    model = build_model("reference")
    fields = receptive_fields(model)
    kernels = {name: m.kernel_size for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert {name: fields[name].size for name, kernel in kernels.items() if kernel == (3, 3)} == REFERENCE
    assert fields["c4.3"].jump == 8
    leaves = [name for name, module in model.named_modules() if not list(module.children())]
    assert list(fields) == leaves


@pytest.mark.parametrize(("layer", "expected"), REFERENCE.items())
def test_reference_network_by_gradient(layer: str, expected: int) -> None:
    assert receptive_field_by_gradient(build_model("reference"), layer, size=expected + 24) == expected


def test_the_default_layer_is_the_last_before_global_pooling() -> None:
    assert receptive_field_by_gradient(build_model("reference"), size=120) == 93


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("padded", [True, False])
def test_a_stem_of_large_strides_and_kernels(kernel: int, stride: int, padded: bool) -> None:
    stem = nn.Conv2d(1, 2, kernel, stride, padding=kernel // 2 if padded else 0)
    model = nn.Sequential(stem, nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1))
    expected = ReceptiveField(kernel + 2 * stride, stride)
    assert receptive_fields(model)["2"] == expected
    if kernel >= stride:  # else it does not see every pixel, and the middle one may be one that it does not
        assert receptive_field_by_gradient(model, size=96) == expected.size


@pytest.mark.parametrize(("side", "jump"), [(32, 1), (64, 2), (96, 3), (128, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_familys_stem(side: int, jump: int, channels: int) -> None:
    model = build_model("thimble-78k", in_channels=channels, input_size=(side, side))
    fields = receptive_fields(model)
    assert fields["stage1.0.0"].jump == jump
    assert receptive_field_by_gradient(model, "stage1.1.0", size=64) == fields["stage1.1.0"].size


def test_pooling_dilation_and_stride_by_hand_and_by_gradient() -> None:
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),  # 5, then 6 at jump 2
        nn.Conv2d(2, 2, 3, dilation=2, padding=2),  # 6 + 2*2*2 = 14
        nn.AvgPool2d(3, stride=2, padding=1),  # 14 + 2*2 = 18 at jump 4
        nn.Conv2d(2, 2, 1, stride=2),  # 18 at jump 8
        nn.Conv2d(2, 2, 2),  # 18 + 8 = 26
    )
    expected = {
        "0.0": ReceptiveField(5, 1),
        "0.1": ReceptiveField(5, 1),
        "0.2": ReceptiveField(6, 2),
        "1": ReceptiveField(14, 2),
        "2": ReceptiveField(18, 4),
        "3": ReceptiveField(18, 8),
        "4": ReceptiveField(26, 8),
    }
    assert receptive_fields(model) == expected
    assert {name: receptive_field_by_gradient(model, name, size=96) for name in expected} == {
        name: field.size for name, field in expected.items()
    }


def test_global_pooling_leaves_the_field() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert set(receptive_fields(model).values()) == {ReceptiveField(3, 2)}
    # The measurement stops before the layers that could not take an image of its size.
    assert receptive_field_by_gradient(model, size=32) == 3


def test_gradient_finds_paths_that_training_closed() -> None:
    """Negative and zero weights, and norms that push everything below zero: every ReLU of the model is dead."""
    first, norm, second = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 3, padding=1)
    nn.init.constant_(first.weight, -1.0)
    nn.init.zeros_(second.weight)
    nn.init.constant_(second.bias, -1.0)  # type: ignore[arg-type]
    norm.running_mean.fill_(1e6)  # type: ignore[union-attr]
    model = nn.Sequential(first, norm, nn.ReLU(), second, nn.ReLU())
    assert model.eval()(torch.rand(1, 1, 9, 9)).count_nonzero() == 0
    assert receptive_field_by_gradient(model, size=16) == 5


def test_gradient_measures_what_the_recurrence_refuses() -> None:
    model = nn.Sequential(Residual())
    with pytest.raises(ValueError, match=r"0 is a Residual: expected nn\.Sequential"):
        receptive_fields(model)
    assert receptive_field_by_gradient(model, "0", size=32) == 7


def test_the_model_is_left_as_it_is() -> None:
    model = build_model("reference", dropout=0.5).train()
    model.get_submodule("c2").eval()
    state = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    with torch.inference_mode():
        assert receptive_field_by_gradient(model, "c1.4", size=32) == 5
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(1, 1, (3, 1)), r"'0' \(Conv2d\) has kernel_size \(3, 1\): expected the same on both axes"),
        (nn.Conv2d(1, 1, 3, stride=(1, 2)), r"stride \(1, 2\)"),
        (nn.ConvTranspose2d(1, 1, 3), "'0' is ConvTranspose2d"),
        (nn.AdaptiveAvgPool2d(2), "'0' is AdaptiveAvgPool2d"),
        (nn.Linear(4, 4), "'0' is Linear"),
    ],
)
def test_the_recurrence_refuses_what_it_does_not_know(layer: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        receptive_fields(nn.Sequential(layer))


def test_the_gradient_refuses_a_field_that_it_cannot_measure() -> None:
    model = build_model("reference")
    with pytest.raises(ValueError, match=r"reaches the border of the 32x32 image"):
        receptive_field_by_gradient(model, "c4.3", size=32)
    with pytest.raises(ValueError, match=r"'output\.0' reaches the border"):
        receptive_field_by_gradient(model, "output.0", size=32)
    with pytest.raises(ValueError, match="no layer 'c9': expected one of c1"):
        receptive_field_by_gradient(model, "c9")
    with pytest.raises(ValueError, match="has no Conv2d layer"):
        receptive_field_by_gradient(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match="without dilation"):
        receptive_field_by_gradient(nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2, dilation=2)), size=32)
