"""Start Lightning Fabric in one process or in each of torchrun's, and record the environment."""

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
    """This process's number, and how many processes train together.

    Attributes:
        rank: this process's number, from 0.
        size: the number of processes on all machines.
        local_size: the number of processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1


def launched() -> Launch:
    """Find out whether torchrun started this process as one of several; any other process trains alone.

    Raises:
        UserError: torchrun's variables are missing or contradict each other; or another program set WORLD_SIZE above 1.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        size = os.environ.get("WORLD_SIZE", "")
        if size.isdecimal() and int(size) > 1:  # several processes were meant: do not let each train alone
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
            " contradict each other: start the processes with torchrun, which sets them"
        )
    return launch


def _torchruns(name: str) -> int:
    value = os.environ.get(name, "")
    if not value.isdecimal():
        raise UserError(
            f"{name} is {value!r} in the environment: expected a whole number; start the processes with torchrun,"
            " which sets it"
        )
    return int(value)


def start_fabric(device: Literal["auto", "cpu", "gpu"], precision: str, launch: Launch | None = None) -> Fabric:
    """Start lightning-fabric in this process, alone or as one of torchrun's.

    Raises:
        UserError: ``device`` is "gpu" and there is none.
    """
    launch = launch or launched()
    with warnings.catch_warnings(), _without_schedulers(launch):
        # The import takes seconds and may show deprecation warnings of its dependencies, which do not help the user.
        warnings.simplefilter("ignore")
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.environments.lightning import LightningEnvironment
        from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

        class Alone(LightningEnvironment):
            """One process, whatever ranks the environment's variables name."""

            creates_processes_externally = False

            def local_rank(self) -> int:
                return 0

            def node_rank(self) -> int:
                return 0

            def teardown(self) -> None:
                """Leave the environment's variables alone: they are the user's."""

    if device == "gpu" and not torch.cuda.is_available():
        raise UserError("--device gpu: PyTorch found no GPU; use --device cpu")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # hide its notice about bf16
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
    """Hide the environment variables of schedulers and of lightning-fabric's own command line from it.

    It reads them at its import and at its start. A stray one raises an error or changes the device or the precision.
    """
    prefixes = ["LT_", "SLURM_", "JSM_"]  # SLURM and JSM set ranks too
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
    """Data parallelism that does not sync BatchNorm's statistics at every step: ``Session.agree`` averages them."""
    from lightning_fabric.strategies.ddp import DDPStrategy
    from torch.nn.parallel import DistributedDataParallel

    # Newer versions of PyTorch renamed this argument and warn about the old name.
    newer = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    options: dict[str, Any] = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
    return DDPStrategy(**options)


def environment(fabric: Fabric) -> dict[str, Any]:
    """Collect what one needs to reproduce a run: versions, processor, threads, devices and the command."""
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
