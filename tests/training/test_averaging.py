"""The average of the weights, exponential or of equal shares, against hand-worked values."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from training_runs import tiny

from thimble.models import build_model
from thimble.training.tricks.averaging import WeightAverage


def test_an_average_over_three_steps_by_hand() -> None:
    """Decays 1/10, 2/11 and then 0.2, where 3/12 would be more than was asked for."""
    model = tiny()
    convolution, norm = model.get_submodule("block.0"), model.get_submodule("block.1")
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    nn.init.constant_(convolution.weight, 10.0)
    norm.running_mean.fill_(0.0)
    average = WeightAverage(model, 0.2)
    for step, (weight, mean) in enumerate([(20.0, 1.0), (40.0, 2.0), (80.0, 3.0)]):
        nn.init.constant_(convolution.weight, weight)
        norm.running_mean.fill_(mean)
        norm.num_batches_tracked.fill_(step + 1)
        average.update(model, step)

    first = 0.1 * 10 + 0.9 * 20
    second = 2 / 11 * first + 9 / 11 * 40
    third = 0.2 * second + 0.8 * 80
    averaged = average.model.state_dict()
    assert averaged["block.0.weight"].item() == pytest.approx(third)
    assert averaged["block.1.running_mean"].item() == pytest.approx(0.2 * (2 / 11 * 0.9 + 9 / 11 * 2) + 0.8 * 3)
    assert averaged["block.1.num_batches_tracked"].item() == 3
    assert averaged["block.1.num_batches_tracked"].dtype is torch.int64
    assert convolution.weight.item() == 80.0


def test_no_decay_is_the_model_itself() -> None:
    torch.manual_seed(0)
    model = build_model("reference")
    average = WeightAverage(model, 0.0)
    for step in range(3):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_()
        model(torch.randn(4, 3, 16, 16))  # moves the statistics of BatchNorm
        average.update(model, step)
        expected = model.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in average.model.state_dict().items())


def test_the_average_is_a_model_of_its_own() -> None:
    model = build_model("reference").train()
    average = WeightAverage(model, 0.9)
    own = {tensor.data_ptr() for tensor in average.model.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not any(module.training for module in average.model.modules())
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert (average.model.name, average.model.classes) == (model.name, model.classes)


def averaged_over(weights: list[float], decay: float, swa_start: int | None) -> tuple[list[float], WeightAverage]:
    """The average of one weight after each step, where the model's is 10 at first and then as given."""
    model = tiny()
    weight, norm = model.get_parameter("block.0.weight"), model.get_submodule("block.1")
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    nn.init.constant_(weight, 10.0)
    norm.running_mean.fill_(-10.0)
    average = WeightAverage(model, decay, swa_start)
    found = []
    for step, value in enumerate(weights):
        nn.init.constant_(weight, value)
        norm.running_mean.fill_(-value)
        norm.num_batches_tracked.fill_(7 * (step + 1))
        average.update(model, step)
        found.append(average.model.get_parameter("block.0.weight").item())
    assert weight.item() == weights[-1]
    return found, average


@pytest.mark.parametrize("decay", [0.0, 0.2, 0.9])
def test_stochastic_weight_averaging_is_the_plain_mean_from_its_start_on(decay: float) -> None:
    """Before it, the moving average; at it, the weights of that step alone, whatever was averaged before."""
    weights = [20.0, 40.0, 80.0, 30.0, 60.0, 90.0, 10.0]
    moving, _ = averaged_over(weights[:3], decay, None)
    found, average = averaged_over(weights, decay, 3)
    assert found[:3] == pytest.approx(moving)
    assert found[3:] == pytest.approx([30.0, 45.0, 60.0, 47.5])
    averaged = average.model.state_dict()
    assert averaged["block.1.running_mean"].item() == pytest.approx(-47.5)
    assert averaged["block.1.num_batches_tracked"].item() == 49
    assert averaged["block.1.num_batches_tracked"].dtype is torch.int64


def test_stochastic_weight_averaging_of_a_whole_run_and_of_its_last_step() -> None:
    weights = [20.0, 40.0, 90.0]
    assert averaged_over(weights, 0.9, 0)[0] == pytest.approx([20.0, 30.0, 50.0])
    assert averaged_over(weights, 0.0, 2)[0] == [20.0, 40.0, 90.0]


def test_many_equal_shares_stay_equal() -> None:
    """Of a thousand steps, in float32: no step counts for more than another."""
    torch.manual_seed(0)
    weights = torch.randn(1000).tolist()
    assert averaged_over(weights, 0.0, 0)[0][-1] == pytest.approx(sum(weights) / 1000, abs=1e-5)


def test_without_decay_but_with_equal_shares_the_average_is_a_model_of_its_own() -> None:
    model = build_model("reference").train()
    average = WeightAverage(model, 0.0, 5)
    own = {tensor.data_ptr() for tensor in average.model.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in model.state_dict().values()}
    assert not any(module.training for module in average.model.modules())
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    before = average.model.state_dict()["c1.0.weight"].clone()
    with torch.no_grad():
        model.get_parameter("c1.0.weight").add_(1.0)
    assert torch.equal(average.model.state_dict()["c1.0.weight"], before)
    assert not average.is_model
    assert WeightAverage(model, 0.0).is_model
