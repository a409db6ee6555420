"""What the verbs show on the terminal: tables, and the progress bars of a training.

With ``cli`` and ``verbs``, all that prints. Names of files and classes are shown as they are, whatever is in them: no
text is markup, and ``shown`` escapes what a terminal would obey instead of showing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rich import box
from rich.cells import set_cell_size
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from . import progress as run_progress
from .comparison import SIGNIFICANCE, Comparison
from .config import TrainConfig
from .data import ImageDataset
from .evaluation import Evaluation, Prediction
from .explanation import Explanation
from .exporting.export import Export
from .progress import Observer
from .summary import Summary
from .system.names import shown
from .training import TrainResult


class _Console(Console):
    def __init__(self, width: int | None = None) -> None:
        super().__init__(width=width, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        # rich would exit with code 1; that the reader, such as `head`, has had enough is for cli.main to handle.
        raise BrokenPipeError


def _console() -> Console:
    # Into a file or a pipe rich would wrap at 80 columns; a table is better whole there.
    console = _Console()
    return console if console.is_terminal else _Console(width=120)


def _table(title: str, *columns: str, left: int = 1) -> Table:
    """A table whose first ``left`` columns are text and whose others are numbers."""
    # Without vertical lines, ten classes or a layer with all its figures fit on 80 columns.
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD)
    table.padding, table.pad_edge = (0, 1, 0, 0), False
    for index, column in enumerate(columns):
        # Text is folded, so that a long name is shown whole; of numbers, no column is so wide.
        table.add_column(
            column, justify="left" if index < left else "right", overflow="fold" if index < left else "ellipsis"
        )
    return table


class TrainingConsole(Observer):
    """Bars for the epoch and the run, and a line for every epoch that stays on the screen, and in a log file."""

    def __init__(self) -> None:
        self.console = _console()
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.epochs = 0

    def __enter__(self) -> TrainingConsole:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def message(self, text: str) -> None:
        self.console.print(shown(text), style="bold yellow")

    def start(self, run: Path, config: TrainConfig, progress: run_progress.Progress) -> None:
        self.epochs = config.epochs
        begun = f", from step {progress.step} of {progress.num_steps}" if progress.step else ""
        what = f"{config.model} on {config.data}, epochs: {config.epochs}{begun}, in {run}"
        self.console.print(shown(what), soft_wrap=True)
        validated = ", and of validation by the averaged weights" if config.validation else ""
        skipped = ", later on the harder images" if config.skip_easy else ""
        self.console.print(f"loss and accuracy of training{skipped}{validated}", style="dim")
        self.bars.start()
        self.epoch_bar = self.bars.add_task("epoch", total=progress.num_batches, completed=progress.batch, now="")
        self.run_bar = self.bars.add_task("run", total=progress.num_steps, completed=progress.step, now="")

    def step(self, progress: run_progress.Progress) -> None:
        speed = f"{progress.images / progress.seconds:.0f} images/s"
        now = f"loss {progress.loss_sum / progress.images:.3f}  accuracy {progress.correct / progress.images:.1%}"
        name = f"epoch {progress.epoch + 1}"
        if progress.batch == 1:
            self.bars.reset(self.epoch_bar)  # else it would take the last epoch's end for this one's speed
        # With its total: an epoch that leaves out easy images has fewer steps.
        self.bars.update(
            self.epoch_bar,
            total=progress.num_batches,
            completed=progress.batch,
            description=name,
            now=f"{now}  {speed}",
        )
        self.bars.update(self.run_bar, completed=progress.step)

    def epoch(self, row: run_progress.Row) -> None:
        line = f"epoch {row['epoch']:>3}/{self.epochs}  train {row['train_loss']:.3f} {row['train_accuracy']:6.2%}"
        if row["validation_loss"] is not None:
            line += f"  validation {row['validation_loss']:.3f} {row['validation_accuracy']:6.2%}"
        self.console.print(f"{line}  {row['seconds']:.0f} s, {row['images_per_second']:.0f} images/s")

    def finish(self, result: TrainResult) -> None:
        """Say what came of it."""
        self.bars.stop()
        low, high = result.test.accuracy_interval
        images = f"{result.test.num_images:,} {shown(result.test.data)} images"
        accuracy = (f"test accuracy {result.test.accuracy:.2%}", "bold")
        self.console.print(Text.assemble(accuracy, f" (95% interval {low:.2%} to {high:.2%}) of {images}"))
        place = f"{result.model.num_parameters:,} parameters; model and logs: {result.run}"
        self.console.print(shown(place), soft_wrap=True)


def print_evaluation(result: Evaluation) -> None:
    """Headline figures, accuracy per class, and the confusion matrix."""
    console, names = _console(), list(result.per_class_accuracy)
    low, high = result.accuracy_interval
    flip = ", averaged with mirror images" if result.flip else ""
    title = f"{result.model} on {result.num_images:,} test images of {result.data}{flip}"
    headline = _table(shown(title), "measure", "value")
    headline.add_row("top-1 accuracy", f"{result.accuracy:.2%}")
    headline.add_row("its 95% interval (Wilson)", f"{low:.2%} to {high:.2%}")
    headline.add_row("negative log-likelihood, nats", f"{result.nll:.4f}")
    headline.add_row("expected calibration error, 15 bins", f"{result.ece:.4f}")
    console.print(headline)
    matrix = _table("Accuracy per class, and which (rows) is taken for which (columns)", "class", "accuracy")
    for name in names:
        matrix.add_column(set_cell_size(shown(name), 4).rstrip(), justify="right")
    for index, (name, accuracy) in enumerate(result.per_class_accuracy.items()):
        counts = [
            Text(str(count) if count else ".", style="bold green" if index == column else "")
            for column, count in enumerate(result.confusion[index])
        ]
        matrix.add_row(shown(name), f"{accuracy:.1%}", *counts)
    console.print(matrix)


def print_comparison(result: Comparison) -> None:
    """The models, in rows of two lines so that names and figures have room; then McNemar's test of each pair."""
    console = _console()
    columns = ("", "model\nnetwork", "parameters\nmultiply-adds", "accuracy\n95% interval", "NLL", "ECE")
    title = f"{len(result.models)} models on {result.num_images:,} test images of {result.data}"
    table = _table(shown(title), *columns, "epochs\ntraining", left=2)
    for place, model in enumerate(result.models):
        low, high = model.accuracy_interval
        seconds = model.training_seconds
        table.add_row(
            str(place + 1),
            f"{shown(model.name)}\n{model.architecture}",
            f"{model.num_parameters:,}\n{model.num_multiply_adds:,}",
            f"{model.accuracy:.2%}\n{100 * low:.2f}-{high:.2%}",
            f"{model.nll:.4f}",
            f"{model.ece:.4f}",
            "" if seconds is None else f"{model.epochs}\n{_duration(seconds)}",
        )
        table.add_section()
    console.print(table)
    pairs = _table(
        "McNemar's test of each two: images that only one of them has right",
        *("models", "only the\nfirst", "only the\nsecond", "p", "p, corrected\n(Holm)", "verdict"),
    )
    for pair in result.pairs:
        pairs.add_row(
            f"{pair.first + 1} and {pair.second + 1}",
            f"{pair.only_first:,}",
            f"{pair.only_second:,}",
            *("<0.0001" if value < 0.0001 else f"{value:.4f}" for value in (pair.p_value, pair.p_corrected)),
            Text(pair.verdict, style="bold" if pair.p_corrected < SIGNIFICANCE else ""),
        )
    console.print(pairs)
    console.print("About these weights on these images; about recipes, only several seeds tell.", style="dim")


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if seconds < 600 else f"{minutes:.0f} min" if minutes < 600 else f"{hours:.1f} h"


