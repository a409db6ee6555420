"""Print the verbs' results as tables on the terminal.

Names of files and classes are printed literally: no text is read as markup, and ``shown`` escapes control sequences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich import box
from rich.cells import set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from thimble.data.dataset import ImageDataset
from thimble.explaining.explanation import Explanation
from thimble.exporting.cost import CODE_BYTES, Cost
from thimble.exporting.export import Export
from thimble.measuring.comparison import SIGNIFICANCE, Comparison
from thimble.measuring.evaluation import Evaluation
from thimble.measuring.prediction import Prediction
from thimble.measuring.summary import Summary
from thimble.system.names import shown

MANY_CLASSES = 20
"""Beyond this number of classes, tables show only the worst, and no confusion matrix."""

_MANY_IMAGES = 20
_WORST = 10
_NAME_WIDTH = 12


class _Console(Console):
    def __init__(self, width: int | None = None) -> None:
        super().__init__(width=width, markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        # rich would exit with code 1. cli.main handles a reader that stops early, such as `head`.
        raise BrokenPipeError


def console_for_output() -> Console:
    # In a file or a pipe rich would wrap at 80 columns, and break tables.
    console = _Console()
    return console if console.is_terminal else _Console(width=120)


def plain_table(title: str, *columns: str, left: int = 1) -> Table:
    """An empty table: the first ``left`` columns hold text, the others numbers."""
    # Without vertical lines, ten classes or all figures of a layer fit in 80 columns.
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=box.SIMPLE_HEAD)
    table.padding, table.pad_edge = (0, 1, 0, 0), False
    for index, column in enumerate(columns):
        # Fold text, so that a long name is shown whole; numbers are never that wide.
        table.add_column(
            column, justify="left" if index < left else "right", overflow="fold" if index < left else "ellipsis"
        )
    return table


def print_evaluation(result: Evaluation) -> None:
    """Print the headline figures, the classes, and what they are confused with; of many classes, the worst."""
    console, names = console_for_output(), list(result.per_class_accuracy)
    flip = ", test-time augmentation: flip" if result.flip else ""
    headline = plain_table(shown(f"{result.model} on {result.subject}{flip}"), "measure", "value", "95% interval")
    headline.add_row("top-1 accuracy", f"{result.accuracy:.2%}", _interval(result.accuracy_interval, 2))
    if not math.isnan(result.top5_accuracy):
        headline.add_row("top-5 accuracy", f"{result.top5_accuracy:.2%}")
    headline.add_row(
        "balanced accuracy", f"{result.balanced_accuracy:.2%}", _interval(result.balanced_accuracy_interval, 2)
    )
    headline.add_row("macro F1", f"{result.macro_f1:.2%}", _interval(result.macro_f1_interval, 2))
    if not math.isnan(result.auroc):
        headline.add_row("area under the ROC curve", f"{result.auroc:.2%}", _interval(result.auroc_interval, 2))
    headline.add_row("negative log-likelihood, nats", f"{result.nll:.4f}")
    headline.add_row("expected calibration error, 15 bins", f"{result.ece:.4f}")
    console.print(headline)
    console.print(_class_table(result))
    widths = [max(len(str(max(row[place] for row in result.confusion))), 4) for place in range(len(names))]
    if len(names) <= MANY_CLASSES and sum(widths) + len(names) + _NAME_WIDTH <= console.width:
        console.print(_matrix(result))
    elif result.accuracy < 1:
        console.print(_pair_table(result))
    for warning in result.warnings:
        console.print(shown(warning), style="yellow")


def _class_table(result: Evaluation) -> Table:
    """The metrics of each class; of many classes, those with the lowest recall, the lowest first."""
    classes, title = list(result.per_class.items()), "Classes"
    if len(classes) > MANY_CLASSES:
        known = [pair for pair in classes if pair[1].num_images]
        classes = sorted(known, key=lambda pair: (pair[1].recall, -pair[1].num_images))[:_WORST]
        title = f"The {len(classes)} classes of {len(result.per_class)} with the lowest recall (all: --json)"
    columns = ("images", "recall", "95% interval", "precision", "95% interval", "F1")
    table = plain_table(title, "class", *columns)
    for name, each in classes:
        table.add_row(
            shown(name),
            f"{each.num_images:,}",
            *(_percent(each.recall), _interval(each.recall_interval)),
            *(_percent(each.precision), _interval(each.precision_interval)),
            _percent(each.f1),
        )
    return table


def _matrix(result: Evaluation) -> Table:
    matrix = plain_table("Confusion matrix: true class (rows), predicted class (columns)", "class")
    for name in result.per_class_accuracy:
        matrix.add_column(set_cell_size(shown(name), 4).rstrip(), justify="right")
    for index, (name, counts) in enumerate(zip(result.per_class_accuracy, result.confusion, strict=True)):
        cells = [
            Text(str(count) if count else ".", style="bold green" if index == column else "")
            for column, count in enumerate(counts)
        ]
        matrix.add_row(shown(name), *cells)
    return matrix


def _pair_table(result: Evaluation) -> Table:
    table = plain_table(
        "The most frequent mistakes", *("true class", "predicted class", "images", "of the true class"), left=2
    )
    for true, taken, count in result.confused_pairs(_WORST):
        share = count / result.per_class[true].num_images
        table.add_row(shown(true), shown(taken), f"{count:,}", f"{share:.1%}")
    return table


def _percent(value: float, digits: int = 1) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}%}"


def _interval(ends: tuple[float, float], digits: int = 1) -> str:
    low, high = ends
    return "-" if math.isnan(low) else f"{100 * low:.{digits}f}-{high:.{digits}%}"


def print_comparison(result: Comparison) -> None:
    """Print the models, two lines each so that names and figures fit; then McNemar's test of each pair."""
    console = console_for_output()
    columns = (
        *("", "model\nnetwork", "parameters\nmultiply-adds"),
        *("accuracy\n95% interval", "balanced\nmacro F1", "NLL\nECE"),
    )
    kind = "test images" if result.part == "test" else "images"
    title = f"{len(result.models)} models on {result.num_images:,} {kind} of {result.data}"
    table = plain_table(shown(title), *columns, "epochs\ntime", left=2)
    for place, model in enumerate(result.models):
        seconds = model.training_seconds
        table.add_row(
            str(place + 1),
            f"{shown(model.name)}\n{model.architecture}",
            f"{model.num_parameters:,}\n{model.num_multiply_adds:,}",
            f"{model.accuracy:.2%}\n{_interval(model.accuracy_interval, 2)}",
            f"{_percent(model.balanced_accuracy, 2)}\n{_percent(model.macro_f1, 2)}",
            f"{model.nll:.4f}\n{model.ece:.4f}",
            "" if seconds is None else f"{model.epochs}\n{_duration(seconds)}",
        )
        table.add_section()
    console.print(table)
    pairs = plain_table(
        "McNemar's test of each pair: images that only one of the two classifies correctly",
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
    console.print("This compares these weights on these images. To compare recipes, train several seeds.", style="dim")


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if seconds < 600 else f"{minutes:.0f} min" if minutes < 600 else f"{hours:.1f} h"


def print_predictions(answers: Sequence[Prediction]) -> None:
    """Print each image's most probable classes, the most probable first; of many images, only the first."""
    table = plain_table("", "image", "predicted class", "probability", left=2)
    table.title = None
    for answer in answers:
        for rank, (name, probability) in enumerate(answer.top if len(answers) <= _MANY_IMAGES else answer.top[:1]):
            table.add_row(shown(answer.image) if rank == 0 else "", shown(name), f"{probability:.1%}")
        if len(answers) <= _MANY_IMAGES:
            table.add_section()
    console_for_output().print(table)


def print_explanations(explanations: Sequence[Explanation]) -> None:
    """Print each image's explained class and predicted class."""
    table = plain_table("", "image", "explained class", "probability", "predicted class", left=2)
    table.title = None
    table.columns[3].overflow = "fold"
    for each in explanations:
        names = [shown(name) for name in (each.image, each.class_name, each.predicted)]
        table.add_row(*names[:2], f"{each.probability:.1%}", names[2])
    console_for_output().print(table)


def print_export(result: Export) -> None:
    """Print the file, and how its outputs compare with PyTorch's."""
    console, parity = console_for_output(), result.parity
    title = f"{result.output}: {result.num_bytes:,} bytes, {result.format}"
    table = plain_table(shown(title), "compared with PyTorch", "value")
    table.add_row(f"compared on {parity.num_images:,} images of", shown(parity.images))
    table.add_row("largest difference", f"{parity.max_difference:.2g} in {result.metadata['output']}")
    table.add_row("same predicted class", f"{parity.agreement:.2%}")
    if parity.twin_agreement is not None:
        table.add_row("same predicted class as the ONNX int8 file", f"{parity.twin_agreement:.2%}")
    if parity.accuracy is not None and parity.pytorch_accuracy is not None:
        table.add_row(f"accuracy on {parity.test_images:,} test images", f"{parity.accuracy:.2%}")
        table.add_row("PyTorch's accuracy on them", f"{parity.pytorch_accuracy:.2%}")
    table.add_row("names of the classes", shown(result.labels))
    console.print(table)
    if result.untested is not None:
        console.print(
            shown(f"not compared on the model's test images: {result.untested}"), style="yellow", soft_wrap=True
        )


def print_summary(result: Summary) -> None:
    """Print the layers, the totals, and whether the model is within the budget."""
    size = "x".join(str(side) for side in result.input_size)
    columns = ("layer", "type", "output", "parameters", "multiply-\nadds", "receptive\nfield", "jump")
    table = plain_table(f"{shown(result.model)}, input {size}", *columns, left=3)
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
    console = console_for_output()
    console.print(table)
    console.print(f"parameters     {result.num_parameters:>12,}   ({result.parameter_bytes / 1e6:.2f} MB in float32)")
    console.print(f"multiply-adds  {result.num_multiply_adds:>12,}   (forward, one image)")
    verdict, color = ("met", "green") if result.within_budget else ("exceeded", "red")
    console.print(Text(f"budget         {result.budget:>12,}   parameters, ").append(verdict, style=color))


def print_cost(cost: Cost) -> None:
    """Print what the network costs on a device."""
    console = console_for_output()
    if cost.ram_bytes is None or cost.table_bytes is None:
        console.print(Text(f"C file         {'none':>12}   ").append(shown(str(cost.missing))), soft_wrap=True)
        return
    console.print(f"RAM            {cost.ram_bytes:>12,}   bytes, static, of the C file")
    console.print(
        f"flash          {cost.flash_bytes:>12,}   bytes: {cost.table_bytes:,} of tables, about {CODE_BYTES:,} of code"
    )


def print_dataset(parts: Mapping[str, ImageDataset]) -> None:
    """Print the number of images of each class in each part, and the mean and std."""
    whole = parts["train"]
    table = plain_table(shown(whole.name), "class", *parts)
    for index, name in enumerate(whole.classes):
        table.add_row(shown(name), *(f"{int((part.labels == index).sum()):,}" for part in parts.values()))
    table.add_section()
    table.add_row("all", *(f"{len(part):,}" for part in parts.values()))
    console = console_for_output()
    console.print(table)
    for label, values in (("mean", whole.mean), ("std", whole.std)):
        console.print(f"{label:<5}" + "  ".join(f"{value:.4f}" for value in values) + "   (pixels in 0..1)")
