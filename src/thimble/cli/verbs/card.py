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
    """Write a model card of MODEL, as Hugging Face shows it: only what its file records, or what is measured now.

    Args:
        model: A shipped model's name, a weights file or a run folder.
        output: Markdown file to write, replaced if it exists. Default: the card is printed.
        repo: The repository that it is for, OWNER/NAME.
        measure: Test MODEL on the test images now, instead of telling what its file records.
        data: To measure, the dataset whose test images to use. Default: the one that MODEL was trained on.
        data_dir: Folder that holds `cifar-10-batches-bin/`, to measure. Default: $THIMBLE_DATA, else the user's cache.
    """
    from thimble.sharing.card import model_card, write_card

    if output is None:
        print(model_card(model, repo=repo, measure=measure, data=data, data_dir=data_dir), end="")
    else:
        say(f"wrote {write_card(model, output, repo=repo, measure=measure, data=data, data_dir=data_dir)}")
    return 0
