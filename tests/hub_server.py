"""What the tests of the Hugging Face Hub share: a Hub of one repository, on no network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import thimble.sharing.hub


def http_error(kind: Any, status: int, message: str = "The server's words.\n\nAnd more.") -> Exception:
    """As the Hub's client raises it for an answer of the server's."""
    error: Exception = kind(message, response=SimpleNamespace(status_code=status, headers={}, request=None))
    return error


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A Hub of one repository: what it is asked, what it gets, and what it fails with."""
    found = SimpleNamespace(asked=[], files={}, file=None, error=None)

    class Api:
        def __init__(self, token: str | None) -> None:
            found.token = token

        def create_repo(self, **options: Any) -> SimpleNamespace:
            if found.error is not None:
                raise found.error
            found.created = options
            name = options["repo_id"]
            return SimpleNamespace(repo_id=name if "/" in name else f"me/{name}")

        def upload_folder(self, *, folder_path: str, **options: Any) -> str:
            found.uploaded = options
            found.files = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
            return "https://huggingface.co/me/mine/commit/1"

    def download(**options: Any) -> str:
        found.asked.append(options)
        if found.error is not None:
            raise found.error
        return str(found.file)

    monkeypatch.setattr(thimble.sharing.hub, "HfApi", Api)
    monkeypatch.setattr(thimble.sharing.hub, "hf_hub_download", download)
    return found
