"""The command line: the verbs, their options and their exit codes. With ``console``, all that prints.

Exit codes: 0 done, 1 failed, 2 the user's mistake (one line, no traceback), 130 interrupted.
"""

from __future__ import annotations

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
from .version import __version__

_Flat = tyro.conf.arg(name="")
_Model = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
_Images = Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE...")]
_Datasets = Literal["cifar10", "shapes10"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code. tyro raises SystemExit itself: 0 after --help, 2 for unknown options."""
    if argv is None:
        signal.signal(signal.SIGTERM, _interrupt)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:
        print(f"thimble {__version__}")
        return 0
    try:
        return _run(arguments)
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


def _run(arguments: list[str]) -> int:
    verbs: dict[str, Callable[..., int]] = {
        "train": _train_verb(arguments),
        "evaluate": evaluate,
        "predict": predict,
        "summary": summary,
        "data": data,
    }
    code: int = tyro.extras.subcommand_cli_from_dict(
        verbs,
        prog="thimble",
        description="Image classifiers that fit in a thimble. MODEL is a shipped model's name (reference), a weights"
        " file or a run folder.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    # SIGTERM is Ctrl-C by other means. The training loop has a gentler handler of its own.
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> int:
    print(f"thimble: {message}", file=sys.stderr)
    return code


def _train_verb(arguments: list[str]) -> Callable[..., int]:
    """The verb ``train``, whose defaults are those of the run that it resumes, if it resumes one."""
    defaults = TrainConfig()
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if arguments[0] == "train" and name == "--resume":
            following = arguments[index + 1 : index + 2]
            if value or following:
                from .run_folder import read_config

                defaults = read_config(Path(value or following[0]))

    def train(config: Annotated[TrainConfig, _Flat] = defaults, resume: Path | None = None) -> int:
        """Train a model, test it once, and leave weights and logs in a run folder.

        Args:
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


def evaluate(
    model: _Model, data: _Datasets = "cifar10", data_dir: Path | None = None, flip: bool = False, json: bool = False
) -> int:
    """Measure MODEL on the test images: accuracy with its interval, per class, confusion, likelihood, calibration.

    Args:
        model: A shipped model's name, a weights file or a run folder.
        data: The dataset whose test images to use.
        data_dir: Folder that holds `cifar-10-batches-bin/`. Default: $THIMBLE_DATA, else the user's cache.
        flip: Average the logits of every image and its mirror image (test-time augmentation).
        json: Print JSON instead of tables.
    """
    from .checkpoint import load_model
    from .data import load_dataset
    from .evaluation import evaluate as evaluate_model

    classifier = load_model(model)  # before the data: a wrong name should not wait for a download
    result = evaluate_model(classifier, load_dataset(data, "test", data_dir, progress=True), flip=flip)
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


def summary(model: _Model = "reference", json: bool = False) -> int:
    """Show what MODEL is made of: per layer its output, parameters, multiply-adds and receptive field; and the budget.

    Args:
        model: A shipped model's name, an architecture's name, a weights file or a run folder.
        json: Print JSON instead of a table.
    """
    from .summary import summarize

    result = summarize(model)
    if json:
        _print_json(result.to_dict())
    else:
        from .console import print_summary

        print_summary(result)
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

    parts = {part: load_dataset(data, part, data_dir, progress=True) for part in ("train", "test")}
    print_dataset(parts)
    if preview is not None:
        from .augment import save_preview

        save_preview(parts["train"], augment, preview, seed=seed)
        print(f"wrote {preview}")
    return 0


def _print_json(value: Any) -> None:
    print(json_format.dumps(value, indent=2))
