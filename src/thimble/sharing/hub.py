"""Models on the Hugging Face Hub: a ``Classifier`` that can be pushed there and fetched again.

A repository holds Thimble's own weights file, the model card that it makes, and ``config.json``, which says what the
network is to those who do not read weights files. Loading reads the weights file alone, and never unpickles anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any, Self

import torch

from thimble.errors import UserError
from thimble.models.classifier import Classifier
from thimble.storage.find import Model, load_described
from thimble.storage.weights import WEIGHTS_FILE, load_weights, save_weights
from thimble.system.arguments import expanded
from thimble.system.extras import needed
from thimble.system.files import MEBIBYTE, read_file, write_atomically
from thimble.system.json_text import read_object
from thimble.system.scratch import temporary_folder

from .card import LIBRARY, model_card, without_places

with needed("huggingface_hub", by="the Hugging Face Hub", extra="hub"):
    from huggingface_hub import HfApi, ModelCard, ModelHubMixin, hf_hub_download

    from .hub_errors import told

CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_CARRIED = ("name", "arguments", "classes", "mean", "std", "input_size", "num_parameters")
"""What a classifier carries; ``save_weights`` writes it, the name as "model". What else a file says is its run's."""


class HubClassifier(Classifier, ModelHubMixin):  # type: ignore[misc]
    """A ``Classifier`` with ``save_pretrained``, ``push_to_hub`` and ``from_pretrained``.

        HubClassifier.of("runs/mine").push_to_hub("me/mine")
        model = HubClassifier.from_pretrained("me/mine")

    In everything else it is the classifier that it was made of: the same modules under the same names.

    Attributes:
        metadata: the run's own part of the weights file: recipe, less where it was run, data, metrics.
    """

    def __init__(self, model: Classifier, metadata: dict[str, Any] | None = None) -> None:
        """Take over a classifier's modules, which the two then share, and what it carries.

        Args:
            model: on any device, in either mode.
            metadata: what is known of how these weights were made. Once they are others, it is not saved with them.
        """
        super().__init__(
            dict(model.named_children()), name=model.name, arguments=model.arguments, input_size=model.input_size
        )
        self.classes, self.mean, self.std = model.classes, model.mean, model.std
        self.data = model.data
        known = without_places(metadata or {})
        self.metadata = {name: value for name, value in known.items() if name not in ("model", *_CARRIED)}
        self.training = model.training
        self._described = _fingerprint(self)

    @classmethod
    def of(cls, model: Model) -> Self:
        """A model ready for the Hub.

        Args:
            model: a shipped model's name, a weights file or a run folder; or a classifier.

        Raises:
            UserError: there is no such model.
        """
        if isinstance(model, cls):
            return model
        return cls(*load_described(model)[:2])

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> Self:
        """Load a model, on the CPU and in eval mode.

        Args:
            pretrained_model_name_or_path: a folder with ``model.safetensors``, such a file, or OWNER/NAME on the Hub.
            revision: the branch, tag or commit of the repository. Default: its newest.
            token: for a private repository. Default: the one that ``hf auth login`` left.
            cache_dir: where downloads are kept. Default: the Hub's own cache.
            force_download: download what is in the cache already.
            local_files_only: take it from the cache, without asking the Hub.

        Raises:
            UserError: there is no such folder or repository, or it holds no whole Thimble weights file.
            RunError: the Hub cannot be reached, or fails.
        """
        name = str(pretrained_model_name_or_path)
        if os.path.exists(place := expanded(name)):
            return cls(*_load_local(place))
        with told(name, writing=False):
            file = hf_hub_download(
                repo_id=name,
                filename=WEIGHTS_FILE,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
            )
        return cls(*load_weights(Path(file)))

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        half: bool | None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **push_options: Any,
    ) -> str | None:
        """Write the weights, ``config.json`` and a model card into a folder; a card that somebody edited stays.

        Args:
            save_directory: made where needed. Weights that are there are replaced.
            half: write the parameters in float16. Default: if that changes none of them, as with the shipped models.
            repo_id: the repository that the card is for, OWNER/NAME.
            push_to_hub: push to that repository too (default: of the folder's name); with ``push_options``.

        Returns:
            What ``push_to_hub`` returns, if it was called.

        Raises:
            UserError: the folder is a run's or another program's; or pushing is refused.
            RunError: it cannot be written; or pushing fails.
        """
        folder = expanded(save_directory)
        _refuse_others(folder)
        half = _is_half(self) if half is None else half
        stale = _is_unedited(folder, repo_id)
        save_weights(folder / WEIGHTS_FILE, self, self._known(), half=half)
        config = {"library_name": LIBRARY, **{name: getattr(self, name) for name in _CARRIED}}
        write_atomically(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
        if stale or not (folder / CARD_FILE).exists():
            write_atomically(folder / CARD_FILE, model_card(folder, repo=repo_id))
        if not push_to_hub:
            return None
        return self.push_to_hub(repo_id or folder.resolve().name, half=half, **push_options)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        half: bool | None = None,
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        commit_message: str = "Push a model with Thimble",
        **upload_options: Any,
    ) -> str:
        """Upload weights, ``config.json`` and model card in one commit; the repository is made where there is none.

        Args:
            repo_id: OWNER/NAME, or NAME of one's own.
            half: as in ``save_pretrained``.
            private: whether a new repository is private. Default: as its owner's settings say.
            token: with the right to write. Default: the one that ``hf auth login`` left.
            branch: the branch. Default: main.
            create_pr: open a pull request instead.
            commit_message: of the commit.
            upload_options: as ``HfApi.upload_folder`` takes them; ``ignore_patterns="README.md"`` keeps the card there.

        Returns:
            The address of the commit.

        Raises:
            UserError: not logged in, no right to write there, or no such name is possible.
            RunError: the Hub cannot be reached, or fails.
        """
        with told(repo_id, writing=True):
            api = HfApi(token=token)
            repo = api.create_repo(repo_id=repo_id, private=private, exist_ok=True).repo_id
        with temporary_folder() as folder:
            self.save_pretrained(folder, half=half, repo_id=repo)
            with told(repo, writing=True):
                commit = api.upload_folder(
                    repo_id=repo,
                    repo_type="model",
                    folder_path=folder,
                    commit_message=commit_message,
                    revision=branch,
                    create_pr=create_pr,
                    **upload_options,
                )
        return str(commit)

    def generate_model_card(self, *, repo_id: str | None = None) -> ModelCard:
        """The model card, as ``save_pretrained`` would write it."""
        with temporary_folder() as folder:
            self.save_pretrained(Path(folder, self.name), repo_id=repo_id)
            return ModelCard(Path(folder, self.name, CARD_FILE).read_text("utf-8"))

    def _known(self) -> dict[str, Any]:
        """What is known of how these weights were made: nothing, once they are others."""
        return self.metadata if _fingerprint(self) == self._described else {}


