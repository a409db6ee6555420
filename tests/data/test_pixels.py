"""The network's pixels and the picture that people are shown: of the same part of the same image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from thimble.data import pixels as module
from thimble.data.image_files import read_image
from thimble.data.pixels import Fitting, to_input, view_of

SIZES = [(32, 32), (24, 48), (40, 8)]


def soft(width: int, height: int) -> Image.Image:
    """Colours that change slowly and in every direction, so that a shift, a turn or another colour shows."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return Image.fromarray((255 * np.stack([x, y, 0.5 * (1 - x) * y], 2)).round().astype(np.uint8))


def kinds(width: int, height: int) -> dict[str, Image.Image]:
    """One image of every mode that files come in, transparent where there is alpha."""
    image = soft(width, height)
    gray, alpha = image.convert("L"), image.getchannel(1)
    depth = np.asarray(gray)
    opaque = image.copy()
    opaque.putalpha(alpha)
    palette = image.quantize(64)
    with_alpha = palette.convert("PA")
    with_alpha.putalpha(alpha)
    keyed = palette.copy()
    keyed.info["transparency"] = bytes(range(0, 256, 4))
    found = {name: image.convert(name) for name in ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV")}
    return found | {
        "RGBA": opaque,
        "RGBa": opaque.convert("RGBa"),
        "LA": opaque.convert("LA"),
        "PA": with_alpha,
        "P keyed": keyed,
        "I;16": Image.fromarray(depth.astype(np.uint16) * 200),
        "I": Image.fromarray(depth.astype(np.int32) * 90_000),
        "F": Image.fromarray(depth.astype(np.float32) / 300),
        "F wide": Image.fromarray(depth.astype(np.float32) * 30 - 100),
    }


def turned(image: Image.Image, orientation: int) -> Image.Image:
    image = image.copy()
    image.getexif()[0x0112] = orientation
    return image


def assert_alike(image: Image.Image, size: tuple[int, int]) -> None:
    """What is shown, shrunk, is what the network sees."""
    view = view_of(image, Fitting(size))
    assert view.pixels.shape == (3, *size)
    assert max(view.picture.size) == 256
    assert view.picture.size == (round(256 * size[1] / max(size)), round(256 * size[0] / max(size)))
    assert view.picture.mode == "RGB"
    shrunk = np.asarray(view.picture.resize(size[::-1], Image.Resampling.BICUBIC), np.float64)
    difference = np.abs(shrunk - view.pixels.permute(1, 2, 0).numpy())
    assert difference.mean() < 4
    assert torch.equal(view.pixels, to_input(image, Fitting(size)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", [(300, 140), (50, 400), (31, 33)])
def test_what_is_shown_is_what_was_seen(shape: tuple[int, int], size: tuple[int, int]) -> None:
    for name, image in kinds(*shape).items():
        if name != "1":  # dithered dots are another matter when they are shrunk twice
            assert_alike(image, size)
    for orientation in range(1, 9):
        assert_alike(turned(soft(*shape), orientation), size)


def test_of_a_single_pixel_and_of_the_size_itself() -> None:
    for size in SIZES:
        view = view_of(Image.new("RGBA", (1, 1), (255, 0, 0, 128)), Fitting(size))
        assert set(view.pixels.flatten(1)[0].tolist()) == {255}
        assert view.picture.getcolors() == [(view.picture.width * view.picture.height, (255, 127, 127))]
    image = soft(48, 24)
    assert np.array_equal(view_of(image, Fitting((24, 48))).pixels.permute(1, 2, 0), np.asarray(image))


def test_an_image_from_python_is_what_its_file_is(tmp_path: Path) -> None:
    saved = {
        name: image for name, image in kinds(60, 40).items() if name in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16")
    }
    for number, (name, image) in enumerate(saved.items()):
        for orientation in (1, 6, 7):
            path = tmp_path / f"{number}-{orientation}.png"
            exif = Image.Exif()
            exif[0x0112] = orientation
            image.save(path, exif=exif)
            expected = to_input(read_image(path, Fitting((32, 32))), Fitting((32, 32)))
            with Image.open(path) as opened:
                assert torch.equal(to_input(opened, Fitting((32, 32))), expected), name
            assert torch.equal(to_input(turned(image, orientation), Fitting((32, 32))), expected), name
    assert len(saved) == 7


def test_every_orientation_is_as_pillow_turns_it() -> None:
    image = soft(50, 30)
    for orientation in range(1, 9):
        expected = ImageOps.exif_transpose(turned(image, orientation))
        assert torch.equal(
            to_input(turned(image, orientation), Fitting((16, 20))), to_input(expected, Fitting((16, 20)))
        )


@pytest.mark.parametrize("shape", [(1, 1), (33, 32), (640, 480), (5, 700), (101, 50), (77, 1)])
def test_pixels_are_those_of_pillows_fit(shape: tuple[int, int]) -> None:
    """To the bit: weights were trained, and figures measured, with these."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape[::-1], 3), np.uint8))
    for height, width in SIZES:
        expected = ImageOps.fit(noise, (width, height), method=Image.Resampling.BICUBIC)
        assert np.array_equal(to_input(noise, Fitting((height, width))).permute(1, 2, 0), np.asarray(expected))


def test_in_blocks_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    images = {**kinds(90, 70), "turned": turned(soft(90, 70), 6)}
    whole = {name: to_input(image, Fitting((24, 48))) for name, image in images.items()}
    monkeypatch.setattr(module, "_BLOCK", 100)
    for name, image in images.items():
        assert torch.equal(to_input(image, Fitting((24, 48))), whole[name]), name


@pytest.mark.parametrize("shape", [(151, 203), (2000, 11)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_large_images_are_seen_alike_but_for_rounding(
    shape: tuple[int, int], orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, image in kinds(*shape).items():
        given = turned(image, orientation)
        expected = view_of(given, Fitting((4, 5)))
        with monkeypatch.context() as patch:
            patch.setattr(module, "MOST_PIXELS", 8_000)
            patch.setattr(module, "_BLOCK", 3_000)
            found = view_of(given, Fitting((4, 5)))
            shrunk = module.to_rgb(given, Fitting((4, 5)))
            assert shrunk.width * shrunk.height <= 8_400
        assert (found.pixels.float() - expected.pixels.float()).abs().mean() < (12 if name == "1" else 4), name
        assert found.picture.size == expected.picture.size


def test_a_tiff_that_pillow_maps_into_memory_is_turned_once(tmp_path: Path) -> None:
    """By its name, Pillow 12 reads an uncompressed grey TIFF that is turned wrongly: rows of another length."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = soft(40, 20).convert("L")
    image.save(tmp_path / "a.tiff", exif=exif)
    expected = image.transpose(Image.Transpose.ROTATE_270).convert("RGB")
    assert read_image(tmp_path / "a.tiff").tobytes() == expected.tobytes()
