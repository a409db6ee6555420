"""The augmentation: what each part does, the traps of Albumentations 2.0.8, and batches that follow from their seed."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from thimble.augment import Augmenter, Images, preview, save_preview
from thimble.batches import EpochBatches
from thimble.config import AugmentConfig, UserError
from thimble.data import ImageDataset, shapes10

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
from thimble.augment import Augmenter
from thimble.config import AugmentConfig
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


def numbered(count: int) -> ImageDataset:
    """Plain images that tell their index by their colour, and labels that tell it too."""
    indices = torch.arange(count)
    images = indices.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 4, 4)
    return ImageDataset("shapes10", images, indices, tuple(str(i) for i in range(count)), MEAN, MEAN)


def batches(dataset: ImageDataset, config: AugmentConfig | None = None, **options: int) -> EpochBatches:
    settings = {"batch_size": 8, "seed": 0, "epoch": 0, **options}
    return EpochBatches(dataset, Augmenter(config or AugmentConfig(), MEAN), **settings)


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


def test_workers_make_the_same_batches() -> None:
    """Trap 3: left alone, every worker draws the same stream, and other numbers of workers other batches."""
    dataset = shapes10(48)
    alone = list(batches(dataset).loader(0, workers=0, pin_memory=False))
    together = list(batches(dataset).loader(0, workers=2, pin_memory=False))
    assert len(alone) == len(together) == 6
    for (images, labels), (others, other_labels) in zip(alone, together, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_no_two_batches_share_a_random_stream() -> None:
    """Trap 3, by its effect: of one image many times over, all batches of epochs, seeds and processes differ."""
    same = ImageDataset("shapes10", shapes10(1).images.repeat(32, 1, 1, 1), torch.zeros(32).long(), ("a",), MEAN, MEAN)
    moving = AugmentConfig(affine_probability=1.0, rotate_limit_degrees=90.0, cutout_probability=1.0)
    seen = [
        batches(same, moving, seed=seed, epoch=epoch, rank=rank, world_size=2)[batch][0].numpy().tobytes()
        for seed in range(3)
        for epoch in range(3)
        for rank in range(2)
        for batch in range(4)
    ]
    assert len(set(seen)) == 72
    images = batches(same, moving)[0][0]
    assert len({image.numpy().tobytes() for image in images}) == len(images)  # nor do two images of a batch


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
    images, dataset = noise(), shapes10(16)
    Augmenter(AugmentConfig(1.0, 1.0, cutout_probability=1.0), MEAN)(images, 0)
    assert np.array_equal(images, noise())
    list(batches(dataset, AugmentConfig(1.0, 1.0, cutout_probability=1.0)).loader(0, workers=0, pin_memory=False))
    assert torch.equal(dataset.images, shapes10(16).images)


def test_batches_are_uint8_and_channels_last() -> None:
    images, labels = batches(shapes10(20))[1]
    assert (images.dtype, images.shape) == (torch.uint8, (8, 3, 32, 32))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert (labels.dtype, labels.shape) == (torch.int64, (8,))


def test_an_epoch_takes_every_image_at_most_once_with_its_label() -> None:
    left_out = []
    for epoch in range(4):
        loader = batches(numbered(27), AugmentConfig(0.0, 0.0, cutout_probability=0.0), epoch=epoch)
        assert len(loader) == 3
        parts = list(loader.loader(0, workers=0, pin_memory=False))
        assert [len(labels) for _, labels in parts] == [8, 8, 8]
        labels = torch.cat([labels for _, labels in parts])
        assert torch.equal(torch.cat([images for images, _ in parts])[:, 0, 0, 0].long(), labels)
        assert len(set(labels.tolist())) == 24
        assert not torch.equal(labels, labels.sort().values)
        left_out.append(frozenset(range(27)) - set(labels.tolist()))
    assert len(set(left_out)) == 4


def test_processes_share_every_batch() -> None:
    """Without overlap; put together they have the images that a single process would have."""
    still, dataset = AugmentConfig(0.0, 0.0, cutout_probability=0.0), numbered(30)
    single = batches(dataset, still, epoch=2)
    shares = [batches(dataset, still, epoch=2, rank=rank, world_size=4) for rank in range(4)]
    for batch in range(len(single)):
        parts = [share[batch][1] for share in shares]
        assert [len(part) for part in parts] == [2, 2, 2, 2]
        assert torch.cat(parts).sort().values.tolist() == single[batch][1].sort().values.tolist()


@pytest.mark.parametrize("first", [0, 1, 5, 6])
def test_an_epoch_taken_up_goes_on_as_if_it_had_not_stopped(first: int) -> None:
    dataset = shapes10(48)
    whole = list(batches(dataset, seed=3, epoch=1).loader(0, workers=0, pin_memory=False))
    rest = list(batches(dataset, seed=3, epoch=1).loader(first, workers=0, pin_memory=False))
    assert len(rest) == 6 - first
    for (images, labels), (others, other_labels) in zip(whole[first:], rest, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_leaves_the_global_generators_alone(workers: int) -> None:
    """Dropout's masks follow from them: a run that resumes in mid-epoch starts a loader that the first had not."""
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].tolist()  # type: ignore[index]
    assert len(list(batches(shapes10(16)).loader(0, workers=workers, pin_memory=False))) == 2
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before  # type: ignore[index]


def test_a_preview_has_a_row_for_each_class(tmp_path: Path) -> None:
    dataset = shapes10(30)
    page = preview(dataset, AugmentConfig(), columns=4, scale=2)
    cell = 2 * 32 + 6
    assert page.size == (110 + 5 * cell + 18, 40 + 10 * cell + 6)
    pixels = np.asarray(page)
    for row in range(10):  # the original at the left, one of its class
        tile = pixels[40 + row * cell :, 110:][: 2 * 32 : 2, : 2 * 32 : 2].transpose(2, 0, 1)
        members = dataset.images[dataset.labels == row].numpy()
        assert any(np.array_equal(tile, member) for member in members)

    path = tmp_path / "preview.png"
    save_preview(dataset, AugmentConfig(), path, seed=1)
    with Image.open(path) as written:
        assert written.format == "PNG"
        assert written.size == (110 + 10 * (3 * 32 + 6) + 18, 40 + 10 * (3 * 32 + 6) + 6)


def test_a_preview_without_images_of_a_class() -> None:
    dataset = shapes10(10).subset(torch.arange(3))
    pixels = np.asarray(preview(dataset, AugmentConfig(), columns=1, scale=1))
    present = set(dataset.labels.tolist())
    assert len(present) == 3
    for row in range(10):
        top = 40 + row * (32 + 6)
        assert bool((pixels[top : top + 32, 110:] == 255).all()) == (row not in present)


@pytest.mark.parametrize("name", ["preview.nonsense", "preview", "missing/preview.png"])
def test_a_preview_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UserError, match="cannot write the preview") as caught:
        save_preview(shapes10(10), AugmentConfig(), path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