def _fingerprint(model: Classifier) -> str:
    """A hash of all that the model's answers follow from."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        whole = tensor.detach().cpu()
        whole = whole.float() if whole.is_floating_point() else whole
        digest.update(name.encode() + whole.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _is_half(model: Classifier) -> bool:
    """Whether float16 holds every parameter exactly."""
    parameters = [parameter.detach() for parameter in model.parameters()]
    return all(torch.equal(parameter, parameter.half().to(parameter.dtype)) for parameter in parameters)


def _load_local(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """Load a weights file or a folder that holds one."""
    if path.is_dir() and not (path / WEIGHTS_FILE).exists():
        found = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLED and file.is_file())
        if found:
            raise UserError(
                f"{path} holds {found[0]}, a pickled file, which could run any code and is never loaded: expected"
                f" {WEIGHTS_FILE}, as save_pretrained writes it"
            )
    return load_described(path)[:2]


def _refuse_others(folder: Path) -> None:
    """Raise UserError where ``save_pretrained`` would write over what it did not write."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: expected a folder, or a name for a new one")
    config = folder / CONFIG_FILE
    if not config.exists():
        return
    with contextlib.suppress(UserError):
        if read_object(config).get("library_name") == LIBRARY:
            return
    raise UserError(f"{folder} holds the {CONFIG_FILE} of a run or of another program: expected another folder")


def _is_unedited(folder: Path, repo_id: str | None) -> bool:
    """Whether a folder's card is the one that its weights have, which will be wrong once these are replaced."""
    try:
        return read_file(folder / CARD_FILE, MEBIBYTE) == model_card(folder, repo=repo_id).encode()
    except (ValueError, UserError):
        return False
