"""Image files that mean harm: special files, programs, sizes and metadata without end, and what they may cost."""

from __future__ import annotations

import gc
import os
import socket
import struct
import zlib
from pathlib import Path

import pytest
from image_samples import failure, halves, noise, png, saved
from PIL import Image

from thimble.data import opening
from thimble.data.image_files import check_picture, read_image, save_image
from thimble.data.pixels import Fitting, to_input
from thimble.errors import UserError

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
    expected = to_input(read_image(path), Fitting((32, 32))).float()
    assert read_image(path).size == (1600, 800)
    monkeypatch.setattr(opening, "MOST_PIXELS", 80_000)
    monkeypatch.setattr("thimble.data.pixels.MOST_PIXELS", 80_000)
    assert read_image(path).size == (200, 100)
    assert read_image(path, Fitting((32, 32))).size == (400, 200)  # of which the network sees the half
    assert (to_input(read_image(path, Fitting((32, 32))), Fitting((32, 32))).float() - expected).abs().mean() < 2


@pytest.mark.parametrize(
    ("size", "fitting", "factor"),
    [
        ((4000, 3000), Fitting((128, 128)), 4),
        ((4000, 3000), Fitting((96, 96)), 4),
        ((4000, 3000), Fitting((64, 64)), 8),
        ((3000, 4000), Fitting((64, 64), fit="pad"), 8),
        ((4000, 3000), Fitting((256, 256)), 2),
        ((4000, 3000), None, 1),
        ((4001, 2047), Fitting((32, 32)), 4),
        ((2048, 2048), Fitting((32, 32), fit="squash"), 8),
        ((600, 511), Fitting((8, 8)), 1),
        ((600, 512), Fitting((8, 8)), 2),
        ((1000, 512), Fitting((16, 64)), 1),
        ((2000, 1024), Fitting((16, 64)), 1),  # of which 250 rows are seen, if it is rotated
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_a_network_needs(
    tmp_path: Path, size: tuple[int, int], fitting: Fitting | None, factor: int
) -> None:
    image = noise(16).resize(size, Image.Resampling.BICUBIC)
    read = read_image(saved(image, tmp_path / "a.jpg", quality=95), fitting)
    assert read.size == (-(-size[0] // factor), -(-size[1] // factor))
    assert read_image(saved(image, tmp_path / "a.bmp"), fitting).size == size
    if fitting is not None:
        whole = to_input(image, fitting).float()
        assert (to_input(read, fitting).float() - whole).abs().mean() < 2


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
            to_input(read_image(tmp_path / name), Fitting((8, 8)))
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
