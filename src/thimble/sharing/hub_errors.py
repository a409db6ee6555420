"""Turn the Hugging Face Hub's errors into one-line errors that say what was found, what was expected and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from huggingface_hub import errors

from thimble.errors import RunError, UserError
from thimble.storage.weights import WEIGHTS_FILE


@contextlib.contextmanager
def told(repo: str, *, writing: bool) -> Iterator[None]:
    """Turn huggingface_hub's exceptions into Thimble's one-line errors."""
    try:
        yield
    except errors.HFValidationError as error:
        missing = "" if writing else "no such file or folder, and "
        raise UserError(f"{repo!r}: {missing}not a valid repository name; expected OWNER/NAME") from error
    except (errors.HTTPError, errors.EntryNotFoundError, OSError) as error:
        raise _translated(error, repr(repo), writing) from error


def _translated(error: Exception, repo: str, writing: bool) -> UserError | RunError:
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    status = getattr(response, "status_code", None)
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    missing = isinstance(error, errors.RepositoryNotFoundError)
    if isinstance(error, errors.GatedRepoError) or status == 403:
        return UserError(
            f"{repo}: the Hub refused access ({reason}): ask the owner for access, or log in with hf auth login"
        )
    if isinstance(error, errors.LocalTokenNotFoundError) or (status == 401 and (writing or not missing)):
        return UserError(
            f"{repo}: not logged in to the Hugging Face Hub, or the token is wrong: log in with hf auth login"
        )
    if missing:
        return UserError(
            f"no file or folder {repo}, and no public repository of this name on the Hugging Face Hub: expected a"
            " Thimble model's OWNER/NAME; for a private repository, log in with hf auth login"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{repo} has no such revision: expected one of its branches, tags or commits")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return UserError(f"{repo} has no {WEIGHTS_FILE}: expected a repository that Thimble's push_to_hub created")
    if isinstance(error, errors.LocalEntryNotFoundError):
        reason = "it cannot be reached, and the file is not in the local cache"
    return RunError(f"{repo}: the Hugging Face Hub failed ({reason}): check the network, or try again later")
