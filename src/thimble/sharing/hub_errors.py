"""What goes wrong with the Hugging Face Hub, told in one line: what was found, what was expected, what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from huggingface_hub import errors

from thimble.errors import RunError, UserError
from thimble.storage.weights import WEIGHTS_FILE


@contextlib.contextmanager
def told(repo: str, *, writing: bool) -> Iterator[None]:
    """Turn what huggingface_hub raises into errors of ours, of one line."""
    try:
        yield
    except errors.HFValidationError as error:
        missing = "" if writing else "no such file or folder, and "
        raise UserError(f"{repo!r}: {missing}no repository can be called so; expected OWNER/NAME") from error
    except (errors.HTTPError, errors.EntryNotFoundError, OSError) as error:
        raise _translated(error, repr(repo), writing) from error


def _translated(error: Exception, repo: str, writing: bool) -> UserError | RunError:
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    status = getattr(response, "status_code", None)
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    missing = isinstance(error, errors.RepositoryNotFoundError)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return UserError(f"{repo}: the Hub refuses ({reason}): expected a right to it; ask its owner, or hf auth login")
    if isinstance(error, errors.LocalTokenNotFoundError) or (status == 401 and (writing or not missing)):
        return UserError(f"{repo}: not logged in to the Hugging Face Hub, or with a wrong token; hf auth login")
    if missing:
        return UserError(
            f"no file or folder {repo}, and no such repository on the Hugging Face Hub, or a private one: expected"
            " OWNER/NAME of a Thimble model; for a private one, hf auth login"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{repo} has no such revision: expected a branch, a tag or a commit of it")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return UserError(f"{repo} holds no {WEIGHTS_FILE}: expected a repository that Thimble's push_to_hub made")
    if isinstance(error, errors.LocalEntryNotFoundError):
        reason = "it cannot be reached, and its cache does not have the file"
    return RunError(f"{repo}: the Hugging Face Hub cannot be used ({reason}): check the network, or try again later")
