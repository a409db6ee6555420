"""The verb card."""

from __future__ import annotations

from pathlib import Path

from thimble.cli.options import Data, Model, say


def card(
    model: Model,
    output: Path | None = None,
    repo: str | None = None,
    measure: bool = False,
    data: Data | None = None,
    data_dir: Path | None = None,
) -> int:
    """Write a model card for MODEL in Hugging Face's format, from what its file records or from a new measurement.

    Args:
        model: A shipped model's name, a weights file or a run folder.
        output: Markdown file to write; an existing file is replaced. Default: print the card.
        repo: The Hugging Face repository that the card is for, OWNER/NAME.
        measure: Measure MODEL on the test images now, instead of using the results that its file records.
        data: The dataset to measure on. Default: the one that MODEL was trained on.
        data_dir: Folder that contains `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
    """
    from thimble.sharing.card import model_card, write_card

    if output is None:
        print(model_card(model, repo=repo, measure=measure, data=data, data_dir=data_dir), end="")
    else:
        say(f"wrote {write_card(model, output, repo=repo, measure=measure, data=data, data_dir=data_dir)}")
    return 0
