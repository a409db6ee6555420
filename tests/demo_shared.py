"""What the tests of the demo share: images to drop, good and bad ones, and weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from thimble.data.shapes10 import shapes10
from thimble.demo.answers import MAX_BYTES
from thimble.models import build_model
from thimble.storage.weights import save_weights

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def draw_ship(path: Path) -> Path:
    """A picture that the shipped network takes for a ship."""
    image = Image.new("RGB", (320, 240), (190, 215, 235))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 155, 320, 240), fill=(38, 92, 130))
    pen.polygon(((45, 135), (280, 135), (250, 175), (75, 175)), fill=(120, 30, 30))
    pen.rectangle((110, 100, 235, 135), fill=(240, 240, 235))
    pen.rectangle((150, 45, 172, 100), fill=(200, 60, 40))
    image.save(path)
    return path


def write_bad(folder: Path) -> dict[str, Path]:
    """An image of too many pixels, a file of too many bytes, a damaged image, and what is none."""
    ship = draw_ship(folder / "ship.png").read_bytes()
    paths = {name: folder / f"{name}.png" for name in ("huge", "heavy", "corrupt", "none")}
    Image.new("1", (9000, 7000)).save(paths["huge"])
    paths["heavy"].write_bytes(ship + bytes(MAX_BYTES))
    paths["corrupt"].write_bytes(ship[: len(ship) // 2])
    paths["none"].write_text("no image")
    return paths


def save_shapes(path: Path) -> Path:
    """Untrained weights for the classes of shapes10."""
    torch.manual_seed(0)
    model, data = build_model("thimble-78k"), shapes10(10)
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    save_weights(path, model, {"data": {"name": "shapes10"}})
    return path
