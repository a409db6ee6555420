"""The command line: the verbs, their options and their exit codes. With ``console``, all that prints.

Exit codes: 0 done, 1 failed, 2 the user's mistake (one line, no traceback), 130 interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json as json_format
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal

import tyro

from .config import AugmentConfig, Interrupted, RunError, TrainConfig, UserError
from .recipes import DEFAULT_RECIPE, Recipe, find_recipe
from .version import __version__

_Flat = tyro.conf.arg(name="")
_Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
_Images = Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")]
_Datasets = Literal["cifar10", "shapes10"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. After --help, tyro raises SystemExit(0) itself."""
    if argv is None and signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _interrupt)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        print(f"thimble {__version__}")
        return 0
    try:
        return _parse(arguments)()
    except UserError as error:
        return _fail(str(error), 2)
    except RunError as error:
        return _fail(str(error), 1)
    except Interrupted as error:
        return _fail(str(error), 130)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader, such as `head`, has had enough. Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a disk or a file that fails where no message of our own foresaw it
        return _fail(str(error), 1)


def _parse(arguments: list[str]) -> Callable[[], int]:
    """The verb that the arguments name, ready to run.

    Raises:
        UserError: they name none, or one of its options wrongly.
    """
    verbs: dict[str, Callable[..., int]] = {
        "train": _train_verb(arguments),
        "evaluate": evaluate,
        "predict": predict,
        "summary": summary,
        "data": data,
    }
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            run: Callable[[], int] = tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(verb) for name, verb in verbs.items()},
                prog="thimble",
                description="Image classifiers that fit in a thimble. MODEL is a shipped model's name (reference), a"
                " weights file or a run folder.",
                args=arguments,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as stop:
        if stop.code != 2:
            raise
        verb = f" {arguments[0]}" if arguments and arguments[0] in verbs else ""
        raise UserError(f"{_unboxed(complaint.getvalue())}; see thimble{verb} --help") from None
    return run


