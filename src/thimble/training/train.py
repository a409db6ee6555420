"""Train a model: from a configuration to a run folder with a trained, tested and saved model.

This module prepares the run, and finishes it: it tests the last averaged weights once and saves them. The epochs and
steps are in ``loop``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from thimble.data.dataset import ImageDataset
from thimble.data.rows import unread
from thimble.data.source import DataUnavailable, Source
from thimble.data.sources import SOURCES, find_source
from thimble.data.split import hold_out, joined, split
from thimble.errors import Interrupted, UserError
from thimble.measuring.evaluation import Evaluation, evaluate
from thimble.models import list_models
from thimble.models.classifier import Classifier
from thimble.storage.logs import Row, write_logs
from thimble.storage.run_folder import check_place
from thimble.storage.weights import WEIGHTS_FILE, save_weights
from thimble.system.arguments import expanded, take
from thimble.system.machine import has_bfloat16
from thimble.training.tricks.bank import load_bank
from thimble.training.tricks.distillation import Teacher

from .adapting import adapted, check_length
from .claim import Claim
from .config import TrainConfig, headline
from .config_file import check_same_data, read_config, source_of_run, to_dict
from .fabric import launched, start_fabric
from .loop import train_epochs
from .observer import Observer
from .recipes import default_recipe, find_recipe
from .session import Session, begin, compiling
from .signals import stop_on_signal

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from thimble.data.sources import Data


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        run: its folder.
        model: the averaged model, in eval mode, on the CPU.
        history: one row of metrics.csv per epoch.
        test: the evaluation on the test images.
    """

    run: Path
    model: Classifier
    history: list[Row]
    test: Evaluation


def train(
    config: TrainConfig | None = None,
    *,
    data: Data | None = None,
    recipe: str | None = None,
    resume: str | Path | None = None,
    observer: Observer | None = None,
    **changes: Any,
) -> TrainResult:
    """Train a model, test it once, and save everything in a run folder.

    Args:
        config: the settings; by default the recipe's, or the resumed run's.
        data: training and test data, instead of the settings' dataset: a dataset's name, a path to own images, a pair
            of ``ImageDataset`` (training, test), or one ``ImageDataset``, of which always the same 15% become test
            images.
        recipe: one of ``recipes.RECIPES``, instead of ``config``. Default: ``own`` for a path to own images, else
            ``fast``.
        resume: the folder of a run to resume instead of starting a new one. On the CPU, with the same number of
            threads, the result is that of an uninterrupted run, to the last bit.
        observer: is told about the progress.
        changes: settings to change, by name, e.g. ``thimble.train(epochs=2, learning_rate=0.1)``.

    Raises:
        UserError: the settings, the data or the folder are wrong, or another process trains in the folder.
        RunError: the loss is no longer finite, the disk is full, or the folder was moved or deleted.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP; the run can be resumed.
    """
    config = take("config", config, TrainConfig | None, "a TrainConfig")
    recipe = take("recipe", recipe, str | None, "the name of a recipe")
    run: Path | None = take("resume", resume, Path | None, "the folder of a run")
    observer = take("observer", observer, Observer | None, "an Observer")
    if recipe is not None and (config is not None or resume is not None):
        other = "resume" if config is None else "config"
        raise UserError(f"recipe={recipe!r} and {other}: use recipe or {other}, not both")
    if config is None:
        named = data if data is not None else changes.get("data")
        config = find_recipe(recipe or default_recipe(named)) if run is None else read_config(run)
    if isinstance(data, str | os.PathLike):
        changes["data"], data = os.fspath(data), None
    source = None if data is None else find_source(hold_out(data) if isinstance(data, ImageDataset) else data)
    if source is not None:
        changes["data"] = source.name
    config = config.changed(**changes)
    place = expanded(config.dataset.data)
    if source is None and config.dataset.data not in SOURCES and os.path.lexists(place):
        config = config.changed(data=os.path.abspath(place))  # the run may go on from another working directory
    if config.network.precision == "auto":  # decided once: a resumed run keeps it, also on another machine
        config = config.changed(precision="bf16" if has_bfloat16(config.run.device) else "float32")
    observer = observer or Observer()
    if config.network.model not in list_models():
        raise UserError(f"--model {config.network.model}: expected one of {', '.join(list_models())}")
    check_place(run or config.run.runs / (config.run.name or ""))
    if run is not None:
        config = config.changed(fallback=False)  # a resumed run must not change its data
    launch = launched()
    with Claim(config, run, first=launch.rank == 0) as claim:
        source = source or source_of_run(run, config)
        if run is not None:
            check_same_data(run, config, source)
        taught = config.distillation
        teacher = None if taught.teacher is None else Teacher(taught.teacher)  # before the download, to fail early
        bank = None if taught.bank is None else load_bank(taught.bank)
        if bank is not None:  # record the augmentation that the bank's views really have
            config = config.changed(augment=bank.views.augment, mix_probability=bank.views.mixed_share)
        fabric = start_fabric(config.run.device, config.network.precision, launch)
        config, source, whole = _load_data(config, source, fabric, observer)
        observer.data(source)
        if bank is not None:
            bank.check(whole)
        images, validation = _divided(config, source, whole)
        config = adapted(config, source, images, observer.message)
        check_length(config, len(images), fabric.world_size)
        return _trained(begin(config, claim, fabric, source, images, validation, teacher, bank, observer))


