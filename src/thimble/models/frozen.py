"""Copy a model for inference; the copy shares its weights, and using it never changes the model."""

from __future__ import annotations

from torch import nn


def frozen(model: nn.Module) -> nn.Module:
    """Copy a model in eval mode; the copy shares the memory of its weights and BatchNorm statistics.

    The copy has its own modes and hooks, and its weights need no gradients. So using it leaves the model as it is, also
    if several threads use it at once or train the model meanwhile. If the model trains, the copy follows.

    Args:
        model: any module, in any mode. The copy runs the hooks that the model has now. The copy of a compiled model is
            not compiled.
    """
    while isinstance(model._modules.get("_orig_mod"), nn.Module):  # torch.compile wraps the model in another module
        model = model._modules["_orig_mod"]  # type: ignore[assignment]
    return _double(model, {})


def _double(module: nn.Module, doubles: dict[int, nn.Module]) -> nn.Module:
    """Copy a module and its children. ``doubles`` has the copies so far, as a module may appear in several places."""
    if id(module) in doubles:
        return doubles[id(module)]
    double: nn.Module = module.__class__.__new__(module.__class__)
    doubles[id(module)] = double
    for name, value in list(vars(module).items()):
        # Modules, parameters, buffers and hooks are registered in dictionaries, and the copy needs its own.
        vars(double)[name] = value.copy() if isinstance(value, dict) else value
    vars(double)["training"] = False
    vars(double)["_compiled_call_impl"] = None  # it is bound to the original module
    for name, parameter in module._parameters.items():
        double._parameters[name] = None if parameter is None else nn.Parameter(parameter.detach(), requires_grad=False)
    for name, child in module._modules.items():
        double._modules[name] = None if child is None else _double(child, doubles)
    return double
