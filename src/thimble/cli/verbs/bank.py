"""The verb bank: store teachers' logits for several views of every training image, for ``train --bank``."""

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
    """Compute teachers' logits for several augmented views of every training image, once, and write them to a file.

    thimble train --bank FILE then learns from the file without running the teachers. The logits of several teachers
    are averaged. If it is interrupted, run the same command again to continue.

    Args:
        models: The teachers: shipped models' names, weights files or run folders.
        output: The file to write, or to continue.
        data: The dataset whose training images to use.
        data_dir: Folder that contains `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        device: Where to run the teachers; auto uses a GPU if there is one, else the CPU.
    """
    from thimble.training.tricks.bank import make_bank

    made = make_bank(models, output, config, data=data, data_dir=data_dir, device=device, progress=_tell)
    say(f"wrote {output}: {made.views.views} views of {made.data['images']:,} images, SHA-256 {made.checksum}")
    return 0


def _tell(done: int, of: int) -> None:
    print(f"view {done} of {of}", flush=True)
