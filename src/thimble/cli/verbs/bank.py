"""The verb bank: a teacher's answers to several views of every training image, for ``train --bank``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from thimble.cli.options import Data, Flat, Models, say
from thimble.training.tricks.view_config import ViewConfig


def bank(
    models: Models,
    output: Path,
    config: Annotated[ViewConfig, Flat] = ViewConfig(),  # noqa: B008 - frozen
    data: Data = "cifar10",
    data_dir: Path | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
) -> int:
    """Ask MODELs about several views of every training image, once, and write their answers to a file.

    A student that learns from the file, thimble train --bank FILE, is spared its teachers' arithmetic. Several teachers
    answer by the mean of their logits. Interrupted, the same command goes on.

    Args:
        models: The teachers, each a shipped model's name, a weights file or a run folder.
        output: The file to write, or to go on with.
        data: The dataset whose training images to use.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        device: Where the teachers answer: a GPU if there is one, else the CPU.
    """
    from thimble.training.tricks.bank import make_bank

    made = make_bank(models, output, config, data=data, data_dir=data_dir, device=device, progress=_tell)
    say(f"wrote {output}: {made.views.views} views of {made.data['images']:,} images, SHA-256 {made.checksum}")
    return 0


def _tell(done: int, of: int) -> None:
    print(f"view {done} of {of}", flush=True)
