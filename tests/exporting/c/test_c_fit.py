"""The C file makes the network's pixels of a camera's frame as Thimble does, within one grey level."""

from __future__ import annotations

import ctypes
import importlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from exports_shared import fitted, seasoned
from numpy.typing import NDArray
from PIL import Image
from places import ROOT
from test_c_source import COMPILER, STRICT, needs_compiler

from thimble.data.pixels import Fitting, to_input
from thimble.data.shapes10 import shapes10
from thimble.exporting.c import source as c_file
from thimble.exporting.c.fit import STACK_BYTES, odd_ties
from thimble.exporting.deployment import deploy
from thimble.exporting.export import describe

Pixels: TypeAlias = NDArray[np.uint8]
RGB888, RGBA8888, RGB565, RGB565_BIG_ENDIAN, GREY = range(1, 6)
FITS = ("crop", "pad", "squash")
SIZES = ((1, (20, 24)), (3, (32, 32)), (3, (12, 28)))
"""Of networks: channels, and height and width. Python does not round every half of a 28th to even."""
FRAMES = [(1, 1), (1, 2), (40, 1), (3, 2), (24, 20), (32, 32), (33, 31), (41, 32), (64, 64), (56, 29), (160, 120)]
FRAMES += [(101, 77), (7, 300), (300, 7), (1, 150), (3, 301), (700, 2), (19, 23)]
"""Their (width, height)."""


@cache
def source(fit: str, channels: int, size: tuple[int, int]) -> tuple[bytes, Fitting]:
    model = seasoned("tiny", num_classes=2, in_channels=channels, input_size=size)
    model.fit = fit
    metadata = describe(model, {}, "0" * 64, preprocess=True, softmax=False)
    images = fitted(shapes10(4, seed=5).images, model)
    return c_file.build(deploy(model, metadata=metadata, calibration=images)), Fitting.of(model)


