"""The curves of several runs in one figure: what is in it, and that it can be read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from training_runs import history

from thimble.errors import UserError
from thimble.reporting.curves import draw, save_drawing
from thimble.system.names import shown


def pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.int64)


def legend(figure: Any) -> Any:
    (found,) = figure.legends
    return found


def test_there_are_three_panels_and_a_colour_for_each_run() -> None:
    figure = draw({"a": history(5), "b": history(3)})
    loss, accuracy, rate = figure.axes
    assert [panel.get_title() for panel in figure.axes] == ["loss (nats)", "accuracy (%)", "learning rate"]
    for panel, per_run in ((loss, 2), (accuracy, 2), (rate, 1)):
        styles = [line.get_linestyle() for line in panel.lines]
        assert styles == ["-", "--"][:per_run] * 2
        assert len({line.get_color() for line in panel.lines}) == 2
    training, validation = loss.lines[:2]
    assert np.asarray(training.get_ydata()).tolist() == [row["train_loss"] for row in history(5)]
    assert np.asarray(validation.get_ydata()).tolist() == [row["validation_loss"] for row in history(5)]
    assert np.asarray(accuracy.lines[0].get_ydata())[0] == 50
    assert [text.get_text() for text in legend(figure).get_texts()] == ["a", "b"]
    assert [line.get_color() for line in legend(figure).get_lines()] == [line.get_color() for line in rate.lines]


def test_without_validation_there_is_no_dashed_line() -> None:
    figure = draw({"a": history(5, validation=False)})
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-"]
    assert figure.axes[0].get_legend() is None
    assert draw({"a": history(5, validation=False), "b": history(5)}).axes[0].get_legend() is not None


def test_runs_of_one_epoch_are_seen(tmp_path: Path) -> None:
    assert all(line.get_marker() == "o" for panel in draw({"a": history(1)}).axes for line in panel.lines)
    save_drawing({"a": history(1, validation=False)}, tmp_path / "x.png")
    blue = (abs(pixels(tmp_path / "x.png") - (0x00, 0x72, 0xB2)).max(2) < 8)[:420]  # without the legend
    for left in (0, 600, 1200):
        assert blue[:, left : left + 600].any()


@pytest.mark.parametrize("name", ["x.png", "x.PNG", "x.svg"])
def test_the_file_is_of_its_endings_format_and_not_blank(name: str, tmp_path: Path) -> None:
    save_drawing({"a": history(5), "b": history(9)}, tmp_path / name)
    if name == "x.svg":
        assert "<svg" in (tmp_path / name).read_text()
    else:
        drawn = pixels(tmp_path / name)
        for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
            assert (abs(drawn - color).max(2) < 8).sum() > 500


@pytest.mark.parametrize("count", [2, 8, 11])
def test_a_legend_of_long_names_stays_within_the_figure(count: int) -> None:
    names = [f"{number}  runs/" + "W" * 100 + f"-seed-{number}" for number in range(count)]
    figure = draw({name: history(4) for name in names})
    figure.draw_without_rendering()
    box, page = legend(figure).get_window_extent(), figure.bbox
    assert box.x0 >= 0
    assert box.x1 <= page.width
    assert box.y0 >= 0
    panels = [panel.get_tightbbox() for panel in figure.axes]
    assert all(panel is not None and panel.y0 >= box.y1 and panel.height > 300 for panel in panels)
    shown = [text.get_text() for text in legend(figure).get_texts()]
    assert len(set(shown)) == count
    assert all("…" in text and text.endswith(f"-seed-{number}") for number, text in enumerate(shown))
    looks = {(line.get_color(), line.get_marker()) for line in legend(figure).get_lines()}
    assert len(looks) == count


@pytest.mark.parametrize("name", ["_hidden", "$x$ and $\\frac{", "円 \U0001f9f5", "two\nlines", "[bold]"])
def test_any_name_can_be_drawn(name: str, tmp_path: Path) -> None:
    figure = draw({name: history(2)})
    assert [text.get_text() for text in legend(figure).get_texts()] == [shown(name)]
    save_drawing({name: history(2)}, tmp_path / "x.svg")


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    curves = {"a": history(2)}
    for name in ("x", "x.pdf", "x.png.txt", ".png"):
        with pytest.raises(UserError, match=r"expected a name that ends in \.png or \.svg"):
            save_drawing(curves, tmp_path / name)
    with pytest.raises(UserError, match="cannot write the drawing"):
        save_drawing(curves, tmp_path / "no" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="cannot write the drawing"):
        save_drawing(curves, tmp_path / "folder.png")
    with pytest.raises(ValueError, match="no curves to draw"):
        draw({})
    with pytest.raises(ValueError, match="no curves to draw"):
        draw({"a": history(2), "b": []})


def test_no_window_system_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # an import of it would now fail
    import matplotlib

    names = [name for name in matplotlib.rcParams if name != "backend"]  # to read that one may import pyplot
    before = [matplotlib.rcParams[name] for name in names]
    save_drawing({"a": history(2)}, tmp_path / "x.png")
    assert [matplotlib.rcParams[name] for name in names] == before