def _trained(session: Session) -> TrainResult:
    """Train to the end, test and save; if interrupted, say how to resume."""
    try:
        # Only the loop delays signals to finish a step: a download or a test may stop at once.
        with stop_on_signal() as stop, compiling(session.config.run.compile):
            train_epochs(session, stop)
        return _finish(session)
    except KeyboardInterrupt:  # a second Ctrl-C, or one during the test
        raise Interrupted(
            f"interrupted: resume from its last state with thimble train --resume {session.run}"
        ) from None
    finally:
        if session.curves:
            session.curves.close()


def _load_data(
    config: TrainConfig, source: Source, fabric: Fabric, observer: Observer
) -> tuple[TrainConfig, Source, ImageDataset]:
    """Load the training images; return them with the configuration and the source, which the fallback changes."""
    with fabric.rank_zero_first():  # the first process downloads, the others wait
        try:
            return config, source, source.load("train", progress=True)
        except DataUnavailable as error:
            if not config.run.fallback:
                raise
            observer.message(f"{source.title} NOT FOUND. {error}")
            observer.message(f"TRAINING ON THE BUILT-IN shapes10 INSTEAD: the results are not for {source.title}.")
            source = find_source("shapes10")
            return config.changed(data=source.name), source, source.load("train")


def _divided(config: TrainConfig, source: Source, whole: ImageDataset) -> tuple[ImageDataset, ImageDataset | None]:
    """Return the training images and the validation images."""
    if len(whole.classes) < 2:
        raise UserError(f"{whole.name} has {len(whole.classes)} class: expected at least two to tell apart")
    own = source.validation()
    if config.dataset.validation is None:
        data, validation = whole, own
    else:
        data, validation = split(whole if own is None else joined(whole, own), config.dataset.validation)
    train_images = config.dataset.train_images
    if train_images is not None:
        if train_images > len(data):
            raise UserError(f"--train-images {train_images}: expected at most {len(data)}, the images available")
        # Images that are mapped from disk are in the order of their classes: some of each are needed.
        step = train_images if unread(data.images) is None else len(data)
        data = data.subset(torch.arange(train_images) * step // train_images)
    return data, validation


def _finish(session: Session) -> TrainResult:
    """Test the last averaged weights, save them, and close the logs."""
    config, run, model, history = session.config, session.run, session.average.model, session.progress.history
    test = evaluate(model, session.source)
    low, high = test.accuracy_interval
    closing = (
        f"**Test accuracy: {test.accuracy:.2%}** on {test.num_images:,} images (95% interval {low:.2%} to {high:.2%}),"
        f" negative log-likelihood {test.nll:.4f}, expected calibration error {test.ece:.4f}; last averaged weights,"
        " test images read once."
    )
    if session.fabric.is_global_zero:
        session.claim.check()
        write_logs(run, headline(config), history, closing)
        metadata = {
            "recipe": to_dict(config),
            "data": {
                **session.source.record(),
                "train_images": len(session.data),
                "validation_images": 0 if session.validation is None else len(session.validation),
            },
            "metrics": {"last_epoch": history[-1], "test": test.to_dict()},
            "teacher_sha256": session.progress.teacher or None,
            "bank_sha256": session.progress.bank or None,
        }
        save_weights(run / WEIGHTS_FILE, model, metadata)
    session.fabric.barrier()
    return TrainResult(run, model.cpu(), history, test)
