"""Define the settings of the network, and of where and how a run executes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from thimble.system.settings import adopt, later, require, require_part, require_path, require_types, require_whole


@dataclass(frozen=True)
class ModelConfig:
    """The network and its number format."""

    model: str = "reference"
    """Architecture to train; `thimble.list_models()` lists them."""

    dropout: float | None = 0.0
    """Dropout probability inside the network, from 0 to less than 1. None: by the number of training images per
    class."""

    pretrained: str | None = later(None, before=None)
    """Begin with the weights of a trained model of the same architecture: a shipped model's name, a weights file or a
    run folder. All of them are trained; the last layer, which is for its classes, begins anew."""

    whiten: bool = False
    """Initialise the first convolution with the principal components of small patches of the training images."""

    precision: Literal["float32", "bf16", "auto"] = "float32"
    """Number format of the network's arithmetic; the weights are always float32. auto: bf16 if the processor or GPU has
    fast instructions for it, else float32."""

    def __post_init__(self) -> None:
        adopt(self)
        if self.dropout is not None:
            require_part(self, "dropout")
        require(self, "pretrained", lambda name: name is None or name != "", "a model's name or path")
        require_types(self)


@dataclass(frozen=True)
class RunConfig:
    """Where and how to run. These settings are not part of the recipe: a resumed run may change them.

    They do not change the result, except for rounding on another device or in compiled code.
    """

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Device to train on; auto: a GPU if there is one, else the CPU. For several processes, start with torchrun."""

    compile: bool = False
    """Compile the network with torch.compile. It takes up to a minute, needs a C++ compiler, and pays off in long
    runs."""

    workers: int | None = None
    """Processes that prepare augmented images. Default: 0 on the CPU or with `--augmenter batched`; else up to 8."""

    name: str | None = None
    """Name of the run's folder inside `--runs`. Default: model, data and start time."""

    runs: Path = Path("runs")
    """Parent folder of all run folders."""

    overwrite: bool = False
    """If the run folder exists, delete it and start a new run."""

    data_dir: Path | None = None
    """Folder that has `cifar-10-batches-bin/`, or into which it is downloaded. Default: $THIMBLE_DATA, else the user's
    cache."""

    fallback: bool = False
    """If the data cannot be found or downloaded, say so and train on shapes10 instead of stopping."""

    def __post_init__(self) -> None:
        adopt(self)
        require_whole(self, "workers", 0, 256)
        require(self, "name", _is_plain, "a plain folder name; --runs sets its parent folder")
        require_path(self, "runs", "data_dir")
        require_types(self)


def _is_plain(name: str | None) -> bool:
    return name is None or (name not in ("", ".", "..") and Path(name).name == name and "\0" not in name)
