"""Push models to the Hugging Face Hub and load them from there.

A repository has Thimble's weights file, the model card, and ``config.json``, which describes the network for programs
that do not read weights files. Loading reads only the weights file, and never unpickles anything.
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

from .card import LIBRARY, model_card
from .recorded import without_places

with needed("huggingface_hub", by="the Hugging Face Hub", extra="hub"):
    from huggingface_hub import HfApi, ModelCard, ModelHubMixin, hf_hub_download

    from .hub_errors import told

CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_CARRIED = ("name", "arguments", "classes", "mean", "std", "input_size", "fit", "depth", "num_parameters")
"""A classifier's own attributes. ``save_weights`` writes them (the name as "model"); other metadata are the run's."""


class HubClassifier(Classifier, ModelHubMixin):  # type: ignore[misc]
    """A ``Classifier`` with ``save_pretrained``, ``push_to_hub`` and ``from_pretrained``.

        HubClassifier.of("runs/mine").push_to_hub("me/mine")
        model = HubClassifier.from_pretrained("me/mine")

    Apart from these methods, it is the classifier from which it was made, with the same modules and names.

    Attributes:
        metadata: the run's metadata in the weights file: recipe (without folders and devices), data, metrics.
    """

    def __init__(self, model: Classifier, metadata: dict[str, Any] | None = None) -> None:
        """Wrap a classifier; both share their modules.

        Args:
            model: on any device, in train or eval mode.
            metadata: how these weights were trained. Once the weights change, it is no longer saved with them.
        """
        super().__init__(
            dict(model.named_children()), name=model.name, arguments=model.arguments, input_size=model.input_size
        )
        self.classes, self.mean, self.std = model.classes, model.mean, model.std
        self.fit, self.depth, self.data = model.fit, model.depth, model.data
        known = without_places(metadata or {})
        self.metadata = {name: value for name, value in known.items() if name not in ("model", *_CARRIED)}
        self.training = model.training
        self._described = _fingerprint(self)

    @classmethod
    def of(cls, model: Model) -> Self:
        """Load a model and make it ready for the Hub.

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
            revision: the repository's branch, tag or commit. Default: the main branch.
            token: for a private repository. Default: the token that ``hf auth login`` stored.
            cache_dir: the folder for downloads. Default: huggingface_hub's cache.
            force_download: download even if the file is in the cache.
            local_files_only: use only the cache, without asking the Hub.

        Raises:
            UserError: there is no such folder or repository, or it has no valid Thimble weights file.
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
        """Write the weights, ``config.json`` and a model card to a folder; a card that was edited by hand is kept.

        Args:
            save_directory: the folder; created if it does not exist. Existing weights are replaced.
            half: write the parameters in float16. Default: only if this is lossless, as for the shipped models.
            repo_id: the repository for which the card is, OWNER/NAME.
            push_to_hub: also push to this repository (default: one with the folder's name), with ``push_options``.

        Returns:
            What ``push_to_hub`` returns, if it was called.

        Raises:
            UserError: the folder belongs to a run or to another program, or the Hub refuses the push.
            RunError: the folder cannot be written, or the push fails.
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
        """Upload the weights, ``config.json`` and the model card in one commit; create the repository if necessary.

        Args:
            repo_id: OWNER/NAME, or NAME for a repository of your own.
            half: as in ``save_pretrained``.
            private: whether a new repository is private. Default: the owner's setting on the Hub.
            token: a token with write permission. Default: the token that ``hf auth login`` stored.
            branch: the branch. Default: main.
            create_pr: open a pull request instead of committing.
            commit_message: the commit's message.
            upload_options: passed to ``HfApi.upload_folder``; ``ignore_patterns="README.md"`` keeps the Hub's card.

        Returns:
            The commit's URL.

        Raises:
            UserError: not logged in, no write permission, or ``repo_id`` is not a valid name.
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
        """The metadata about the training; empty once the weights have changed."""
        return self.metadata if _fingerprint(self) == self._described else {}


def _fingerprint(model: Classifier) -> str:
    """A hash of the model's parameters and buffers, that is, of everything that determines its outputs."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        whole = tensor.detach().cpu()
        whole = whole.float() if whole.is_floating_point() else whole
        digest.update(name.encode() + whole.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _is_half(model: Classifier) -> bool:
    """Whether float16 can represent every parameter exactly."""
    parameters = [parameter.detach() for parameter in model.parameters()]
    return all(torch.equal(parameter, parameter.half().to(parameter.dtype)) for parameter in parameters)


def _load_local(path: Path) -> tuple[Classifier, dict[str, Any]]:
    """Load a weights file or a folder that has one."""
    if path.is_dir() and not (path / WEIGHTS_FILE).exists():
        found = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLED and file.is_file())
        if found:
            raise UserError(
                f"{path} has {found[0]}, a pickled file, which could run any code and is never loaded: expected"
                f" {WEIGHTS_FILE}, as save_pretrained writes it"
            )
    return load_described(path)[:2]


def _refuse_others(folder: Path) -> None:
    """Raise UserError if ``save_pretrained`` would overwrite files that it did not write."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: expected a folder, or a name for a new one")
    config = folder / CONFIG_FILE
    if not config.exists():
        return
    with contextlib.suppress(UserError):
        if read_object(config).get("library_name") == LIBRARY:
            return
    raise UserError(f"{folder} has a {CONFIG_FILE} from a run or another program: choose another folder")


def _is_unedited(folder: Path, repo_id: str | None) -> bool:
    """Whether a folder's card is exactly what its weights give; then it must be rewritten along with them."""
    try:
        return read_file(folder / CARD_FILE, MEBIBYTE) == model_card(folder, repo=repo_id).encode()
    except (ValueError, UserError):
        return False
