"""Define what a report consists of, and what it is about."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.measuring.evaluation import Evaluation
from thimble.measuring.summary import Summary
from thimble.models.classifier import Classifier
from thimble.storage.logs import Row
from thimble.system.names import shown

from . import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A plot in a report: its file's name, a title, and a description for readers who cannot see it."""

    name: str
    title: str
    description: str
    svg: str
    wide: bool = False

    @property
    def inline(self) -> str:
        """The plot as SVG for a page: in the page's text colour, and with ids that are unique in the page."""

        def adapted(tag: re.Match[str]) -> str:  # change tags only: the text between them may be a class's name
            prefixed = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", tag[0])
            return prefixed.replace(figures.INK, "currentColor")

        return re.sub(r"<[^>]*>", adapted, self.svg)


@dataclass(frozen=True)
class Table:
    """A table in a report: the first ``texts`` columns hold text, the others numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    texts: int = 1


@dataclass(frozen=True)
class Section:
    """A part of a report: a title, a text, and usually one of the other fields."""

    id: str
    title: str
    text: str = ""
    warnings: list[str] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    picture: dict[str, Any] | None = None
    layers: Summary | None = None
    mistakes: list[dict[str, Any]] = field(default_factory=list)
    code: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Subject:
    """Everything that a report shows: the model, its run's files, and its results."""

    name: str
    model: Classifier
    metadata: dict[str, Any]
    checksum: str
    history: list[Row]
    environment: dict[str, Any]
    summary: Summary
    train: ImageDataset
    test: ImageDataset
    logits: Tensor
    evaluation: Evaluation

    @property
    def kind(self) -> str:
        """What the images are called: "test image" if they are of the dataset's test part."""
        return "test image" if self.evaluation.part == "test" else "image"

    @property
    def classes(self) -> list[str]:
        """The class names, with unprintable characters escaped."""
        return [shown(name) for name in self.model.classes]


def drawn(name: str, title: str, description: str, figure: Figure, *, wide: bool = False) -> Plot:
    """A figure as a plot."""
    return Plot(name, title, description, figures.to_svg(figure), wide)


def png(image: Image.Image) -> bytes:
    """Write a picture as PNG."""
    written = io.BytesIO()
    image.save(written, format="PNG", optimize=True)
    return written.getvalue()


def data_url(image: Image.Image) -> str:
    """A picture as the source of an image in a page."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
