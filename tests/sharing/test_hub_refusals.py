"""What the Hub's models refuse, and what they say: folders and downloads that are none, a Hub that fails."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from hub_server import http_error, server
from huggingface_hub import errors

from thimble.errors import RunError, UserError
from thimble.sharing.hub import HubClassifier
from thimble.storage.find import load_pretrained
from thimble.storage.weights import save_weights

__all__ = ["server"]


def write_nothing(folder: Path) -> None:
    pass


def write_pickle(folder: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, folder / "pytorch_model.bin")


def write_disguised_pickle(folder: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, folder / "model.safetensors")


def write_truncated(folder: Path) -> None:
    save_weights(folder / "model.safetensors", load_pretrained("reference"), {})
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1000])


def write_foreign(folder: Path) -> None:
    safetensors.torch.save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")


BAD = [
    (write_nothing, r"holds no model\.safetensors: expected the folder of a finished run"),
    (write_pickle, r"has pytorch_model\.bin, a pickled file, which could run any code and is never loaded: expected"),
    (write_disguised_pickle, r"model\.safetensors is a pickled PyTorch file, which could run any code and is never"),
    (write_truncated, r"model\.safetensors is cut short or damaged: expected a complete safetensors file"),
    (write_foreign, r"model\.safetensors is a safetensors file from another program: expected one that Thimble saved"),
]


@pytest.mark.parametrize(("write", "message"), BAD)
def test_a_bad_folder_is_refused_in_a_line(write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        HubClassifier.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("write", "message"), BAD[2:])
def test_a_bad_download_is_refused_too(
    write: Callable[[Path], None], message: str, tmp_path: Path, server: SimpleNamespace
) -> None:
    write(tmp_path)
    server.file = tmp_path / "model.safetensors"
    with pytest.raises(UserError, match=message):
        HubClassifier.from_pretrained("me/mine")


def unreachable() -> Exception:
    error: Exception = errors.LocalEntryNotFoundError("words\nmore words")
    error.__cause__ = OSError("no network")
    return error


def wrong_token() -> Exception:
    error: Exception = errors.LocalEntryNotFoundError("words")
    error.__cause__ = http_error(errors.HfHubHTTPError, 401)
    return error


READING = [
    (
        lambda: http_error(errors.RepositoryNotFoundError, 401),
        UserError,
        "no file or folder 'me/mine', and no public rep",
    ),
    (
        lambda: http_error(errors.GatedRepoError, 403),
        UserError,
        "'me/mine': the Hub refused access .The server's words..: ask",
    ),
    (
        lambda: http_error(errors.RevisionNotFoundError, 404),
        UserError,
        "'me/mine' has no such revision: expected one of its bra",
    ),
    (
        lambda: http_error(errors.RemoteEntryNotFoundError, 404),
        UserError,
        r"'me/mine' has no model\.safetensors: exp",
    ),
    (
        lambda: http_error(errors.HfHubHTTPError, 500),
        RunError,
        "'me/mine': the Hugging Face Hub failed .The se",
    ),
    (wrong_token, UserError, "'me/mine': not logged in to the Hugging Face Hub, or the token is wrong: log in with"),
    (unreachable, RunError, "failed .it cannot be reached, and the file is not in the local cache.: check the"),
    (lambda: errors.OfflineModeIsEnabled("offline mode"), RunError, "failed .offline mode.: check the network"),
    (lambda: errors.LocalTokenNotFoundError("no token"), UserError, "not logged in to the Hugging Face Hub"),
    (lambda: errors.HTTPError("connection refused"), RunError, "failed .connection refused."),
]


@pytest.mark.parametrize(("make", "kind", "message"), READING)
def test_a_fetch_that_fails_is_told_in_a_line(
    make: Callable[[], Exception], kind: type[Exception], message: str, server: SimpleNamespace
) -> None:
    server.error = make()
    with pytest.raises(kind, match=message) as caught:
        HubClassifier.from_pretrained("me/mine")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: http_error(errors.HfHubHTTPError, 401), UserError, "'me/mine': not logged in to the Hugging Face Hub"),
        (lambda: http_error(errors.RepositoryNotFoundError, 401), UserError, "'me/mine': not logged in to the Hugging"),
        (
            lambda: http_error(errors.HfHubHTTPError, 403),
            UserError,
            "'me/mine': the Hub refused access .The server's words..:",
        ),
        (lambda: http_error(errors.HfHubHTTPError, 503), RunError, "'me/mine': the Hugging Face Hub failed"),
    ],
)
def test_a_push_that_fails_is_told_in_a_line(
    make: Callable[[], Exception], kind: type[Exception], message: str, server: SimpleNamespace
) -> None:
    server.error = make()
    with pytest.raises(kind, match=message) as caught:
        HubClassifier.of("reference").push_to_hub("me/mine")
    assert "\n" not in str(caught.value)
    assert not server.files


def test_a_name_that_no_repository_can_have() -> None:
    """The client's own check, before it asks the Hub."""
    with pytest.raises(UserError, match=r"^'a/b/c': no such file or folder, and not a valid repository name; expect"):
        HubClassifier.from_pretrained("a/b/c")
    with pytest.raises(UserError, match=r"^'a/b/c': not a valid repository name; expected OWNER/NAME$"):
        HubClassifier.of("reference").push_to_hub("a/b/c")


def test_without_the_hubs_client_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "thimble.sharing.hub")
    with pytest.raises(UserError, match=r"pip install 'thimble-nets\[hub\]'$") as caught:
        importlib.import_module("thimble.sharing.hub")
    assert "\n" not in str(caught.value)
