"""Make and read banks: files with teachers' logits for K views of every training image, computed once.

With a bank, training a student needs no teacher, whose computation is several times the student's: Z. Shen and E. Xing,
"A Fast Knowledge Distillation Framework for Visual Recognition" (2022, arXiv:2112.01528); F. Faghri et al., "Reinforce
Data, Multiply Impact" (2023, arXiv:2303.08983). ``views`` defines the views.

If there are several teachers, the bank has the mean of their logits. (The mean of their log-probabilities would differ
only by a constant per image, which cancels in the softmax.)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from thimble.data.augment.mirroring import decided
from thimble.data.augment.settings import AugmentConfig
from thimble.data.dataset import ImageDataset
from thimble.data.sources import find_source
from thimble.errors import UserError
from thimble.storage.tensor_file import Layout, TensorFile, open_tensors, save_tensors
from thimble.system.arguments import is_whole
from thimble.system.files import check_output
from thimble.system.machine import has_bfloat16, keep_freed_memory
from thimble.system.seeds import derive_seed
from thimble.system.settings import before

from .distillation import Teacher
from .view_config import ViewConfig
from .views import Views

if TYPE_CHECKING:
    from thimble.data.sources import Data

_BATCH = 500
_SAVE_EVERY_SECONDS = 20.0
_OFFSETS = 2
"""Part of the seed for the order of the views. It keeps that seed different from other seeds of the run."""


@dataclass(frozen=True)
class Bank:
    """A complete bank, as read from its file.

    Attributes:
        path: the file.
        logits: float16 (views, N, num_classes), in the order of the whole training set.
        views: the settings of the views.
        teachers: the name and the SHA-256 of each teacher's file.
        data: the dataset's name, number of images, classes, mean, std and SHA-256.
        checksum: the SHA-256 of the content, in hexadecimal digits. It depends only on the logits and what describes
            them, not on when or in how many sessions the file was written.
    """

    path: Path
    logits: Tensor
    views: ViewConfig
    teachers: list[dict[str, str]]
    data: dict[str, Any]
    checksum: str

    def check(self, data: ImageDataset) -> None:
        """Check that the whole training set is the one for which the bank was made.

        Raises:
            UserError: the data differ; the message names the first difference.
        """
        for name, value in describe(data).items():
            if self.data.get(name) != value:
                raise UserError(
                    f"--bank {self.path} was made for other training images, with {name}"
                    f" {_shown(self.data.get(name))}, not {_shown(value)}: train on those, or make a new bank"
                )


class StoredTeacher:
    """A bank in use during training: picks each image's view for each epoch, with the teacher's logits for it.

    The view changes every epoch, and an image sees all K views in K epochs. The first view depends on the image and the
    seed.

    Args:
        bank: the stored logits.
        data: the training images, all or a subset of the bank's, on the device on which they are augmented.
        seed: the run's seed.
    """

    def __init__(self, bank: Bank, data: ImageDataset, seed: int) -> None:
        device = data.images.device
        self.config, self.checksum = bank.views, bank.checksum
        self.views = Views(bank.views, data, bank.logits.shape[1])
        self.logits = bank.logits.flatten(0, 1).to(device)
        generator = torch.Generator().manual_seed(derive_seed(seed, _OFFSETS))
        self.offsets = torch.randint(bank.views.views, (len(data),), generator=generator).to(device)

    def batch(self, indices: Tensor, epoch: int, plain: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Make a batch: the images in their views, their targets and the teacher's logits.

        Args:
            indices: indices into the data, int64 (n,).
            epoch: from 0.
            plain: whether to use only unmixed views.

        Returns:
            Images and labels or targets, as ``Views.make`` returns them; and logits, float16 (n, num_classes).
        """
        indices = indices.to(self.offsets.device, non_blocking=True)
        turn, mixed = self.offsets[indices] + epoch, self.config.mixed_views
        if plain:
            views = mixed + turn % (self.config.views - mixed)
        else:
            views = self.views.possible(indices, turn % self.config.views)
        images, targets = self.views.make(indices, views, blended=not plain)
        return images, targets, self.logits[views * self.views.num_images + self.views.numbers[indices]]


def describe(data: ImageDataset) -> dict[str, Any]:
    """Describe a training set as JSON values, to tell whether a bank was made for it."""
    return {
        "name": data.name,
        "images": len(data),
        "classes": list(data.classes),
        "mean": list(data.mean),
        "std": list(data.std),
        "sha256": data.checksum(),
    }


