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
from thimble.training.recipes import DEFAULT_RECIPE, Recipe, find_recipe


def train(arguments: Sequence[str]) -> Callable[..., int]:
    """The verb, whose defaults are those of the recipe that its arguments name, or of the run that they resume."""
    named, resumed = value_of(arguments, "--recipe"), value_of(arguments, "--resume")
    if named is not None and resumed is not None:
        raise UserError("use --recipe or --resume, not both: a resumed run keeps its recipe")
    defaults = find_recipe(named or DEFAULT_RECIPE)
    if resumed is not None:
        from thimble.training.config_file import read_config

        # Two flags that are asked for each time: a run that began with them does not go on with them.
        defaults = read_config(expanded(resumed)).changed(fallback=False, overwrite=False)

    def train(
        config: Annotated[TrainConfig, Flat] = defaults,
        recipe: Recipe = DEFAULT_RECIPE,
        resume: Path | None = None,
        report: bool = True,
    ) -> int:
        """Train a model, test it once, and leave weights, logs and a report in a run folder.

        Args:
            recipe: Where the settings start from: every other option changes one of them. With --help, shows them.
            resume: Go on with an interrupted run: its folder. Its recipe stays as it is.
            report: Write report.html at the end: what the network learned, where it fails and why. Needs
                thimble-nets[report]; without it the run ends with a line that says so.
        """
        from thimble.cli.training_bars import TrainingConsole
        from thimble.training.fabric import launched
        from thimble.training.train import train as train_model

        if launched().rank != 0:  # under torchrun, the first process speaks for all
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
    """Write the report of a run that is trained and saved; or say what to install for it."""
    from thimble.reporting.report import write_report
    from thimble.system.extras import PackageMissing

    try:
        with locked(run):  # else a run that overwrites this one could get its report
            say(f"report: {write_report(run, data_dir=data_dir)}")
    except PackageMissing as error:  # a training needs the core alone
        say(f"no report.html: {error}; thimble report {run} writes it then")
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: {run} is trained and saved; thimble report {run} writes its report") from None