def print_predictions(answers: Sequence[Prediction]) -> None:
    """The images, each with its classes, the most probable first."""
    table = _table("", "image", "class", "probability", left=2)
    table.title = None
    for answer in answers:
        for rank, (name, probability) in enumerate(answer.top):
            table.add_row(shown(answer.image) if rank == 0 else "", shown(name), f"{probability:.1%}")
        table.add_section()
    _console().print(table)


def print_explanations(explanations: Sequence[Explanation]) -> None:
    """The images, each with the class that is explained and the one that it was taken for."""
    table = _table("", "image", "class", "probability", "taken for", left=2)
    table.title = None
    table.columns[3].overflow = "fold"
    for each in explanations:
        names = [shown(name) for name in (each.image, each.class_name, each.predicted)]
        table.add_row(*names[:2], f"{each.probability:.1%}", names[2])
    _console().print(table)


def print_export(result: Export) -> None:
    """The file, and how its answers compare with PyTorch's."""
    console, parity = _console(), result.parity
    title = f"{result.output}: {result.num_bytes:,} bytes, {result.format}"
    table = _table(shown(title), "checked against PyTorch", "value")
    table.add_row(f"{parity.num_images:,} images of", shown(parity.images))
    table.add_row("greatest difference", f"{parity.max_difference:.2g} in {result.metadata['output']}")
    table.add_row("same label", f"{parity.agreement:.2%}")
    if parity.twin_agreement is not None:
        table.add_row("same label as the ONNX int8 file", f"{parity.twin_agreement:.2%}")
    if parity.accuracy is not None and parity.pytorch_accuracy is not None:
        table.add_row(f"accuracy on {parity.test_images:,} test images", f"{parity.accuracy:.2%}")
        table.add_row("PyTorch's", f"{parity.pytorch_accuracy:.2%}")
    console.print(table)


