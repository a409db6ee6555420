"""The augmentation: what each part does, the traps of Albumentations 2.0.8, and batches that follow from their seed."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from thimble.data.augment.augmenter import build_augmenter
from thimble.data.augment.batched import BatchAugmenter
from thimble.data.augment.one_by_one import Augmenter, Images
from thimble.data.augment.preview import preview
from thimble.data.augment.settings import AugmentConfig
from thimble.data.shapes10 import shapes10

MEAN = (0.2, 0.4, 0.6)
FILL = [51, 102, 153]
OFF = {"flip_probability": 0.0, "affine_probability": 0.0, "cutout_probability": 0.0}

# Nothing may reach the network, and Albumentations swallows what its call for the newest version raises: so each call
# is counted. Calling its check by hand at the end shows that it would have been.
OFFLINE = """
import json, os, socket
calls = []
def refuse(*arguments, **_):
    calls.append(str(arguments[:2]))
    raise OSError("no network in this test")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = socket.socket.connect_ex = refuse
os.environ.pop("NO_ALBUMENTATIONS_UPDATE", None)

import numpy as np
from thimble.data.augment.one_by_one import Augmenter
from thimble.data.augment.settings import AugmentConfig
Augmenter(AugmentConfig(), (0.5, 0.5, 0.5))(np.zeros((2, 8, 8, 3), np.uint8), 0)
ours = list(calls)

import albumentations.check_version
albumentations.check_version.check_for_updates()
print(json.dumps([ours, calls]))
"""


def augmenter(**settings: Any) -> Augmenter:
    return Augmenter(AugmentConfig(**{**OFF, **settings}), MEAN)


def noise(count: int = 8, side: int = 32) -> Images:
    return np.random.RandomState(0).randint(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_building_it_warns_of_nothing() -> None:
    """Trap 1: an argument that 2.0.8 does not know is ignored with a mere warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Augmenter(AugmentConfig(), MEAN)(noise(), 0)


def test_old_arguments_would_have_been_ignored() -> None:
    """Trap 1, shown: the library still only warns, so that the test above is worth something."""
    augmenter()  # sets what keeps the import below from the network
    import albumentations

    with pytest.warns(UserWarning, match=r"fill_value.*not valid for transform CoarseDropout"):
        albumentations.CoarseDropout(max_holes=1, max_height=4, max_width=4, fill_value=0, p=1.0)


def test_cutout_covers_one_rectangle_with_the_mean() -> None:
    """Trap 1, by its effect: our sizes and our fill are used."""
    images = np.full((300, 32, 32, 3), 200, dtype=np.uint8)
    heights, widths = set(), set()
    for before, after in zip(
        images, augmenter(cutout_probability=1.0, cutout_size=(0.125, 0.25))(images, 1), strict=True
    ):
        changed = (before != after).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all()  # one rectangle, without gaps
        assert after[changed].tolist() == [FILL] * int(changed.sum())
        heights.add(box.shape[0])
        widths.add(box.shape[1])
    assert heights <= set(range(4, 9))
    assert widths <= set(range(4, 9))
    assert {5, 6, 7} <= heights & widths


def test_the_fill_is_rounded() -> None:
    mean = (0.4914, 0.4822, 0.4465)
    images = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    covered = Augmenter(AugmentConfig(0.0, 0.0, cutout_probability=1.0), mean)(images, 0)
    assert covered.reshape(-1, 3).max(axis=0).tolist() == [125, 123, 114]


def test_the_border_is_mirrored_not_black() -> None:
    """Trap 2: ShiftScaleRotate's border is black unless told otherwise."""
    white = np.full((50, 32, 32, 3), 255, dtype=np.uint8)
    moving = {"affine_probability": 1.0, "shift_limit": 0.5, "scale_limit": 0.5, "rotate_limit_degrees": 90.0}
    assert (augmenter(**moving)(white, 0) == 255).all()
    assert (augmenter(**moving)(noise(50), 0) != noise(50)).any(axis=(1, 2, 3)).all()  # they do move


@pytest.mark.slow
def test_importing_makes_no_network_call() -> None:
    """Trap 4: Albumentations asks a server for its newest version at import."""
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    ours, all_calls = json.loads(done.stdout.splitlines()[-1])
    assert ours == []
    assert all_calls != []


def test_all_off_changes_nothing() -> None:
    assert np.array_equal(augmenter()(noise(), 0), noise())