def make_bank(
    models: Sequence[str],
    output: Path,
    config: ViewConfig,
    *,
    data: Data = "cifar10",
    data_dir: Path | None = None,
    device: Literal["auto", "cpu", "gpu"] = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Bank:
    """Compute the teachers' logits for all views of all training images, and write them to a file.

    Args:
        models: the teachers, each a shipped model's name, a weights file or a run folder.
        output: the file. If an interrupted call with the same arguments wrote it, this call completes it.
        config: the views.
        data: the dataset whose training images are used: a name or a path, or an ``ImageDataset``.
        data_dir: the folder that has CIFAR-10, or into which it is downloaded. Default: $THIMBLE_DATA, else the user's
            cache.
        device: runs the teachers; in bfloat16 if the device has fast instructions for it.
        progress: called after each view with the number of views done and the number of all views.

    Raises:
        UserError: a teacher does not fit the data, or the file exists and is not this bank.
        RunError: the file cannot be written.
    """
    if not models:
        raise UserError("no MODEL: expected at least one teacher")
    if device == "gpu" and not torch.cuda.is_available():
        raise UserError("--device gpu: PyTorch found no GPU; use --device cpu")
    if not os.path.lexists(output):
        check_output(output)
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    teachers = [Teacher(model, called="MODEL") for model in models]
    whole = find_source(data, data_dir).load("train", progress=True)
    config = dataclasses.replace(config, augment=decided(config.augment, whole))  # the file says what its views have
    for teacher in teachers:
        teacher.check(whole)
        teacher.model.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    described = {
        "kind": "bank",
        "teachers": [{"name": Path(each.name).name, "sha256": each.checksum} for each in teachers],
        "data": describe(whole),
        "views": dataclasses.asdict(config),
    }
    done = _begun(output, described)
    whole = dataclasses.replace(whole, images=whole.images.to(place), labels=whole.labels.to(place))
    views = Views(config, whole, len(whole))
    autocast = torch.autocast(place.type, torch.bfloat16, enabled=has_bfloat16(device))
    if place.type == "cpu":
        keep_freed_memory()
    saved = time.monotonic()
    for view in range(len(done), config.views):
        with autocast:
            done.append(_answers(teachers, views, view))
        last = view + 1 == config.views
        if last or time.monotonic() - saved > _SAVE_EVERY_SECONDS:
            save_tensors(output, {"logits": torch.stack(done)}, {**described, "done": view + 1})
            saved = time.monotonic()
        if progress is not None:
            progress(view + 1, config.views)
    return load_bank(output)


@torch.no_grad()
def _answers(teachers: Sequence[Teacher], views: Views, view: int) -> Tensor:
    """The mean of the teachers' logits for one view of all images, float16 (N, num_classes) on the CPU."""
    answers = []
    for indices in torch.split(torch.arange(views.num_images, device=views.numbers.device), _BATCH):
        images, _ = views.make(indices, torch.full_like(indices, view))
        answers.append(torch.stack([teacher.logits(images) for teacher in teachers]).mean(0))
    return torch.cat(answers).half().cpu()


def _begun(output: Path, described: dict[str, Any]) -> list[Tensor]:
    """The views that an existing file already has, each (N, num_classes); none if there is no file."""
    if not os.path.lexists(output):
        return []
    with open_tensors(output) as file:
        found = dict(file.metadata)
        done, data = found.pop("done", None), described["data"]
        begun = is_whole(done) and found == _plain(described)
        if not begun or not _holds(file, done, data["images"], len(data["classes"])):
            raise UserError(
                f"{output} exists and is not from an interrupted run of this command: choose another --output, or"
                " delete it"
            )
        logits = file.read("logits")
    if not torch.isfinite(logits).all():
        raise UserError(f"{output} has logits that are not finite: choose another --output, or delete it")
    return list(logits)


def _holds(file: TensorFile, *shape: int) -> bool:
    """Whether a file has exactly one tensor: logits of this shape."""
    return file.layouts == {"logits": Layout(torch.float16, shape)}


def load_bank(path: str | Path) -> Bank:
    """Read a bank.

    Raises:
        UserError: the file does not exist, is not a bank, or is incomplete.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, it returns False for an impossible name instead of raising
        raise UserError(f"--bank {path}: no such file; expected a file that thimble bank wrote")
    try:
        with open_tensors(path) as file:
            return _read(path, file)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"--bank {path} is not a bank ({error}): expected a file that thimble bank wrote") from error


def _read(path: Path, file: TensorFile) -> Bank:
    found = file.metadata
    if found["kind"] != "bank":
        raise ValueError(found["kind"])
    settings, data = dict(found["views"]), found["data"]
    augment = {**before(AugmentConfig), **settings["augment"]}
    augment["cutout_size"] = tuple(augment["cutout_size"])
    try:
        views = ViewConfig(**{**settings, "augment": AugmentConfig(**augment)})
    except UserError as error:
        raise ValueError(error) from error
    if found["done"] != views.views:
        raise UserError(
            f"--bank {path} has {found['done']} of {views.views} views: repeat the thimble bank command that wrote it"
        )
    if not _holds(file, views.views, data["images"], len(data["classes"])):
        raise ValueError("its tensors are not float16 logits (views, images, classes)")
    logits = file.read("logits")
    if not torch.isfinite(logits).all():
        raise ValueError("logits that are not finite")
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode())
    digest.update(logits.contiguous().numpy().data)
    return Bank(path, logits, views, list(found["teachers"]), dict(data), digest.hexdigest())


def _plain(value: Any) -> Any:
    """Convert tuples to lists, as a round trip through JSON does."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
