"""Draw shapes10: 32x32 colour images in ten classes, computed from a seed, without files or network.

It replaces CIFAR-10, with the same image size, for a first try, for machines without internet, and for tests. Every
image shows one shape of random position, size, rotation, stretch and colour, sometimes faint, cut off or partly
covered. The background is darker, shaded and textured, with a few strokes; noise covers everything. A shape is a signed
distance function, so clipping the distance gives a smooth edge: Quilez, "2D distance functions",
https://iquilezles.org/articles/distfunctions2d/.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from .dataset import ImageDataset
from .source import Part, Source

# All arrays are float32, but NumPy's type stubs make float32 times a Python number float64, so the type stays open.
Array: TypeAlias = NDArray[Any]

# Over all pixels of the 20,000 default training images, in 0..1; tests/data/test_shapes10.py checks them.
MEAN = (0.3855, 0.3859, 0.3832)
STD = (0.2198, 0.2184, 0.2180)

TRAIN_IMAGES, TRAIN_SEED = 20_000, 0
TEST_IMAGES, TEST_SEED = 2_000, 1

SIDE = 32
# Images drawn at a time, each chunk from its own random stream: enough to be fast in NumPy, and small enough to fit the
# processor's cache.
_CHUNK = 200


class Shapes10(Source):
    """The built-in drawings."""

    name = title = "shapes10"

    def load(self, part: Part, *, progress: bool = False) -> ImageDataset:
        """Draw the default training set (20,000 images of seed 0) or test set (2,000 images of seed 1)."""
        return shapes10(TRAIN_IMAGES, TRAIN_SEED) if part == "train" else shapes10(TEST_IMAGES, TEST_SEED)


def shapes10(num_images: int, seed: int = 0) -> ImageDataset:
    """Draw labelled images, about 10,000 per second on one core.

    The same arguments give the same images. A smaller set is the beginning of a larger set with the same seed. Each
    group of ten images, counted from the first, has one image of each class. Between processors and NumPy versions, a
    pixel may differ by one level, because sines are rounded differently.

    Args:
        num_images: the number of images, at least 1.
        seed: 0 to 2**32 - 1. Different seeds give different images. The default training set has seed 0, the default
            test set seed 1.

    Raises:
        ValueError: ``num_images`` or ``seed`` is out of range.
    """
    if num_images < 1 or not 0 <= seed < 2**32:
        raise ValueError(f"{num_images} images of seed {seed}: expected at least 1 image, a seed of 0 to {2**32 - 1}")
    images = np.empty((num_images, 3, SIDE, SIDE), dtype=np.uint8)
    labels = np.empty(num_images, dtype=np.int64)
    for number, start in enumerate(range(0, num_images, _CHUNK)):
        here = slice(start, min(start + _CHUNK, num_images))
        length = here.stop - here.start
        # NumPy's compatibility policy (NEP 19) freezes the stream of RandomState, but not that of default_rng.
        drawn, drawn_labels = _draw_chunk(np.random.RandomState([seed, number]))
        images[here], labels[here] = drawn[:length], drawn_labels[:length]
    return ImageDataset("shapes10", torch.from_numpy(images), torch.from_numpy(labels), CLASSES, MEAN, STD)


def _draw_chunk(random: np.random.RandomState) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw ``_CHUNK`` images, back to front: background, strokes, shape, a covering stroke, noise."""
    labels = np.concatenate([random.permutation(len(CLASSES)) for _ in range(_CHUNK // len(CLASSES))])
    axis = ((np.arange(SIDE, dtype=np.float32) + 0.5) * 2 / SIDE - 1).astype(np.float32)
    x, y = axis[None, None, :], -axis[None, :, None]  # -1..1, y upwards

    near = _colours(random, 0.15, 0.5)
    far = np.clip(near + _uniform(random, -0.2, 0.2, 3), 0, 1)
    # Colour distances of 0.25 to 0.6, where black to white is 1.7: some shapes are faint, but none equals its
    # background. Shapes are usually lighter than it: with both directions alike, a network would learn very slowly.
    ink = _apart(_colours(random, 0.5, 0.85), (near + far) / 2, _uniform(random, 0.25, 0.6))

    canvas = _blend(_plane(near), _plane(far), _ramp(random, x, y))
    canvas += _plane(_uniform(random, -0.08, 0.08, 3)) * _texture(random, x, y)[:, None]
    for _ in range(2):
        canvas = _blend(canvas, _plane(_colours(random)), _stroke(random, x, y, share=0.4, width=(0.03, 0.08)))
    filling = _plane(ink) + _plane(_uniform(random, -0.08, 0.08, 3)) * _texture(random, x, y)[:, None]
    canvas = _blend(canvas, filling, _shape(random, labels, x, y) * _plane(_uniform(random, 0.75, 1.0))[:, 0])
    canvas = _blend(canvas, _plane(_colours(random)), _stroke(random, x, y, share=0.25, width=(0.05, 0.12)))

    noise = random.randint(0, 256, canvas.shape, dtype=np.uint8).astype(np.float32) - 127.5
    canvas += noise * (_plane(_uniform(random, 0.0, 0.15)) / 255)
    canvas *= 255
    return np.clip(np.rint(canvas, out=canvas), 0, 255).astype(np.uint8), labels.astype(np.int64)


def _shape(random: np.random.RandomState, labels: NDArray[Any], x: Array, y: Array) -> Array:
    """How much of each pixel (n, 32, 32) the shape covers, 0..1."""
    radius = _uniform(random, 0.38, 0.8)
    stretch = np.exp(_uniform(random, -0.16, 0.16))
    turn = _uniform(random, -0.6, 0.6)  # a third of a right angle to either side, so that an arrow still points upwards
    # A large shape stays near the middle: the border may cut off a tip, but never makes the shape unrecognisable.
    reach = np.maximum(0.05, 1.06 - radius)
    x = x - (_uniform(random, -1, 1) * reach)[:, None, None]
    y = y - (_uniform(random, -1, 1) * reach)[:, None, None]
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    across, along = (radius * stretch)[:, None, None], (radius / stretch)[:, None, None]
    u, v = (x * cos + y * sin) / across, (y * cos - x * sin) / along
    distance = np.empty(u.shape, dtype=np.float32)
    for label, shape in enumerate(SHAPES.values()):
        chosen = labels == label
        distance[chosen] = shape(u[chosen], v[chosen])
    return _cover(distance * radius[:, None, None])


def _stroke(random: np.random.RandomState, x: Array, y: Array, *, share: float, width: tuple[float, float]) -> Array:
    """How much of each pixel a line with round ends covers; a ``share`` of the images has one."""
    start_x, start_y = _uniform(random, -1.1, 1.1)[:, None, None], _uniform(random, -1.1, 1.1)[:, None, None]
    turn, length = _uniform(random, 0, 2 * np.pi)[:, None, None], _uniform(random, 0.3, 1.6)[:, None, None]
    half = _uniform(random, *width)[:, None, None]
    there = (_uniform(random, 0, 1) < share).astype(np.float32)[:, None, None]
    cos, sin = np.cos(turn), np.sin(turn)
    along = (x - start_x) * cos + (y - start_y) * sin
    across = (y - start_y) * cos - (x - start_x) * sin
    beyond = along - np.clip(along, 0, length)
    return _cover(np.sqrt(beyond * beyond + across * across) - half) * there


def _texture(random: np.random.RandomState, x: Array, y: Array) -> Array:
    """The sum of two plane waves (n, 32, 32), in -1..1: stripes, checks or clouds, depending on their frequencies."""
    waves = np.zeros((_CHUNK, SIDE, SIDE), dtype=np.float32)
    for _ in range(2):
        frequency, turn = _uniform(random, 1, 16), _uniform(random, 0, np.pi)
        phase = _uniform(random, 0, 2 * np.pi)[:, None, None]
        waves += np.sin(
            x * (frequency * np.cos(turn))[:, None, None] + y * (frequency * np.sin(turn))[:, None, None] + phase
        )
    return waves / 2


def _ramp(random: np.random.RandomState, x: Array, y: Array) -> Array:
    """A linear shading (n, 32, 32) from 0 to 1 in any direction."""
    turn = _uniform(random, 0, 2 * np.pi)
    ramp: Array = np.clip(0.5 + 0.5 * (x * np.cos(turn)[:, None, None] + y * np.sin(turn)[:, None, None]), 0, 1)
    return ramp


def _colours(random: np.random.RandomState, dark: float = 0.2, light: float = 0.8) -> Array:
    """Random colours (n, 3), 0..1: any hue, from grey to vivid, with a lightness from ``dark`` to ``light``, 0..1."""
    hue = _uniform(random, 0, 2 * np.pi)[:, None] + np.array([0, 2, 4], dtype=np.float32) * (np.pi / 3)
    vivid, lightness = _uniform(random, 0.0, 0.4)[:, None], _uniform(random, dark, light)[:, None]
    colours: Array = np.clip(lightness + vivid * np.cos(hue), 0, 1)
    return colours


def _apart(colours: Array, others: Array, least: Array) -> Array:
    """Move colours (n, 3) away from others to a distance of ``least`` (n,), as far as the range 0..1 allows."""
    difference = colours - others
    length = np.sqrt((difference * difference).sum(1)) + 1e-6
    moved: Array = np.clip(others + difference * np.maximum(1, least / length)[:, None], 0, 1)
    return moved


def _uniform(random: np.random.RandomState, low: float, high: float, *shape: int) -> Array:
    """Draw one uniform number, or an array of them, for each image of a chunk."""
    return random.uniform(low, high, (_CHUNK, *shape)).astype(np.float32)


def _plane(values: Array) -> Array:
    """Reshape numbers per image (n,) or per image and channel (n, 3) to broadcast over pixels: (n, 1 or 3, 1, 1)."""
    return values.reshape(len(values), -1, 1, 1)


def _blend(below: Array, above: Array, cover: Array) -> Array:
    """Lay one picture (n, 3, 32, 32) over another, with the opacity ``cover`` (n, 32, 32), 0..1."""
    result: Array = below + (above - below) * cover[:, None]
    return result


def _cover(distance: Array) -> Array:
    """The share of each pixel inside an edge, 0..1, from its signed distance in half sides; smooth over one pixel."""
    cover: Array = np.clip(0.5 - distance * (SIDE / 2), 0, 1)
    return cover


def _circle(x: Array, y: Array) -> Array:
    distance: Array = np.sqrt(x * x + y * y) - 0.85
    return distance


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - 0.75


def _triangle(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x) * 0.866 + y * 0.5, -y) - 0.5


def _hexagon(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x) * 0.866 + np.abs(y) * 0.5, np.abs(y)) - 0.82


def _cross(x: Array, y: Array) -> Array:
    x, y = np.abs(x), np.abs(y)
    return np.maximum(np.minimum(x, y) - 0.28, np.maximum(x, y) - 0.95)


def _ring(x: Array, y: Array) -> Array:
    distance: Array = np.abs(np.sqrt(x * x + y * y) - 0.72) - 0.2
    return distance


def _crescent(x: Array, y: Array) -> Array:
    x = x - 0.15
    bite = x - 0.42
    distance: Array = np.maximum(np.sqrt(x * x + y * y) - 0.95, 0.78 - np.sqrt(bite * bite + y * y))
    return distance


def _star(x: Array, y: Array) -> Array:
    # By symmetry, a five-pointed star reduces to one straight edge, from a tip to a notch.
    fifth = 2 * math.pi / 5
    angle = np.arctan2(x, y)
    angle = np.abs(angle - fifth * np.rint(angle / fifth))
    length = np.sqrt(x * x + y * y)
    notch_x, notch_y = 0.45 * math.cos(math.pi / 5) - 1, 0.45 * math.sin(math.pi / 5)
    edge = math.hypot(notch_x, notch_y)
    distance: Array = (length * np.cos(angle) - 1) * (notch_y / edge) - length * np.sin(angle) * (notch_x / edge)
    return distance


def _heart(x: Array, y: Array) -> Array:
    # Quilez' heart begins at the origin and is 1.1 high; here it is shifted, and scaled to a radius of about one.
    scale = 0.6
    x, y = np.abs(x) * scale, y * scale + 0.57
    lobe = np.hypot(x - 0.25, y - 0.75) - math.sqrt(2) / 4
    edge = np.maximum(x + y, 0) / 2
    point = np.minimum(np.hypot(x, y - 1), np.hypot(x - edge, y - edge)) * np.sign(x - y)
    distance: Array = np.where(x + y > 1, lobe, point) / scale
    return distance


def _arrow(x: Array, y: Array) -> Array:
    shaft = np.maximum(np.abs(x) - 0.2, np.abs(y + 0.45) - 0.5)
    head = np.maximum(np.abs(x) * 0.79 + (y - 1) * 0.61, -y)
    return np.minimum(shaft, head)


SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "hexagon": _hexagon,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "heart": _heart,
    "arrow": _arrow,
}
CLASSES = tuple(SHAPES)
