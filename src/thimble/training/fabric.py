"""Lightning Fabric: one process, or the several that torchrun started; and the record of where they run."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from thimble.errors import UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy
from thimble.system.machine import processor, versions


@dataclass(frozen=True)
class Launch:
    """Which of how many processes this one is.

    Attributes:
        rank: from 0, among all of them.
        size: how many there are, on all machines.
        local_size: how many there are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1


def launched() -> Launch:
    """How this process was started: by torchrun as one of several, otherwise alone, whatever a scheduler may set.

    Raises:
        UserError: torchrun's variables are not as torchrun sets them; or another program set them for several.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        size = os.environ.get("WORLD_SIZE", "")
        if size.isdecimal() and int(size) > 1:  # several are meant, and as one each they would not be what was meant
            raise UserError(
                f"WORLD_SIZE is {size} in the environment, but torchrun did not start this process: start several"
                " processes with torchrun, or unset WORLD_SIZE to train in one"
            )
        return Launch()
    launch = Launch(_torchruns("RANK"), _torchruns("WORLD_SIZE"), _torchruns("LOCAL_WORLD_SIZE"))
    whole = launch.local_size > 0 and launch.size % launch.local_size == 0
    if not (whole and launch.rank < launch.size and _torchruns("LOCAL_RANK") < launch.local_size):
        raise UserError(
            f"RANK {launch.rank}, WORLD_SIZE {launch.size} and LOCAL_WORLD_SIZE {launch.local_size} in the environment"
            " do not fit together: expected what torchrun sets"
        )
    return launch


def _torchruns(name: str) -> int:
    value = os.environ.get(name, "")
    if not value.isdecimal():
        raise UserError(f"{name} is {value!r} in the environment: expected the whole number that torchrun sets")
    return int(value)


def start_fabric(device: Literal["auto", "cpu", "gpu"], precision: str, launch: Launch | None = None) -> Fabric:
    """Start lightning-fabric on this machine: one process, or all those that torchrun started.

    Raises:
        UserError: a GPU was asked for and there is none.
    """
    launch = launch or launched()
    with warnings.catch_warnings(), _without_schedulers(launch):
        # Importing it costs seconds and may warn of its own dependencies' deprecations: not the user's business.
        warnings.simplefilter("ignore")
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        class Alone(LightningEnvironment):
            """One process, whatever the variables say of a rank."""

            creates_processes_externally = False

            def local_rank(self) -> int:
                return 0

            def node_rank(self) -> int:
                return 0

            def teardown(self) -> None:
                """The variables are the user's."""

    if device == "gpu" and not torch.cuda.is_available():
        raise UserError("--device gpu: PyTorch found no GPU here; expected one, or --device cpu")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces bf16; environment.json says it too
    use_gpu = device != "cpu" and torch.cuda.is_available()
    with _without_schedulers(launch):
        fabric = Fabric(
            accelerator="cuda" if use_gpu else "cpu",
            devices=launch.local_size,
            num_nodes=launch.size // launch.local_size,
            strategy=_data_parallel() if launch.size > 1 else "auto",
            precision="bf16-mixed" if precision == "bf16" else "32-true",
            plugins=[TorchElasticEnvironment() if launch.size > 1 else Alone()],
        )
        fabric.launch()
    return fabric


@contextlib.contextmanager
def _without_schedulers(launch: Launch) -> Iterator[None]:
    """Hide from lightning-fabric what it would take for a scheduler's or its own command line's orders.

    It reads them when it is imported and when it starts, and a stray one raises, or changes device or precision.
    """
    prefixes = ["LT_", "SLURM_", "JSM_"]  # the last two have ranks too
    if launch.size == 1:
        prefixes += ["RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"]
    hidden = {name: value for name, value in os.environ.items() if name.startswith(tuple(prefixes))}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _data_parallel() -> DDPStrategy:
    """Each process keeps the BatchNorm statistics of its own images; a training averages them where they are used."""
    from lightning_fabric.strategies.ddp import DDPStrategy
    from torch.nn.parallel import DistributedDataParallel

    # Newer versions of PyTorch have another name for it, and warn of the old one.
    newer = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    options: dict[str, Any] = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
    return DDPStrategy(**options)


def environment(fabric: Fabric) -> dict[str, Any]:
    """What a person needs to know to repeat a run: versions, processor, threads, devices and the command."""
    program = Path(sys.argv[0])
    ours = program.name.startswith("thimble") or program.parts[-2:] == ("thimble", "__main__.py")
    return {
        "command": ["thimble", *sys.argv[1:]] if ours else None,
        "versions": versions(),
        "platform": platform.platform(),
        "processor": processor(),
        "cpu_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(fabric.device) if fabric.device.type == "cuda" else "cpu",
        "num_processes": fabric.world_size,
    }
