"""The verb train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from thimble.cli.options import Flat, say, value_of
from thimble.errors import Interrupted, UserError
from thimble.system.arguments import expanded
from thimble.system.lock import locked
from thimble.training.config import TrainConfig
from thimble.training.recipes import Recipe, default_recipe, find_recipe


def train(arguments: Sequence[str]) -> Callable[..., int]:
    """Return the verb; its defaults are those of the named recipe, of the run to resume, or of the data's recipe."""
    named, resumed = value_of(arguments, "--recipe"), value_of(arguments, "--resume")
    if named is not None and resumed is not None:
        raise UserError("use --recipe or --resume, not both: a resumed run keeps its recipe")
    chosen = default_recipe(value_of(arguments, "--data"))
    defaults = find_recipe(named or chosen)
    if resumed is not None:
        from thimble.training.config_file import read_config

        # A resumed run does not inherit these two flags: they must be given each time.
        defaults = read_config(expanded(resumed)).changed(fallback=False, overwrite=False)

    def train(
        config: Annotated[TrainConfig, Flat] = defaults,
        recipe: Recipe = chosen,
        resume: Path | None = None,
        report: bool = True,
    ) -> int:
        """Train a model, test it once, and save weights, logs and a report in a run folder.

        Args:
            recipe: The settings to start from; every other option changes one of them. Add --help to see them. Default:
                own if --data is a path to your own images, else fast.
            resume: Folder of an interrupted run to continue. A resumed run keeps its recipe.
            report: Do not write report.html at the end. (The report needs thimble-nets[report]; if that is missing, the
                run ends with a message and without a report.)
        """
        from thimble.cli.training_bars import TrainingConsole
        from thimble.training.fabric import launched
        from thimble.training.train import train as train_model

        if launched().rank != 0:  # under torchrun, only the first process prints
            train_model(config, resume=resume)
            return 0
        with TrainingConsole() as observer:
            result = train_model(config, resume=resume, observer=observer)
            observer.finish(result)
        if report:
            _report(result.run, config.run.data_dir)
        return 0

    return train


def _report(run: Path, data_dir: Path | None) -> None:
    """Write the report of a finished run, or print what to install for it."""
    from thimble.reporting.report import write_report
    from thimble.system.extras import PackageMissing

    try:
        with locked(run):  # else a run that overwrites this one could get this report
            say(f"report: {write_report(run, data_dir=data_dir)}")
    except PackageMissing as error:  # training needs only the core
        say(f"no report.html: {error}; then thimble report {run} writes it")
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: {run} is trained and saved; thimble report {run} writes its report") from None