def test_a_certain_flip_mirrors_exactly() -> None:
    assert np.array_equal(augmenter(flip_probability=1.0)(noise(), 0), noise()[:, :, ::-1])


def test_a_flip_happens_as_often_as_asked() -> None:
    flipped = (augmenter(flip_probability=0.25)(noise(1, 4).repeat(2000, axis=0), 0) != noise(1, 4)).any(axis=(1, 2, 3))
    assert 0.2 < flipped.mean() < 0.3


def test_shifts_stay_within_their_limit() -> None:
    """A tenth of 40 pixels is four; both directions happen, and no pixel is blurred on its way."""
    dot = np.zeros((400, 40, 40, 3), dtype=np.uint8)
    dot[:, 20, 20] = 255
    moved = augmenter(affine_probability=1.0, shift_limit=0.1, scale_limit=0.0, rotate_limit_degrees=0.0)(dot, 0)
    assert set(np.unique(moved)) == {0, 255}
    assert (moved[..., 0] == 255).sum(axis=(1, 2)).tolist() == [1] * 400
    _, rows, columns = np.nonzero(moved[..., 0])
    for places in (rows, columns):
        assert set(places.tolist()) <= set(range(16, 25))
        assert places.min() <= 17
        assert places.max() >= 23


def test_the_same_seed_gives_the_same_images() -> None:
    strong = augmenter(affine_probability=1.0, cutout_probability=0.5, flip_probability=0.5)
    first = strong(noise(), 7)
    assert not np.array_equal(strong(noise(), 8), first)
    assert np.array_equal(strong(noise(), 7), first)
    again = augmenter(affine_probability=1.0, cutout_probability=0.5, flip_probability=0.5)
    assert np.array_equal(again(noise(), 7), first)


def test_what_goes_in_is_not_modified() -> None:
    images, tensors = noise(), shapes10(16).images
    Augmenter(AugmentConfig(1.0, 1.0, cutout_probability=1.0), MEAN)(images, 0)
    assert np.array_equal(images, noise())
    for name in ("albumentations", "batched"):
        config = AugmentConfig(1.0, 1.0, cutout_probability=1.0, augmenter=name)
        build_augmenter(config, MEAN).augment(tensors, 0)
        assert torch.equal(tensors, shapes10(16).images)


def test_a_preview_has_a_row_for_each_class() -> None:
    dataset = shapes10(30)
    page = preview(dataset, AugmentConfig(), columns=4, scale=2)
    cell = 2 * 32 + 6
    assert page.size == (110 + 5 * cell + 18, 40 + 10 * cell + 6)
    pixels = np.asarray(page)
    for row in range(10):  # the original at the left, one of its class
        tile = pixels[40 + row * cell :, 110:][: 2 * 32 : 2, : 2 * 32 : 2].transpose(2, 0, 1)
        members = dataset.images[dataset.labels == row].numpy()
        assert any(np.array_equal(tile, member) for member in members)


def test_a_preview_without_images_of_a_class() -> None:
    dataset = shapes10(10).subset(torch.arange(3))
    pixels = np.asarray(preview(dataset, AugmentConfig(), columns=1, scale=1))
    present = set(dataset.labels.tolist())
    assert len(present) == 3
    for row in range(10):
        top = 40 + row * (32 + 6)
        assert bool((pixels[top : top + 32, 110:] == 255).all()) == (row not in present)


def coordinates(count: int, side: int = 32) -> torch.Tensor:
    """Images whose pixels tell where they are: red the column, green the row, blue one."""
    along = torch.arange(side, dtype=torch.uint8)
    image = torch.stack([along.expand(side, -1), along.view(-1, 1).expand(-1, side), torch.ones(side, side).byte()])
    return image.expand(count, -1, -1, -1).contiguous()


