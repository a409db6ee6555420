"""Parameter groups, Muon and the learning rate of a step, against hand-worked values."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from training_runs import tiny

from thimble.models import build_model
from thimble.training.muon import Muon, orthogonalize
from thimble.training.optimizers import OptimizerConfig, build_optimizers, parameter_groups
from thimble.training.schedules import one_cycle


def test_only_weights_of_convolutions_decay() -> None:
    model = build_model("reference")
    decayed, free = parameter_groups(model, 0.03)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.03, 0.0)

    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert (len(convolutions), len(norms)) == (16, 14)
    weights = {id(module.weight) for module in convolutions}
    others = {id(module.bias) for module in convolutions if module.bias is not None}
    others |= {id(parameter) for module in norms for parameter in module.parameters()}
    assert len(others) == 2 + 2 * 14
    in_groups = [[id(parameter) for parameter in group["params"]] for group in (decayed, free)]
    assert set(in_groups[0]) == weights
    assert set(in_groups[1]) == others
    assert len(in_groups[0]) + len(in_groups[1]) == len(weights) + len(others) == len(list(model.parameters()))


def test_weights_of_linear_layers_decay_too() -> None:
    layer = nn.Linear(3, 2)
    decayed, free = parameter_groups(layer, 0.1)
    assert [id(parameter) for parameter in decayed["params"]] == [id(layer.weight)]
    assert [id(parameter) for parameter in free["params"]] == [id(layer.bias)]


def test_frozen_parameters_are_left_out() -> None:
    model = tiny()
    next(model.parameters()).requires_grad_(False)
    assert [len(list(group["params"])) for group in parameter_groups(model, 0.1)] == [0, 2]


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_the_optimizer_is_nesterov_sgd(momentum: float) -> None:
    """Two steps on a gradient of one, by hand: the first moves by lr * (1 + m), the second by lr * (1 + m + m * m)."""
    model = tiny()
    weight = next(model.parameters())
    nn.init.zeros_(weight)
    [optimizer] = build_optimizers(model, OptimizerConfig(learning_rate=0.1, momentum=momentum, weight_decay=0.0))
    assert len(optimizer.param_groups) == 2
    for expected in (-0.1 * (1 + momentum), -0.1 * (2 + 2 * momentum + momentum**2)):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        assert weight.item() == pytest.approx(expected)


def test_the_optimizer_decays_what_it_should() -> None:
    model = tiny()
    [optimizer] = build_optimizers(model, OptimizerConfig(learning_rate=0.1, momentum=0.0, weight_decay=0.5))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    convolution, *norm = (parameter.detach() / old for parameter, old in zip(model.parameters(), before, strict=True))
    assert convolution.item() == pytest.approx(0.95)
    assert norm[0].item() == 1.0


def test_muon_takes_the_convolutions_between_input_and_head() -> None:
    """Norms, biases, the depthwise kernel and the head stay with SGD; every parameter is in one optimizer."""
    model = build_model("reference")
    muon, sgd = build_optimizers(model, OptimizerConfig(optimizer="muon", muon_learning_rate=0.03, learning_rate=0.1))
    assert isinstance(muon, Muon)
    assert isinstance(sgd, torch.optim.SGD)
    [group] = muon.param_groups
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    expected = [module.weight for module in convolutions[:-1] if module.groups == 1]
    assert [id(weight) for weight in group["params"]] == [id(weight) for weight in expected]
    assert len(expected) == 14
    rest = [id(parameter) for group in sgd.param_groups for parameter in group["params"]]
    assert sorted(rest + [id(weight) for weight in expected]) == sorted(id(each) for each in model.parameters())
    assert (group["peak"], {each["peak"] for each in sgd.param_groups}) == (0.03, {0.1})


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 5, 40), (2, 40, 5)])
def test_orthogonalizing_brings_singular_values_near_one(shape: tuple[int, ...]) -> None:
    """From 0.1 to 1 of the greatest, to within Jordan's coefficients' own error; singular vectors stay."""
    torch.manual_seed(0)
    least = min(shape[1:])
    left = torch.linalg.qr(torch.randn(shape[0], shape[1], least)).Q
    right = torch.linalg.qr(torch.randn(shape[0], shape[2], least)).Q
    values = torch.linspace(0.1, 1, least).expand(shape[0], -1)
    result = orthogonalize(left @ torch.diag_embed(values) @ right.mT, num_steps=5)
    found = left.mT @ result @ right
    assert torch.diagonal(found, dim1=1, dim2=2).min() > 0.65
    assert torch.diagonal(found, dim1=1, dim2=2).max() < 1.25
    assert (found - torch.diag_embed(torch.diagonal(found, dim1=1, dim2=2))).abs().max() < 1e-4
    assert torch.equal(orthogonalize(torch.zeros(shape)), torch.zeros(shape))


def test_a_step_of_muon_by_hand() -> None:
    """The weights are brought to their norm, and go along the orthogonalised Nesterov momentum, at any scale of it."""
    torch.manual_seed(0)
    start, gradient = torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3)
    results = []
    for scale in (1.0, 1000.0):
        weight = nn.Parameter(start.clone())
        optimizer = Muon([weight], lr=0.1, momentum=0.5)
        weight.grad = scale * gradient
        optimizer.step()
        direction = orthogonalize(gradient.view(1, 4, 18)).view_as(start)
        torch.testing.assert_close(weight.detach(), start * (2.0 / start.norm()) - 0.1 * direction)
        before = weight.detach().clone()
        weight.grad = scale * gradient.flip(0)
        optimizer.step()
        momentum = 0.5 * gradient + gradient.flip(0)
        direction = orthogonalize((gradient.flip(0) + 0.5 * momentum).view(1, 4, 18)).view_as(start)
        torch.testing.assert_close(weight.detach(), before * (2.0 / before.norm()) - 0.1 * direction)
        results.append(weight.detach())
    torch.testing.assert_close(*results)


def test_muon_moves_alike_shapes_as_it_would_one_by_one() -> None:
    torch.manual_seed(0)
    shapes = [(4, 2, 3, 3), (4, 2, 3, 3), (6, 4, 1, 1), (4, 2, 3, 3)]
    together = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    alone = [nn.Parameter(weight.detach().clone()) for weight in together]
    optimizers = [Muon(together, 0.1, 0.9), *(Muon([weight], 0.1, 0.9) for weight in alone)]
    for _ in range(3):
        for weight, other in zip(together, alone, strict=True):
            weight.grad = torch.randn_like(weight)
            other.grad = weight.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for weight, other in zip(together, alone, strict=True):
        torch.testing.assert_close(weight, other)


def test_muon_leaves_what_has_no_gradient() -> None:
    weight = nn.Parameter(torch.randn(4, 4))
    before = weight.detach().clone()
    Muon([weight], lr=0.1, momentum=0.9).step()
    assert torch.equal(weight, before)


def test_one_cycle_by_hand() -> None:
    """Ten steps, two fifths of them up: 1/4, 2/4, 3/4 and 4/4 of the peak, then 6/6 down to 1/6."""
    rates = [one_cycle(step, 10, 12.0, 0.4) for step in range(10)]
    assert rates == pytest.approx([3, 6, 9, 12, 12, 10, 8, 6, 4, 2])


@pytest.mark.parametrize(
    ("num_steps", "warmup_fraction"),
    list(itertools.product([1, 2, 3, 10, 24, 97, 9360], [0.0, 0.1, 0.2, 1 / 3, 0.95, 1.0])),
)
def test_one_cycle_rises_to_its_peak_and_falls(num_steps: int, warmup_fraction: float) -> None:
    peak = 0.2
    rates = torch.tensor([one_cycle(step, num_steps, peak, warmup_fraction) for step in range(num_steps)]).double()
    assert one_cycle(int(rates.argmax()), num_steps, peak, warmup_fraction) == peak
    assert (rates > 0).all()
    top = int(rates.argmax())
    rises, falls = rates[: top + 1].diff(), rates[top:].diff()
    assert (rises > 0).all()
    assert (falls <= 0).all()
    assert (falls[1:] < 0).all()  # the peak may last two steps
    # Straight lines: every step but those at the bend moves by the same amount.
    num_rising = max(1.0, warmup_fraction * num_steps)
    assert rises[:-1].tolist() == pytest.approx([peak / num_rising] * len(rises[:-1]), abs=1e-6)
    num_falling = max(1.0, num_steps - warmup_fraction * num_steps)
    assert falls[1:].tolist() == pytest.approx([-peak / num_falling] * len(falls[1:]), abs=1e-6)
    assert rates[-1].item() == pytest.approx(peak / num_falling)


def test_one_cycle_at_its_edges() -> None:
    assert one_cycle(0, 1, 0.2, 0.2) == 0.2
    assert one_cycle(0, 100, 0.2, 0.0) == 0.2
    assert one_cycle(99, 100, 0.2, 0.0) == pytest.approx(0.002)
    assert one_cycle(0, 100, 0.2, 1.0) == pytest.approx(0.002)
    assert one_cycle(99, 100, 0.2, 1.0) == 0.2
