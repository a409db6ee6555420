"""Image files of every kind, and of no kind at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from image_samples import BLUE, GREEN, RED, WHITE, close, failure, halves, noise, saved
from PIL import Image

from thimble.data.image_files import read_image
from thimble.data.pixels import Fitting, to_input
from thimble.errors import UserError


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.webp", "a.tiff", "a.ppm", "no-suffix"])
def test_formats(tmp_path: Path, name: str) -> None:
    options = {"format": "PNG"} if name == "no-suffix" else {}
    image = read_image(saved(halves(), tmp_path / name, **options))
    assert image.mode == "RGB"
    assert image.size == (40, 20)
    assert close(image.getpixel((5, 10)), RED)
    assert close(image.getpixel((35, 10)), BLUE)


@pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "RGBA"])
def test_colour_modes(tmp_path: Path, mode: str) -> None:
    # Pillow before 13 takes an uncompressed YCbCr TIFF, its own too, for a truncated one.
    options = {"compression": "tiff_lzw"} if mode == "YCbCr" else {}
    image = read_image(saved(halves(mode), tmp_path / "a.tiff", **options))
    assert image.mode == "RGB"
    assert close(image.getpixel((5, 10)), RED)
    assert close(image.getpixel((35, 10)), BLUE)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_modes(tmp_path: Path, mode: str) -> None:
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (4, 0, 8, 8))
    read = read_image(saved(image.convert(mode), tmp_path / "a.png"))
    assert (read.mode, read.getpixel((1, 1)), read.getpixel((6, 6))) == ("RGB", (0, 0, 0), WHITE)


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (4, 0, 8, 8))
    image.putpixel((0, 0), (0, 0, 0, 128))
    read = read_image(saved(image, tmp_path / "a.png"))
    assert (read.getpixel((1, 1)), read.getpixel((6, 6)), read.getpixel((0, 0))) == (RED, WHITE, (127, 127, 127))

    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([*RED, *BLUE])
    palette.paste(1, (4, 0, 8, 8))
    read = read_image(saved(palette, tmp_path / "b.png", transparency=1))
    assert (read.getpixel((1, 1)), read.getpixel((6, 6))) == (RED, WHITE)

    read = read_image(saved(halves(), tmp_path / "c.png", transparency=BLUE))
    assert (read.getpixel((5, 5)), read.getpixel((35, 5))) == (RED, WHITE)


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.pgm"])
def test_grey_of_16_bits_is_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16).repeat(4, 0)
    read = read_image(saved(Image.fromarray(values), tmp_path / name))
    assert np.asarray(read)[0, :, 0].tolist() == [0, 1, 128, 255]
    dark = read_image(saved(Image.fromarray(values // 4), tmp_path / f"dark-{name}"))
    assert np.asarray(dark)[0, :, 1].tolist() == [0, 0, 32, 64]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0, 100, 200], [0, 100, 200]), ([0, 500, 1000], [0, 128, 255])],
)
def test_grey_floats(tmp_path: Path, values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert np.asarray(read_image(saved(image, tmp_path / "a.tiff")))[0, :, 2].tolist() == expected


def test_grey_of_32_bits_and_strange_floats(tmp_path: Path) -> None:
    deep = Image.fromarray(np.array([[0, 1 << 20, 1 << 21]], dtype=np.int32))
    assert np.asarray(read_image(saved(deep, tmp_path / "a.tiff")))[0, :, 0].tolist() == [0, 128, 255]
    strange = Image.fromarray(np.array([[np.nan, np.inf, -np.inf, -3.0, 1.0]], dtype=np.float32))
    assert np.asarray(read_image(saved(strange, tmp_path / "b.tiff")))[0, :, 0].tolist() == [0, 0, 0, 0, 255]


def test_orientation_of_the_camera_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: left comes to the top
    read = read_image(saved(halves(), tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0))
    assert read.size == (20, 40)
    assert close(read.getpixel((10, 5)), RED)
    assert close(read.getpixel((10, 35)), BLUE)


def test_damaged_exif_does_not_matter(tmp_path: Path) -> None:
    path = saved(halves(), tmp_path / "a.jpg", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01garbage")
    assert read_image(path).size == (40, 20)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_of_an_animation_the_first_frame(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (GREEN, RED, BLUE)]
    path = saved(frames[0], tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    assert close(read_image(path).getpixel((4, 4)), GREEN)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "does not exist" in failure(tmp_path / "none.png")
    assert "is a folder" in failure(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", os.urandom(500)])
def test_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    failure(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.webp", "a.tiff", "a.gif"])
@pytest.mark.parametrize("share", [0.2, 0.7])
def test_truncated_image(tmp_path: Path, name: str, share: float) -> None:
    path = saved(noise(), tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    failure(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.gif", "a.webp", "a.tiff", "a.bmp"])
def test_damaged_bytes_raise_nothing_but_user_errors(tmp_path: Path, name: str) -> None:
    content = saved(noise(16), tmp_path / name).read_bytes()
    random = np.random.RandomState(1)
    refused = 0
    for _ in range(40):
        damaged = bytearray(content)
        for position in random.randint(0, min(len(content), 200), 4):
            damaged[position] = random.randint(0, 256)
        (tmp_path / name).write_bytes(damaged)
        try:
            assert read_image(tmp_path / name).mode == "RGB"
        except UserError:
            refused += 1
    assert refused > 0


def test_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(noise(40), tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 1,600 pixels: Pillow warns, and we read it
    assert read_image(path).size == (40, 40)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    assert "too many pixels to be read safely: expected at most 1,400" in failure(path)


def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    path = saved(halves(), tmp_path / "a.png")
    image = read_image(path)
    path.unlink()
    assert image.getpixel((5, 5)) == RED


# To the network's size


def test_input_of_the_right_size_is_untouched() -> None:
    image = noise(32)
    tensor = to_input(image, Fitting((32, 32)))
    assert tensor.dtype == torch.uint8
    assert tensor.is_contiguous()
    assert torch.equal(tensor, torch.from_numpy(np.array(image)).permute(2, 0, 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (33, 32), (640, 480), (5, 7)])
def test_input_of_any_size(size: tuple[int, int]) -> None:
    assert to_input(Image.new("RGB", size, GREEN), Fitting((32, 32))).flatten(1).float().mean(1).tolist() == [0, 255, 0]
    assert to_input(Image.new("RGB", size, GREEN), Fitting((24, 48))).shape == (3, 24, 48)


def test_input_is_the_centre_not_squeezed() -> None:
    image = Image.new("RGB", (96, 32), RED)
    image.paste(BLUE, (32, 0, 64, 32))
    tensor = to_input(image, Fitting((32, 32)))
    assert tensor[:, :, 1:-1].float().mean((1, 2)).tolist() == [0, 0, 255]


def test_input_is_antialiased() -> None:
    """A fine chequerboard becomes even grey; picking every tenth pixel would leave black or white."""
    fine = (np.indices((320, 320)).sum(0) % 2 * 255).astype(np.uint8)
    tensor = to_input(Image.fromarray(fine), Fitting((32, 32))).float()
    assert tensor.min() > 120
    assert tensor.max() < 135


def test_input_takes_any_mode() -> None:
    assert to_input(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), Fitting((4, 4))).min() == 255
    assert torch.equal(
        to_input(Image.new("L", (8, 8), 7), Fitting((4, 4))), torch.full((3, 4, 4), 7, dtype=torch.uint8)
    )