def print_summary(result: Summary) -> None:
    """The layers, the totals, and whether the budget is met."""
    size = "x".join(str(side) for side in result.input_size)
    columns = ("layer", "type", "output", "parameters", "multiply-\nadds", "receptive\nfield", "jump")
    table = _table(f"{shown(result.model)}, input {size}", *columns, left=3)
    block = None
    for layer in result.layers:
        if block is not None and layer.name.partition(".")[0] != block:
            table.add_section()
        block = layer.name.partition(".")[0]
        table.add_row(
            shown(layer.name),
            shown(layer.type),
            "x".join(str(side) for side in layer.output_shape),
            f"{layer.num_parameters:,}" if layer.num_parameters else "",
            f"{layer.num_multiply_adds:,}" if layer.num_multiply_adds else "",
            *("" if value is None else str(value) for value in (layer.receptive_field, layer.jump)),
        )
    console = _console()
    console.print(table)
    console.print(f"parameters     {result.num_parameters:>12,}   ({result.parameter_bytes / 1e6:.2f} MB in float32)")
    console.print(f"multiply-adds  {result.num_multiply_adds:>12,}   (forward, one image)")
    verdict, color = ("met", "green") if result.within_budget else ("exceeded", "red")
    console.print(Text(f"budget         {result.budget:>12,}   parameters: ").append(verdict, style=color))


def print_dataset(parts: Mapping[str, ImageDataset]) -> None:
    """How many images of each class each part has, and the constants."""
    whole = parts["train"]
    table = _table(shown(whole.name), "class", *parts)
    for index, name in enumerate(whole.classes):
        table.add_row(shown(name), *(f"{int((part.labels == index).sum()):,}" for part in parts.values()))
    table.add_section()
    table.add_row("all", *(f"{len(part):,}" for part in parts.values()))
    console = _console()
    console.print(table)
    for label, values in (("mean", whole.mean), ("std", whole.std)):
        console.print(f"{label:<5}" + "  ".join(f"{value:.4f}" for value in values) + "   (pixels in 0..1)")
