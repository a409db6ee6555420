"""A model to ask that nothing asked of it can change, however many threads ask."""

from __future__ import annotations

from torch import nn


def frozen(model: nn.Module) -> nn.Module:
    """A model's double in eval mode that shares the memory of its weights and statistics.

    The double has its own modes and hooks, and none of its weights takes gradients: the model stays as it was found
    while the double works, also if several threads ask at once, or train the model. What they train shows in the
    double, as far as it has come.

    Args:
        model: of any modules, in any mode; the hooks that it has run in the double too. A compiled model's double is
            not compiled.
    """
    while isinstance(model._modules.get("_orig_mod"), nn.Module):  # what torch.compile wraps around a model
        model = model._modules["_orig_mod"]  # type: ignore[assignment]
    return _double(model, {})


def _double(module: nn.Module, doubles: dict[int, nn.Module]) -> nn.Module:
    """``doubles`` has those that were made already, as a module may stand in several places."""
    if id(module) in doubles:
        return doubles[id(module)]
    double: nn.Module = module.__class__.__new__(module.__class__)
    doubles[id(module)] = double
    for name, value in list(vars(module).items()):
        # The registries of modules, parameters, buffers and hooks are dictionaries, and the double needs its own.
        vars(double)[name] = value.copy() if isinstance(value, dict) else value
    vars(double)["training"] = False
    vars(double)["_compiled_call_impl"] = None  # it is bound to the module
    for name, parameter in module._parameters.items():
        double._parameters[name] = None if parameter is None else nn.Parameter(parameter.detach(), requires_grad=False)
    for name, child in module._modules.items():
        double._modules[name] = None if child is None else _double(child, doubles)
    return double
