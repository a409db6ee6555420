"""Write a report on a model: one self-contained HTML file, and its plots as files beside it.

It shows training curves, layers, accuracy, mistakes with explanations, and how to reproduce the model. It can be read
without colours, on a phone, in dark mode and with a screen reader.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from thimble.data.sources import source_for
from thimble.errors import UserError
from thimble.measuring.evaluation import check_fit, part_of, reduce
from thimble.measuring.inference import infer
from thimble.measuring.summary import summarize
from thimble.storage.environment import read_environment
from thimble.storage.find import Model, load_described, name_of, run_folder_of
from thimble.storage.logs import read_metrics
from thimble.system.arguments import take
from thimble.system.extras import require
from thimble.system.files import check_output, write_atomically
from thimble.system.names import shown

from .content import Section, Subject, png
from .sections import sections_of

if TYPE_CHECKING:
    from thimble.data.sources import Data


def write_report(
    model: Model, output: str | Path | None = None, *, data: Data | None = None, data_dir: str | Path | None = None
) -> Path:
    """Measure a model on its test images and write a report on it.

    Args:
        model: a shipped model's name, a weights file or a run folder; a run folder's training curves are shown too.
        output: the HTML file. Default: ``report.html`` in the run folder, else in the current folder. The plots are
            also saved as SVG and PNG, in a folder with the same name without ``.html``.
        data: a dataset's name or path, or an ``ImageDataset``. Default: the data that the model was trained on.
        data_dir: the folder for CIFAR-10. Default: $THIMBLE_DATA, else the user's cache.

    Returns:
        the HTML file.

    Raises:
        UserError: the model or the data does not exist, they do not fit each other, or the run's files are damaged; or
            the extra ``report`` is not installed (``PackageMissing``).
        RunError: the model's logits are nan or infinite, or the report cannot be written.
    """
    require("matplotlib", "jinja2", "captum", by="the report", extra="report")
    path = take("output", output, Path | None, "a path")
    folder_of_data = take("data_dir", data_dir, Path | None, "a path")
    path = path or (run_folder_of(model) or Path()) / "report.html"
    if path.is_dir():
        raise UserError(f"--output {path} is a folder: expected a file, for example {path / 'report.html'}")
    folder = path.with_suffix("")
    if folder == path or (folder.exists() and not folder.is_dir()):
        raise UserError(f"--output {path}: no room for the plots' folder {folder}; expected a name such as report.html")
    check_output(path)
    check_output(folder / "file")
    subject = _study(model, data, folder_of_data)
    sections, pictures = sections_of(subject)
    for name, picture in pictures.items():
        write_atomically(folder / f"{name}.png", png(picture))
    for section in sections:
        for plot in section.plots:
            write_atomically(folder / f"{plot.name}.svg", plot.svg)
    write_atomically(path, render(subject, sections))
    return path


def _study(model: Model, data: Data | None, data_dir: Path | None) -> Subject:
    """Read the model and its run's files, and compute its logits on the test images, once."""
    classifier, metadata, checksum = load_described(model)
    run = run_folder_of(model)
    history = read_metrics(run) if run else []
    source = source_for(data, classifier, name_of(model), data_dir)
    test = source.load("test", progress=True)
    train = test if source.whole else source.load("train")
    check_fit(name_of(model), classifier, test)
    logits = infer(classifier, test.images, mean=classifier.mean, std=classifier.std)
    return Subject(
        name=shown(run.resolve().name if run else Path(name_of(model)).stem),
        model=classifier,
        metadata=metadata,
        checksum=checksum,
        history=history,
        environment=read_environment(run) if run else {"versions": metadata.get("versions", {})},
        summary=summarize(classifier),
        train=train,
        test=test,
        logits=logits,
        evaluation=reduce(logits, classifier, test, name=name_of(model), flip=False, part=part_of(source)),
    )


def render(subject: Subject, sections: list[Section]) -> str:
    """Render the page as HTML."""
    import jinja2

    evaluation, summary = subject.evaluation, subject.summary
    low, high = evaluation.accuracy_interval
    least, most = evaluation.balanced_accuracy_interval
    pages = resources.files("thimble.reporting")
    loader = jinja2.FunctionLoader(lambda name: (pages / name).read_text(encoding="utf-8"))
    environment = jinja2.Environment(autoescape=True, loader=loader, undefined=jinja2.StrictUndefined)
    return environment.get_template("report.html.j2").render(
        title=subject.name,
        subtitle=shown(f"{subject.model.name} on {subject.test.name}"),
        headline=[
            (
                "test accuracy" if evaluation.part == "test" else "accuracy",
                f"{evaluation.accuracy:.2%}",
                f"95% interval {low:.2%} to {high:.2%}; {len(subject.test):,} images",
            ),
            (
                "balanced accuracy",
                f"{evaluation.balanced_accuracy:.2%}",
                f"mean of the classes; 95% interval {least:.2%} to {most:.2%}",
            ),
            (
                "parameters",
                f"{summary.num_parameters:,}",
                f"{'within' if summary.within_budget else 'over'} the budget of {summary.budget:,}",
            ),
            ("multiply-adds", f"{summary.num_multiply_adds / 1e6:.1f} M", "one image, forward pass"),
            ("calibration error", f"{evaluation.ece:.4f}", f"negative log-likelihood {evaluation.nll:.4f}"),
        ],
        sections=sections,
    )
