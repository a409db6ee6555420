"""Save a run's state between any two steps, and restore it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thimble.errors import UserError
from thimble.models.classifier import Classifier
from thimble.storage.state import check_record, open_state, save_state
from thimble.storage.tensor_file import Layout, TensorFile
from thimble.training.tricks.averaging import WeightAverage
from thimble.training.tricks.hard_images import Hardness

from .progress import Progress


def save_progress(
    run: Path,
    progress: Progress,
    model: Classifier,
    optimizers: Sequence[torch.optim.Optimizer],
    average: WeightAverage,
    hardness: Hardness,
) -> None:
    """Save everything that determines the rest of the run, including the random generators.

    Raises:
        RunError: the state could not be written; the previous one is untouched.
    """
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    # Cloned, because an average without decay shares the model's tensors, and safetensors cannot store shared tensors.
    tensors |= {f"average/{name}": tensor.clone() for name, tensor in average.model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            prefix = f"optimizer{number}/{index}/"
            tensors |= {prefix + key: value for key, value in values.items() if value is not None}
    tensors |= {"hardness/last": hardness.last, "hardness/fresh": hardness.fresh}
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    save_state(run, tensors, dataclasses.asdict(progress))


def restore_progress(
    run: Path,
    progress: Progress,
    model: Classifier,
    optimizers: Sequence[torch.optim.Optimizer],
    average: WeightAverage,
    hardness: Hardness,
) -> None:
    """Restore everything that ``save_progress`` saved. The learning rate is not in the state: the step determines it.

    Raises:
        UserError: the state is damaged, or belongs to other data or another model.
    """
    with open_state(run) as file:
        try:
            saved = check_record(file.metadata)
        except ValueError as error:
            raise _foreign(run, str(error)) from error
        _check_same_run(run, saved, progress)
        expected = _expected_layouts(model, optimizers, average, hardness)
        tensors = _read_tensors(run, file, expected)
    for name, value in saved.items():
        setattr(progress, name, value)
    try:
        model.load_state_dict(_under("model/", tensors))
        average.model.load_state_dict(_under("average/", tensors))
        for number, optimizer in enumerate(optimizers):
            _restore_optimizer(optimizer, _under(f"optimizer{number}/", tensors))
        hardness.last.copy_(tensors["hardness/last"])
        hardness.fresh.copy_(tensors["hardness/fresh"])
        torch.set_rng_state(tensors["random/cpu"])
        if "random/cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random/cuda"])
    except RuntimeError as error:  # bytes of the right length may still not be a valid random state
        raise _foreign(run, str(error)) from error


def _check_same_run(run: Path, saved: dict[str, Any], progress: Progress) -> None:
    if saved["num_steps"] != progress.num_steps:
        raise UserError(
            f"{run} has {saved['num_steps']} steps, expected {progress.num_steps}: resume it with the data that it"
            " started with"
        )
    if saved["num_processes"] != progress.num_processes:
        raise UserError(
            f"{run} started with {saved['num_processes']} processes, not {progress.num_processes}: resume it with the"
            " same number, set by torchrun's --nproc-per-node"
        )
    for kind in ("teacher", "bank"):
        began, found = saved[kind], getattr(progress, kind)
        if began != found:
            raise UserError(
                f"{run} started with a --{kind} of SHA-256 {began[:12] or 'none'}, not {found[:12] or 'none'}: resume"
                f" it with the same --{kind}"
            )


def _expected_layouts(
    model: Classifier, optimizers: Sequence[torch.optim.Optimizer], average: WeightAverage, hardness: Hardness
) -> dict[str, Layout]:
    """The layouts of all tensors in a state, except a GPU's generator; an optimizer without momentum saves none."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"average/{name}": tensor for name, tensor in average.model.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        tensors |= {_momentum(number, index): parameter for index, parameter in enumerate(parameters)}
    tensors |= {"hardness/last": hardness.last, "hardness/fresh": hardness.fresh, "random/cpu": torch.get_rng_state()}
    return {name: Layout.of(tensor) for name, tensor in tensors.items()}


def _read_tensors(run: Path, file: TensorFile, expected: dict[str, Layout]) -> dict[str, Tensor]:
    """Read a state's tensors; check all dtypes and shapes first, and name the first that is wrong."""
    layouts = dict(file.layouts)
    cuda = layouts.pop(_CUDA, Layout(torch.uint8, (0,)))  # CUDA itself checks the exact length
    if cuda.dtype is not torch.uint8 or len(cuda.shape) != 1 or cuda.shape[0] > 4096:
        raise _foreign(run, f"{_CUDA} is {cuda}, expected a random generator's state")
    for name, layout in layouts.items():
        if name not in expected:
            raise _foreign(run, f"it has {name[:80]}, which this run does not use")
        if layout != expected[name]:
            raise _foreign(run, f"{name} is {layout}, expected {expected[name]}")
    begun = {name.partition("/")[0] for name in layouts}
    for name in expected:
        part = name.partition("/")[0]
        optional = part.startswith("optimizer") and part not in begun
        if name not in layouts and not optional:
            raise _foreign(run, f"it lacks {name}")
    tensors = {name: file.read(name) for name in file.layouts}
    for name, tensor in tensors.items():
        if tensor.isnan().any() or (tensor.isinf().any() and not name.startswith("hardness/")):
            raise _foreign(run, f"{name} has values that are not finite")
    return tensors


_CUDA = "random/cuda"


def _momentum(number: int, index: int) -> str:
    return f"optimizer{number}/{index}/momentum_buffer"


def _foreign(run: Path, reason: str) -> UserError:
    return UserError(f"the training state of {run} does not fit this run ({reason}): start a new run")


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    # The tensors read have the default memory layout. With a layout unlike its parameter's, a momentum would be added
    # by another kernel, which may round differently.
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if value.shape == parameter.shape:
                values[key] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
