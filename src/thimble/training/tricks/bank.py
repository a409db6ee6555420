"""A bank: the answers of one or more teachers to K views of every training image, computed once and kept in a file.

A student that learns from a bank is spared the teacher's arithmetic, several times its own: Z. Shen and E. Xing, "A
Fast Knowledge Distillation Framework for Visual Recognition" (2022, arXiv:2112.01528); F. Faghri et al., "Reinforce
Data, Multiply Impact" (2023, arXiv:2303.08983). ``views`` says what the views are.

The answers of several teachers are the mean of their logits. (The mean of their log-probabilities is the same but for
a constant per image, which no softmax sees.)
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
"""Sets the seed of the views' order apart from those of the images' order and of mixing."""


@dataclass(frozen=True)
class Bank:
    """Answers, whole and as the file has them.

    Attributes:
        path: the file.
        logits: float16 (views, N, num_classes), by the place of an image in the whole training set.
        views: what was answered.
        teachers: the name and the SHA-256 of each teacher's file.
        data: the dataset's name, number of images, classes, mean, std and SHA-256.
        checksum: the SHA-256 of what the file says, in hexadecimal digits: the same answers to the same views have the
            same, whenever and however often the file was written.
    """

    path: Path
    logits: Tensor
    views: ViewConfig
    teachers: list[dict[str, str]]
    data: dict[str, Any]
    checksum: str

    def check(self, data: ImageDataset) -> None:
        """Refuse a training set, the whole of it, other than the one that the bank was made of.

        Raises:
            UserError: naming the first thing that differs.
        """
        for name, value in describe(data).items():
            if self.data.get(name) != value:
                raise UserError(
                    f"--bank {self.path} was made of data whose {name} is {_shown(self.data.get(name))}, not"
                    f" {_shown(value)}: expected the training images that it was made of"
                )


class StoredTeacher:
    """A bank on its way through a training: which view of each image comes in which epoch, and what it is answered.

    Over as many epochs as there are views an image is seen in each of them once, from a view on that depends on the
    image and the seed.

    Args:
        bank: the answers.
        data: the training images, all or a subset of the bank's, on the device where they are augmented.
        seed: of the run.
    """

    def __init__(self, bank: Bank, data: ImageDataset, seed: int) -> None:
        device = data.images.device
        self.config, self.checksum = bank.views, bank.checksum
        self.views = Views(bank.views, data, bank.logits.shape[1])
        self.logits = bank.logits.flatten(0, 1).to(device)
        generator = torch.Generator().manual_seed(derive_seed(seed, _OFFSETS))
        self.offsets = torch.randint(bank.views.views, (len(data),), generator=generator).to(device)

    def batch(self, indices: Tensor, epoch: int, plain: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The images of a batch in their views, what their labels say and what the teacher answered.

        Args:
            indices: which images of the data, int64 (n,).
            epoch: from 0.
            plain: whether only views of one image are to come.

        Returns:
            images and labels or targets as ``Views.make`` has them; and logits, float16 (n, num_classes).
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
    """What a bank knows of a training set, as JSON has it."""
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
    """Ask teachers about all views of all training images, and write their answers; or go on with a file begun.

    Args:
        models: the teachers, each a shipped model's name, a weights file or a run folder.
        output: the file. One that a call with the same arguments began is gone on with, view by view.
        config: the views.
        data: whose training images: a dataset's name or path, or an ``ImageDataset``.
        data_dir: the folder that holds, or will hold, CIFAR-10. Default: $THIMBLE_DATA, else the user's cache.
        device: where the teachers answer; in bfloat16 if it multiplies that faster.
        progress: told after each view how many of how many there are.

    Raises:
        UserError: a teacher does not fit the data, or the file holds something else.
        RunError: the file cannot be written.
    """
    if not models:
        raise UserError("no MODEL: expected at least one teacher")
    if device == "gpu" and not torch.cuda.is_available():
        raise UserError("--device gpu: PyTorch found no GPU here; expected one, or --device cpu")
    if not os.path.lexists(output):
        check_output(output)
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    teachers = [Teacher(model, called="MODEL") for model in models]
    whole = find_source(data, data_dir).load("train", progress=True)
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
    """The teachers' mean logits for one view of all images, float16 (N, num_classes) on the CPU."""
    answers = []
    for indices in torch.split(torch.arange(views.num_images, device=views.numbers.device), _BATCH):
        images, _ = views.make(indices, torch.full_like(indices, view))
        answers.append(torch.stack([teacher.logits(images) for teacher in teachers]).mean(0))
    return torch.cat(answers).half().cpu()


def _begun(output: Path, described: dict[str, Any]) -> list[Tensor]:
    """The views that a file has already, each (N, num_classes); none without one."""
    if not os.path.lexists(output):
        return []
    with open_tensors(output) as file:
        found = dict(file.metadata)
        done, data = found.pop("done", None), described["data"]
        begun = is_whole(done) and found == _plain(described)
        if not begun or not _holds(file, done, data["images"], len(data["classes"])):
            raise UserError(
                f"{output} exists and is not what this command began: choose another --output, or delete it"
            )
        logits = file.read("logits")
    if not torch.isfinite(logits).all():
        raise UserError(f"{output} has logits that are not finite: choose another --output, or delete it")
    return list(logits)


def _holds(file: TensorFile, *shape: int) -> bool:
    """Whether a file's tensors are logits of that shape, and nothing else."""
    return file.layouts == {"logits": Layout(torch.float16, shape)}


def load_bank(path: str | Path) -> Bank:
    """Read a bank.

    Raises:
        UserError: there is none at this path, or not the whole of one.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name that no file can have
        raise UserError(f"--bank {path}: no such file; expected one that thimble bank wrote")
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
        raise UserError(f"--bank {path} has {found['done']} of {views.views} views: the command that began it goes on")
    if not _holds(file, views.views, data["images"], len(data["classes"])):
        raise ValueError("its tensors are not float16 logits of each view, image and class")
    logits = file.read("logits")
    if not torch.isfinite(logits).all():
        raise ValueError("logits that are not finite")
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode())
    digest.update(logits.contiguous().numpy().data)
    return Bank(path, logits, views, list(found["teachers"]), dict(data), digest.hexdigest())


def _plain(value: Any) -> Any:
    """As JSON gives it back: tuples are lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