def features(config: AugmentConfig, count: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """What many draws of an augmentation did: where pixels came from, and where the rectangle lies, if there is one."""
    views = build_augmenter(config, (0.9, 0.9, 0.9)).augment(coordinates(count), seed).numpy()
    found = {}
    for row, column in ((1, 2), (4, 27), (16, 16), (30, 9)):
        seen = views[:, 2, row, column] == 1  # not covered
        found[f"column of {row},{column}"] = views[seen, 0, row, column].astype(float)
        found[f"row of {row},{column}"] = views[seen, 1, row, column].astype(float)
    covered = views[:, 2] != 1
    has_hole = covered.any((1, 2))
    found["hole"] = has_hole.astype(float)
    holes = covered[has_hole]
    found["height"], found["width"] = holes.any(2).sum(1).astype(float), holes.any(1).sum(1).astype(float)
    found["top"], found["left"] = holes.any(2).argmax(1).astype(float), holes.any(1).argmax(1).astype(float)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"affine_probability": 1.0, "rotate_limit_degrees": 0.0, "scale_limit": 0.0, "shift_limit": 0.15},
        {"affine_probability": 0.8, "rotate_limit_degrees": 40.0, "scale_limit": 0.3, "shift_limit": 0.1},
        {"flip_probability": 0.2, "affine_probability": 0.0, "cutout_probability": 0.9, "cutout_size": (0.1, 0.6)},
    ],
)
def test_both_augmenters_draw_from_the_same_distributions(settings: dict[str, Any]) -> None:
    """Over 8,000 draws of each: moments within four standard errors, histograms within Kolmogorov and Smirnov's."""
    theirs = features(AugmentConfig(**settings), 8000, 1)
    ours = features(AugmentConfig(**settings, augmenter="batched"), 8000, 2)
    for name, one in theirs.items():
        other = ours[name]
        if name in ("height", "width", "top", "left") and settings.get("cutout_probability") == 0.0:
            continue
        assert min(len(one), len(other)) > 1000, name
        error = np.sqrt(one.var() / len(one) + other.var() / len(other))
        assert abs(one.mean() - other.mean()) <= 4 * error + 1e-9, name
        assert other.std() == pytest.approx(one.std(), rel=0.08, abs=1e-9), name
        places = np.unique(np.concatenate([one, other]))
        steps = [np.searchsorted(np.sort(each), places, side="right") / len(each) for each in (one, other)]
        limit = 1.95 * np.sqrt(1 / len(one) + 1 / len(other))  # one in a thousand, and less for whole numbers
        assert np.abs(steps[0] - steps[1]).max() <= limit, name


@pytest.mark.slow
def test_the_comparison_of_distributions_is_not_blind() -> None:
    """A tenth less of rotation shows in where the corners come from."""
    turned = features(AugmentConfig(0.0, 1.0, rotate_limit_degrees=40.0), 8000, 1)["column of 1,2"]
    less = features(AugmentConfig(0.0, 1.0, rotate_limit_degrees=36.0, augmenter="batched"), 8000, 1)["column of 1,2"]
    error = np.sqrt(turned.var() / len(turned) + less.var() / len(less))
    assert abs(turned.mean() - less.mean()) > 4 * error


def test_a_batch_is_augmented_like_single_images_where_nothing_is_left_to_chance() -> None:
    images = torch.from_numpy(noise()).permute(0, 3, 1, 2).contiguous()
    certain: tuple[dict[str, Any], ...] = ({}, {"flip_probability": 1.0})
    for settings in certain:
        config = AugmentConfig(**{**OFF, **settings})
        batched = BatchAugmenter(config, MEAN).augment(images, 0)
        assert torch.equal(batched, Augmenter(config, MEAN).augment(images, 0))
        assert batched.dtype == torch.uint8
        assert batched.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_follows_from_its_seed_and_images_differ() -> None:
    config = AugmentConfig(affine_probability=1.0, cutout_probability=1.0)
    same = shapes10(1).images.repeat(64, 1, 1, 1)
    first = BatchAugmenter(config, MEAN).augment(same, 5)
    assert torch.equal(first, BatchAugmenter(config, MEAN).augment(same, 5))
    assert not torch.equal(first, BatchAugmenter(config, MEAN).augment(same, 6))
    assert len({view.numpy().tobytes() for view in first}) > 60


def test_images_that_are_not_square_are_augmented_too() -> None:
    config = AugmentConfig(affine_probability=1.0, rotate_limit_degrees=180.0, cutout_probability=1.0)
    images = torch.randint(0, 256, (16, 3, 12, 40), dtype=torch.uint8)
    views = BatchAugmenter(config, MEAN).augment(images, 0)
    for image, view in zip(images, views, strict=True):
        pixels = {tuple(pixel) for pixel in image.flatten(1).T.tolist()} | {tuple(FILL)}
        assert {tuple(pixel) for pixel in view.flatten(1).T.tolist()} <= pixels
