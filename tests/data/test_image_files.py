"""Image files of every kind, and of no kind at all."""

from __future__ import annotations

import errno
import gc
import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thimble.data import opening
from thimble.data.image_files import check_picture, read_image, save_image
from thimble.data.pixels import to_input
from thimble.errors import RunError, UserError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def halves(mode: str = "RGB") -> Image.Image:
    """Left half red, right half blue, 40x20."""
    image = Image.new("RGB", (40, 20), RED)
    image.paste(BLUE, (20, 0, 40, 20))
    return image.convert(mode)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def close(found: object, expected: tuple[int, int, int], tolerance: int = 6) -> bool:
    assert isinstance(found, tuple)
    return all(abs(a - b) <= tolerance for a, b in zip(found, expected, strict=True))


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


def failure(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert "does not exist" in failure(tmp_path / "none.png")
    assert "is a folder" in failure(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", os.urandom(500)])
def test_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    failure(path)


def noise(size: int = 64) -> Image.Image:
    return Image.fromarray(np.random.RandomState(0).randint(0, 256, (size, size, 3), dtype=np.uint8))


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
    tensor = to_input(image, (32, 32))
    assert tensor.dtype == torch.uint8
    assert tensor.is_contiguous()
    assert torch.equal(tensor, torch.from_numpy(np.array(image)).permute(2, 0, 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (33, 32), (640, 480), (5, 7)])
def test_input_of_any_size(size: tuple[int, int]) -> None:
    assert to_input(Image.new("RGB", size, GREEN), (32, 32)).flatten(1).float().mean(1).tolist() == [0, 255, 0]
    assert to_input(Image.new("RGB", size, GREEN), (24, 48)).shape == (3, 24, 48)


def test_input_is_the_centre_not_squeezed() -> None:
    image = Image.new("RGB", (96, 32), RED)
    image.paste(BLUE, (32, 0, 64, 32))
    tensor = to_input(image, (32, 32))
    assert tensor[:, :, 1:-1].float().mean((1, 2)).tolist() == [0, 0, 255]


def test_input_is_antialiased() -> None:
    """A fine chequerboard becomes even grey; picking every tenth pixel would leave black or white."""
    fine = (np.indices((320, 320)).sum(0) % 2 * 255).astype(np.uint8)
    tensor = to_input(Image.fromarray(fine), (32, 32)).float()
    assert tensor.min() > 120
    assert tensor.max() < 135


def test_input_takes_any_mode() -> None:
    assert to_input(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), (4, 4)).min() == 255
    assert torch.equal(to_input(Image.new("L", (8, 8), 7), (4, 4)), torch.full((3, 4, 4), 7, dtype=torch.uint8))


@pytest.mark.parametrize(("name", "kind"), [("x.png", "PNG"), ("x.JPG", "JPEG"), ("new/folder/x.webp", "WEBP")])
def test_an_image_is_written_in_the_format_that_its_ending_says(tmp_path: Path, name: str, kind: str) -> None:
    save_image(halves(), tmp_path / name)
    with Image.open(tmp_path / name) as written:
        assert (written.format, written.size) == (kind, (40, 20))


@pytest.mark.parametrize("name", ["x", "x.nothing", "folder.png"])
def test_an_image_that_cannot_be_named_so_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*expected the name of a file") as caught:
        save_image(halves(), tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_full_disk_leaves_the_image_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "x.png").write_text("the old one")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device; free some space"):
        save_image(halves(), tmp_path / "x.png")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the old one"]


# Bounded, whatever it is


def test_special_files_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "is a named pipe: expected a regular file" in failure(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    assert "is a device" in failure(tmp_path / "zero.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.png"))
        failure(tmp_path / "s.png")


def test_a_name_that_is_no_text_is_one(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a\xff.png")
    halves().save(path)
    assert read_image(path).size == (40, 20)


def test_no_program_is_run_and_no_stub_is_asked(tmp_path: Path) -> None:
    """Ghostscript would run EPS; and of formats without a bound nobody knows what they take."""
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n"
    for name, content in {"a.eps": eps, "a.png": eps, "a.svg": b"<svg></svg>", "a.fits": b"SIMPLE  =  T"}.items():
        (tmp_path / name).write_bytes(content)
        assert "is not an image in a format that Thimble reads" in failure(tmp_path / name)


def png(
    path: Path, width: int, height: int, *chunks: tuple[bytes, bytes], end: tuple[bytes, bytes] = (b"IEND", b"")
) -> Path:
    """A black PNG of 1 bit a pixel, with chunks before its pixels."""
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), *chunks, (b"IDAT", rows), end, (b"IEND", b"")):
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "I;16", "F"])
def test_by_its_header_an_image_that_is_too_large_is_refused(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(Image.new(mode, (100, 80)), tmp_path / "a.tiff")
    cost = 8000 * {"1": 1, "L": 1, "I;16": 2}.get(mode, 4)
    monkeypatch.setattr(opening, "MOST_DECODED_BYTES", cost)
    assert read_image(path).size == (100, 80)
    monkeypatch.setattr(opening, "MOST_DECODED_BYTES", cost - 1)
    assert "has 0.0 megapixels, 100 x 80: expected at most" in failure(path)


def test_an_image_of_four_thousand_megapixels_is_refused(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", 8, 8)
    content = path.read_bytes()
    header = b"IHDR" + struct.pack(">IIBBBBB", 65_535, 65_535, 1, 0, 0, 0, 0)
    path.write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    assert "too many pixels" in failure(path)


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"tEXt", b"prVt"])
def test_metadata_without_end_is_refused(
    tmp_path: Path, place: str, kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_MOST_METADATA", 1 << 16)
    chunk = kind, b"name\x00\x00" + bytes(1 << 17)
    path = tmp_path / "a.png"
    path = png(path, 8, 8, chunk) if place == "before" else png(path, 8, 8, end=chunk)
    assert "too much data besides its pixels" in failure(path)
    monkeypatch.setattr(opening, "_MOST_METADATA", 1 << 20)
    assert read_image(path).size == (8, 8)


def test_progressive_jpegs_cost_their_coefficients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A baseline image needs none of them, unless its colours come one after the other."""
    image = noise(160)
    plain, full = tmp_path / "plain.jpg", tmp_path / "full.jpg"
    half = saved(image, tmp_path / "half.jpg", progressive=True, subsampling=2)
    image.save(plain, subsampling=0)
    image.save(full, progressive=True, subsampling=0)
    costs = {plain: 4, half: 4 + 2 * 1.5, full: 4 + 2 * 3}
    for path, cost in costs.items():
        monkeypatch.setattr(opening, "MOST_DECODED_BYTES", 160 * 160 * cost)
        assert read_image(path).size == (160, 160)
        monkeypatch.setattr(opening, "MOST_DECODED_BYTES", 160 * 160 * cost - 1)
        failure(path)


def test_a_large_jpeg_is_decoded_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(noise(16).resize((1600, 800)), tmp_path / "a.jpg", quality=95)
    expected = to_input(read_image(path), (32, 32)).float()
    assert read_image(path).size == (1600, 800)
    monkeypatch.setattr(opening, "MOST_PIXELS", 80_000)
    monkeypatch.setattr("thimble.data.pixels.MOST_PIXELS", 80_000)
    assert read_image(path).size == (200, 100)
    assert read_image(path, (32, 32)).size == (400, 200)  # of which the network sees the half
    assert (to_input(read_image(path, (32, 32)), (32, 32)).float() - expected).abs().mean() < 2


def test_an_icon_is_measured_by_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = png(tmp_path / "inner.png", 12_000, 4_000).read_bytes()
    directory = struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    (tmp_path / "a.ico").write_bytes(directory + inner)
    assert "has 48.0 megapixels" in failure(tmp_path / "a.ico")


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("a.png", 70_000),
        ("a.jpg", 65_500),
        ("a.webp", 16_383),
        ("a.gif", 65_535),
        ("a.bmp", 70_000),
        ("a.tiff", 70_000),
    ],
)
def test_the_largest_sides_are_what_the_formats_hold(tmp_path: Path, name: str, side: int) -> None:
    check_picture(tmp_path / name, (side, 1))
    save_image(Image.new("RGB", (side, 1)), tmp_path / name)
    if name not in ("a.png", "a.bmp", "a.tiff"):
        with pytest.raises(UserError, match=f"holds at most {side:,} pixels a side"):
            save_image(Image.new("RGB", (1, side + 1)), tmp_path / name)
    with pytest.raises(UserError, match="draw fewer images at a time"):
        check_picture(tmp_path / "a.png", (816, 200_000))


def test_where_no_file_can_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file/a.png", "file/b/a.png", "a.xbm", "a.eps", "a.pdf/"):
        path = tmp_path / name
        if name == "a.pdf/":
            path.mkdir()
        with pytest.raises(UserError, match="cannot write"):
            check_picture(path)
    check_picture(tmp_path / "new" / "folder" / "a.png")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_nothing_of_an_image_stays_in_memory(tmp_path: Path) -> None:
    """Also before somebody collects garbage: two large images at once would be too much."""
    names = ["a.png", "a.jpg", "a.gif", "a.webp", "a.tiff", "a.bmp"]
    for name in names:
        path = saved(noise(), tmp_path / name)
        (tmp_path / f"cut-{name}").write_bytes(path.read_bytes()[:-400])
        read_image(path)
    gc.collect()
    gc.disable()
    try:
        before = sum(issubclass(type(value), Image.Image) for value in gc.get_objects())
        for name in names:
            read_image(tmp_path / name)
            to_input(read_image(tmp_path / name), (8, 8))
            with pytest.raises(UserError):
                read_image(tmp_path / f"cut-{name}")
            assert sum(issubclass(type(value), Image.Image) for value in gc.get_objects()) == before, name
    finally:
        gc.enable()


def test_a_gif_of_comments_takes_no_hours(tmp_path: Path) -> None:
    start = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + b"!\xfe"
    (tmp_path / "a.gif").write_bytes(start + (b"\xff" + b"A" * 255) * 20_000 + b"\x00;")
    assert "too much data besides its pixels" in failure(tmp_path / "a.gif")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_of_a_million_tiles_is_refused_before_they_are_made(tmp_path: Path, order: str, big: bool) -> None:
    path = tmp_path / "a.tiff"
    entry = "HHQQ" if big else "HHII"
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    start += struct.pack(f"{order}HHQ", 8, 0, 16) if big else struct.pack(f"{order}I", 8)
    path.write_bytes(
        start + struct.pack(f"{order}{'Q' if big else 'H'}", 1) + struct.pack(order + entry, 324, 4, 10**6, 99)
    )
    assert "1,000,000 strips or tiles" in failure(path)
