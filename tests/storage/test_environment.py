"""environment.json, whatever it leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from thimble.errors import UserError
from thimble.models.classifier import Classifier
from thimble.sharing.card import model_card
from thimble.storage.environment import read_environment
from thimble.storage.weights import save_weights


@pytest.mark.parametrize(
    "content", ["[]", "", '{"command": "x"}', '{"command": [1]}', '{"command": {"a": 1}}', "[" * 9999]
)
def test_what_no_run_wrote(tmp_path: Path, content: str) -> None:
    (tmp_path / "environment.json").write_text('{"command": null, "versions": {}}')
    assert read_environment(tmp_path)["command"] is None
    (tmp_path / "environment.json").write_text(content)
    with pytest.raises(UserError, match=r"environment\.json") as caught:
        read_environment(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_regular_file(tmp_path: Path, model: Classifier) -> None:
    """Neither the report, which says so, nor the card, which goes without, waits for ever or fills the memory."""
    save_weights(tmp_path / "model.safetensors", model, {})
    path = tmp_path / "environment.json"
    for make in (os.mkfifo, os.mkdir, lambda place: os.symlink("/dev/zero", place)):
        make(path)
        with pytest.raises(UserError, match="expected a regular file"):
            read_environment(tmp_path)
        assert "The command" not in model_card(tmp_path)
        path.rename(tmp_path / f"{len(list(tmp_path.iterdir()))}")