@pytest.fixture(scope="module")
def fitters(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A function from fit, channels and size to one from a frame to pixels, which stops at undefined behaviour."""
    folder = tmp_path_factory.mktemp("fit")
    compiled: dict[Any, Any] = {}

    def compile_one(*key: Any) -> Any:
        if key not in compiled:
            content, fitting = source(*key)
            path, library = folder / f"{len(compiled)}.c", folder / f"{len(compiled)}.so"
            path.write_bytes(content)
            command = [*COMPILER, *STRICT, "-DTHIMBLE_FIT", "-shared", "-fPIC", str(path), "-o", str(library)]
            checked = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
            if subprocess.run([*command, *checked], capture_output=True).returncode:
                subprocess.run(command, check=True)
            compiled[key] = fitter(ctypes.CDLL(str(library)), fitting)
        return compiled[key]

    return compile_one


def fitter(library: ctypes.CDLL, fitting: Fitting) -> Callable[..., tuple[int, Pixels]]:
    def call(
        frame: Pixels, format: int, width: int, height: int, bytes_per_row: int | None = None
    ) -> tuple[int, Pixels]:
        pixels = np.full((*fitting.size, fitting.channels), 77, np.uint8)
        row = frame.nbytes // max(1, height) if bytes_per_row is None else bytes_per_row
        at = [ctypes.c_void_p(array.ctypes.data) for array in (frame, pixels)]
        return library.tiny_fit(at[0], format, width, height, row, at[1]), pixels

    return call


def frames(width: int, height: int, *, seed: int) -> Iterator[Pixels]:
    """Noisy, extreme, flat, striped and gradual ones: uint8 (height, width, 3)."""
    random = np.random.default_rng([seed, width, height])
    yield random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    yield np.where(random.random((height, width, 3)) < 0.5, 0, 255).astype(np.uint8)
    yield np.full((height, width, 3), random.integers(0, 256, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:height, :width]
    for stripes in (rows % 2, columns % 2, (rows + columns) % 2):
        yield np.repeat((255 * stripes).astype(np.uint8)[:, :, None], 3, 2)
    ramps = columns * 255 // max(1, width - 1), rows * 255 // max(1, height - 1), (rows + columns) % 256
    yield np.ascontiguousarray(np.stack(ramps, 2).astype(np.uint8))


def expected(image: Image.Image, fitting: Fitting) -> Pixels:
    return to_input(image, fitting).permute(1, 2, 0).numpy()


def differences(found: Pixels, wanted: Pixels) -> NDArray[np.int16]:
    difference: NDArray[np.int16] = np.abs(found.astype(np.int16) - wanted)
    return difference


@needs_compiler
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(("channels", "size"), SIZES)
def test_pixels_are_thimbles_within_one_grey_level(
    fit: str, channels: int, size: tuple[int, int], fitters: Any
) -> None:
    call, (_, fitting) = fitters(fit, channels, size), source(fit, channels, size)
    found, equal = 0, 0
    for width, height in FRAMES:
        for frame in frames(width, height, seed=channels):
            code, pixels = call(frame, RGB888, width, height)
            difference = differences(pixels, expected(Image.fromarray(frame), fitting))
            assert code == 0
            assert difference.max() <= 1, (width, height)
            found, equal = found + difference.size, equal + int((difference == 0).sum())
    assert equal >= 0.999 * found  # those that differ are halves that were rounded the other way


@needs_compiler
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_is_read(channels: int, fitters: Any) -> None:
    key = ("crop", *next(one for one in SIZES if one[0] == channels))
    call, (_, fitting) = fitters(*key), source(*key)
    random = np.random.default_rng(4)
    width, height = 61, 47
    words = random.integers(0, 65_536, (height, width), dtype=np.uint16)
    colours = random.integers(0, 256, (height, width, 4), dtype=np.uint8)
    colours[:9, :, 3], colours[9:20, :, 3] = 0, 255
    grey = random.integers(0, 256, (height, width), dtype=np.uint8)
    of_words = Image.frombytes("RGB", (width, height), words.astype("<u2").tobytes(), "raw", "BGR;16")
    cases = [
        (RGB565, words.astype("<u2").view(np.uint8), of_words),
        (RGB565_BIG_ENDIAN, words.astype(">u2").view(np.uint8), of_words),
        (RGBA8888, colours, Image.fromarray(colours, "RGBA")),
        (GREY, grey, Image.fromarray(grey)),
    ]
    for number, frame, image in cases:
        code, pixels = call(frame, number, width, height)
        assert code == 0
        assert differences(pixels, expected(image, fitting)).max() <= 1, number


@needs_compiler
def test_transparency_over_white_is_pillows_for_every_colour_and_alpha(fitters: Any) -> None:
    """A frame of the network's size keeps its pixels."""
    call, (_, fitting) = fitters("squash", 3, (32, 32)), source("squash", 3, (32, 32))
    for alpha in range(256):
        frame = np.arange(4_096, dtype=np.int64).reshape(32, 32, 4).astype(np.uint8)
        frame[..., 0] = np.arange(1_024).reshape(32, 32) % 256
        frame[..., 3] = alpha
        _, pixels = call(frame, RGBA8888, 32, 32)
        assert np.array_equal(pixels, expected(Image.fromarray(frame, "RGBA"), fitting))


@needs_compiler
def test_bytes_between_rows_are_skipped(fitters: Any) -> None:
    call = fitters("pad", 1, (20, 24))
    frame = np.random.default_rng(2).integers(0, 256, (30, 50), dtype=np.uint8)
    wide = np.full((30, 64), 255, np.uint8)
    wide[:, :50] = frame
    assert np.array_equal(call(frame, GREY, 50, 30)[1], call(wide, GREY, 50, 30, 64)[1])


@needs_compiler
@pytest.mark.parametrize(("width", "height"), [(8_192, 1), (1, 8_192), (8_192, 90), (80, 8_192), (4_001, 3_000)])
def test_large_frames_do_not_overflow(width: int, height: int, fitters: Any) -> None:
    key = ("crop", 1, (20, 24))
    frame = np.random.default_rng(3).integers(0, 256, (height, width), dtype=np.uint8)
    code, pixels = fitters(*key)(frame, GREY, width, height)
    assert code == 0
    assert differences(pixels, expected(Image.fromarray(frame), source(*key)[1])).max() <= 1


@needs_compiler
def test_the_largest_frame(fitters: Any) -> None:
    """White of 67 million pixels stays white; Thimble itself halves such images first."""
    frame = np.full((8_192, 8_192), 255, np.uint8)
    code, pixels = fitters("squash", 3, (32, 32))(frame, GREY, 8_192, 8_192)
    assert code == 0
    assert (pixels == 255).all()


@needs_compiler
@pytest.mark.parametrize(
    ("format", "width", "height", "bytes_per_row"),
    [
        (GREY, 0, 5, 5),
        (GREY, 5, 0, 5),
        (GREY, -1, 5, 5),
        (GREY, 5, 5, 4),
        (RGB888, 5, 5, 14),
        (RGB565, 5, 5, -10),
        (GREY, 8_193, 1, 8_193),
        (GREY, 1, 8_193, 1),
        (0, 5, 5, 20),
        (6, 5, 5, 20),
        (-1, 5, 5, 20),
    ],
)
def test_what_is_no_frame_is_refused(format: int, width: int, height: int, bytes_per_row: int, fitters: Any) -> None:
    code, pixels = fitters("pad", 1, (20, 24))(np.zeros(8_200, np.uint8), format, width, height, bytes_per_row)
    assert code == -1
    assert (pixels == 77).all()


@needs_compiler
@pytest.mark.parametrize("fit", FITS)
def test_memory_is_what_the_head_of_the_file_says(fit: str, tmp_path: Path) -> None:
    path = tmp_path / "model.c"
    content, _ = source(fit, 3, (32, 32))
    path.write_bytes(content)
    command, sizes = [*COMPILER, *STRICT, "-c", str(path), "-o", str(tmp_path / "model.o")], []
    for options in ([], ["-DTHIMBLE_FIT", "-fstack-usage"]):
        if subprocess.run([*command, *options], capture_output=True, cwd=tmp_path).returncode:
            pytest.skip("this compiler has no -fstack-usage")
        table = subprocess.run(["size", str(tmp_path / "model.o")], capture_output=True, text=True, check=True).stdout
        sizes.append(int(table.splitlines()[1].split()[2]))
    stated = 4 * (4 * 32 * 3 + 32)
    assert stated <= sizes[1] - sizes[0] <= stated + 64  # and what aligning them takes
    assert f"#define TINY_FIT_BYTES {stated}\n".encode() in content
    assert f"takes {stated} bytes of static RAM more, and at most {STACK_BYTES} bytes of stack".encode() in content
    usage = [line.split("\t") for found in tmp_path.glob("*.su") for line in found.read_text().splitlines()]
    ours = {name.rpartition(":")[2]: int(size) for name, size, *_ in usage}
    network = {"multiply", "run", "run_pass", "convolve", "tiny_logits", "tiny_classify"}
    assert 0 < sum(size for name, size in ours.items() if name not in network) <= STACK_BYTES


_FRAMED = """
#define THIMBLE_FIT
#include "{path}"

void framed_logits(const uint8_t frame[{num_bytes}], float logits[10]);

/* Ten sums that tell the pixels from others, each a whole number that a float holds. */
void framed_logits(const uint8_t frame[{num_bytes}], float logits[10])
{{
    static uint8_t image[480];
    const int code = tiny_fit(frame, TINY_RGB565_BIG_ENDIAN, {width}, {height}, {width} * 2, image);
    for (int part = 0; part < 10; part++) {{
        uint32_t sum = (uint32_t)(code != 0);
        for (int i = 0; i < 48; i++) {{
            sum = sum * 31u + image[part * 48 + i];
        }}
        logits[part] = (float)(sum >> 8);
    }}
}}
"""


@pytest.mark.emulator
@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="no compiler for microcontrollers")
@pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="no emulator of microcontrollers")
@needs_compiler
@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4"])
def test_a_microcontroller_makes_the_same_pixels(
    core: str, fitters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    microcontroller = importlib.import_module("microcontroller")
    key, (width, height) = ("crop", 1, (20, 24)), (160, 120)
    content, _ = source(*key)
    path, shim = tmp_path / "model.c", tmp_path / "framed.c"
    path.write_bytes(content)
    frame = np.random.default_rng(8).integers(0, 256, (1, height, 2 * width), dtype=np.uint8)
    shim.write_text(_FRAMED.format(path=path, width=width, height=height, num_bytes=frame.size))
    found = microcontroller.run(shim, torch.from_numpy(frame), core, "-O2")
    _, pixels = fitters(*key)(frame[0], RGB565_BIG_ENDIAN, width, height)
    assert found["logits"] == [tuple(np.float32(value).view(np.uint32) for value in sums_of(pixels))]


def sums_of(pixels: Pixels) -> list[int]:
    sums = []
    for part in pixels.reshape(10, 48).tolist():
        total = 0
        for value in part:
            total = (total * 31 + value) % 2**32
        sums.append(total >> 8)
    return sums


def test_a_network_of_unknown_fit_has_no_such_function() -> None:
    model = seasoned("tiny", num_classes=2, in_channels=1, input_size=(20, 24))
    images = fitted(shapes10(4, seed=5).images, model)
    content = c_file.build(deploy(model, metadata={"model": "tiny"}, calibration=images))
    assert b"tiny_logits" in content
    assert b"THIMBLE_FIT" not in content


def test_ties_of_a_side_that_is_a_power_of_two_are_even() -> None:
    assert odd_ties(32) == odd_ties(64) == []
    assert odd_ties(28) == [14]
