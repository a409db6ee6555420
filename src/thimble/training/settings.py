"""The settings that no other component owns: which network is trained, and where and how a run runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thimble.system.settings import adopt, require, require_part, require_path, require_types, require_whole


@dataclass(frozen=True)
class ModelConfig:
    """The network and its arithmetic."""

    model: str = "reference"
    """The architecture to train; `thimble.list_models()` names them."""

    dropout: float = 0.0
    """Dropout probability inside the network, from 0 to less than 1."""

    whiten: bool = False
    """Begin with a first convolution that takes the principal components of small patches of the training images."""

    precision: Literal["float32", "bf16", "auto"] = "float32"
    """Arithmetic of the network: float32, or bfloat16 with float32 weights; auto is bf16 if the processor has
    instructions for it, else float32."""

    def __post_init__(self) -> None:
        adopt(self)
        require_part(self, "dropout")
        require_types(self)


@dataclass(frozen=True)
class RunConfig:
    """Where and how to run. None of it is part of the recipe.

    This is the one list of what may differ between a run and its resumption: none of it changes the result, but for
    the rounding of another device or of compiled arithmetic.
    """

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to train: a GPU if there is one, else the CPU. Several processes: start with torchrun."""

    compile: bool = False
    """Compile the network with torch.compile. It takes up to a minute and a C++ compiler, and pays in long runs."""

    workers: int | None = None
    """Processes that augment ahead. Default: 0 on the CPU, whose cores are busy training; up to 8 beside a GPU."""

    name: str | None = None
    """Name of the run's folder in `runs`. Default: model, data and the time of its start."""

    runs: Path = Path("runs")
    """Folder in which each run gets a folder."""

    overwrite: bool = False
    """Start afresh in a run folder that exists, losing what is in it."""

    data_dir: Path | None = None
    """Folder that holds (or will hold) `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache."""

    fallback: bool = False
    """If the data are neither on disk nor to be fetched, say so and train on shapes10 instead of stopping."""

    def __post_init__(self) -> None:
        adopt(self)
        require_whole(self, "workers", 0, 256)
        require(self, "name", _is_plain, "a plain folder name; --runs says where it goes")
        require_path(self, "runs", "data_dir")
        require_types(self)


def _is_plain(name: str | None) -> bool:
    return name is None or (name not in ("", ".", "..") and Path(name).name == name and "\0" not in name)