def _deferred(verb: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """The verb as a function that only takes note of its arguments: tyro calls what it has parsed at once."""

    @functools.wraps(verb)
    def note(*arguments: Any, **options: Any) -> Callable[[], int]:
        return functools.partial(verb, *arguments, **options)

    return note


def _unboxed(complaint: str) -> str:
    """What tyro has to say, in one line: the part of its box between the title and the advice."""
    # Where the terminal knows no lines to draw, the title stands over a rule instead of in the frame.
    sections: list[list[str]] = [[]] if complaint.startswith("╭") else []
    for line in complaint.splitlines():
        text = line.strip("│ ")
        if line.startswith("╭"):
            continue
        if not text.strip("─-╰╯"):
            sections.append([])
        elif sections:
            sections[-1].append(text)
    return " ".join(sections[0]).rstrip(".") if sections else " ".join(complaint.split())


def _interrupt(number: int, frame: FrameType | None) -> None:
    # SIGTERM is Ctrl-C by other means. The training loop has a gentler handler of its own.
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> int:
    print(f"thimble: {message}", file=sys.stderr)
    return code


def _train_verb(arguments: list[str]) -> Callable[..., int]:
    """The verb ``train``, whose defaults are those of the recipe that it names, or of the run that it resumes."""
    named, resumed = _option(arguments, "--recipe"), _option(arguments, "--resume")
    if arguments[:1] != ["train"]:
        named = resumed = None
    if named is not None and resumed is not None:
        raise UserError("--recipe beside --resume: a run keeps its recipe; expected one of them")
    defaults = find_recipe(named or DEFAULT_RECIPE)
    if resumed is not None:
        from .run_folder import read_config

        # Two flags that are asked for each time: a run that began with them does not go on with them.
        defaults = dataclasses.replace(read_config(Path(resumed)), fallback=False, overwrite=False)

    def train(
        config: Annotated[TrainConfig, _Flat] = defaults,
        recipe: Recipe = DEFAULT_RECIPE,
        resume: Path | None = None,
    ) -> int:
        """Train a model, test it once, and leave weights and logs in a run folder.

        Args:
            recipe: Where the settings start from: every other option changes one of them. With --help, shows them.
            resume: Go on with an interrupted run: its folder. Its recipe stays as it is.
        """
        from .console import TrainingConsole
        from .training import train as train_model

        if os.environ.get("RANK", "0") != "0":  # under torchrun, the first process speaks for all
            train_model(config, resume=resume)
            return 0
        with TrainingConsole() as observer:
            observer.finish(train_model(config, resume=resume, observer=observer))
        return 0

    return train


def _option(arguments: list[str], name: str) -> str | None:
    """The value of an option before tyro reads it, because other options' defaults follow from it."""
    for index, argument in enumerate(arguments):
        found, _, value = argument.partition("=")
        if found == name:
            return value or next(iter(arguments[index + 1 : index + 2]), None)
    return None


def evaluate(
    model: _Model,
    data: _Datasets | None = None,
    data_dir: Path | None = None,
    flip: bool = False,
    json: bool = False,
) -> int:
    """Measure MODEL on the test images: accuracy with its interval, per class, confusion, likelihood, calibration.

    Args:
        model: A shipped model's name, a weights file or a run folder.
        data: The dataset whose test images to use. Default: the one of MODEL's classes.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        flip: Average the logits of every image and its mirror image (test-time augmentation).
        json: Print JSON instead of tables.
    """
    from .checkpoint import load_model
    from .data import dataset_of, load_dataset
    from .evaluation import evaluate as evaluate_model

    classifier = load_model(model)  # before the data: a wrong name should not wait for a download
    name = data or dataset_of(classifier.classes)
    result = evaluate_model(classifier, load_dataset(name, "test", data_dir, progress=True), flip=flip)
    if json:
        _print_json(result.to_dict())
    else:
        from .console import print_evaluation

        print_evaluation(result)
    return 0


def predict(images: _Images, model: str = "reference", top: int = 5, json: bool = False) -> int:
    """Say what images show: the most probable classes of each. Any file that Pillow reads, of any size.

    Args:
        images: Image files. One that is none is reported, and the others are still answered; exit code 2.
        model: A shipped model's name, a weights file or a run folder.
        top: How many classes to name.
        json: Print JSON instead of a table.
    """
    if not images:
        raise UserError("no image given: expected thimble predict IMAGE...")
    from .checkpoint import load_model
    from .evaluation import predict as predict_images

    classifier = load_model(model)
    answers, code = [], 0
    for image in images:
        try:
            answers += predict_images(image, classifier, top=top)
        except UserError as error:
            code = _fail(str(error), 2)
    if json:
        _print_json([answer.to_dict() for answer in answers])
    elif answers:
        from .console import print_predictions

        print_predictions(answers)
    return code


def summary(model: _Model = "reference", max_params: int | None = None, json: bool = False) -> int:
    """Show what MODEL is made of: per layer its output, parameters, multiply-adds and receptive field; and the budget.

    Args:
        model: A shipped model's name, an architecture's name, a weights file or a run folder.
        max_params: The most parameters that MODEL may have; exit code 1 if it has more. Default: Thimble's 150,576,
            which is only shown.
        json: Print JSON instead of a table.
    """
    from .summary import BUDGET, summarize

    if max_params is not None and max_params < 1:
        raise UserError(f"--max-params {max_params}: expected a whole number of at least 1")
    result = summarize(model, budget=BUDGET if max_params is None else max_params)
    if json:
        _print_json(result.to_dict())
    else:
        from .console import print_summary

        print_summary(result)
    if max_params is not None and not result.within_budget:
        raise RunError(f"{model} has {result.num_parameters:,} parameters: expected at most {max_params:,}")
    return 0


def data(
    augment: Annotated[AugmentConfig, _Flat] = AugmentConfig(),  # noqa: B008 - frozen, so a default like any other
    data: _Datasets = "cifar10",
    data_dir: Path | None = None,
    preview: Path | None = None,
    seed: int = 0,
) -> int:
    """Get a dataset, check it and say what is in it; draw what the augmentation does to it.

    Args:
        data: The dataset.
        data_dir: Folder that holds (or will hold) `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the cache.
        preview: Image file to draw: one image of each class beside augmentations of it.
        seed: Which images and which augmentations to draw.
    """
    from .console import print_dataset
    from .data import load_dataset

    if seed < 0:
        raise UserError(f"--seed {seed}: expected a whole number of at least 0")
    parts = {part: load_dataset(data, part, data_dir, progress=True) for part in ("train", "test")}
    print_dataset(parts)
    if preview is not None:
        from .augment import save_preview

        save_preview(parts["train"], augment, preview, seed=seed)
        print(f"wrote {preview}")
    return 0


def _print_json(value: Any) -> None:
    print(json_format.dumps(value, indent=2))
