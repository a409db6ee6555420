"""The C file: one file that a compiler takes without a word, and that answers as the ONNX int8 file does."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from exports_shared import fitted, seasoned, stand_in

from thimble.data.shapes10 import shapes10
from thimble.errors import UserError
from thimble.exporting import onnx_file
from thimble.exporting.c import source as c_file
from thimble.exporting.deployment import Deployment, deploy
from thimble.exporting.export import describe
from thimble.storage.find import load_pretrained

try:
    COMPILER = c_file.compiler()
except UserError:
    COMPILER = []


def needs_compiler(test: Any) -> Any:
    return pytest.mark.compiler(pytest.mark.skipif(not COMPILER, reason="no C compiler")(test))


STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-O2"]


@pytest.fixture(scope="module")
def shipped() -> Deployment:
    model = load_pretrained("reference")
    metadata = {"model": "reference", "classes": list(model.classes), "licence": "MIT", "weights_sha256": "0" * 64}
    return deploy(model, metadata=metadata, calibration=stand_in().images[:200])


@pytest.fixture(scope="module")
def source(shipped: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("c") / "reference.c"
    path.write_bytes(c_file.build(shipped))
    return path


def agreement(deployment: Deployment, images: torch.Tensor, folder: Path) -> float:
    """The share of images that the C file labels as the ONNX file does."""
    (folder / "model.c").write_bytes(c_file.build(deployment))
    (folder / "model.onnx").write_bytes(onnx_file.build_int8(deployment))
    inputs = deployment.inputs(images)
    one, other = (
        module.load(folder / name)(inputs) for module, name in ((c_file, "model.c"), (onnx_file, "model.onnx"))
    )
    torch.testing.assert_close(one, other, rtol=0, atol=0.05 * float(other.abs().max()))
    return float((one.argmax(1) == other.argmax(1)).float().mean())


@needs_compiler
def test_it_answers_as_the_onnx_int8_file_does_on_a_thousand_images(shipped: Deployment, tmp_path: Path) -> None:
    assert agreement(shipped, stand_in().images, tmp_path) >= 0.99


@needs_compiler
@pytest.mark.parametrize(("name", "size"), [("thimble-78k", (32, 32)), ("reference", (24, 16))])
def test_residual_blocks_and_other_sizes(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    model = seasoned(name, num_classes=3)
    model.input_size = (3, *size)
    images = shapes10(300, seed=5).images[:, :, : size[0], : size[1]].contiguous()
    model.classes = ('a "quoted"', "back\\slash", "écureuil??/")
    deployment = deploy(model, metadata={"model": name, "classes": list(model.classes)}, calibration=images[:50])
    assert agreement(deployment, images, tmp_path) >= 0.98


@needs_compiler
def test_a_strict_compiler_has_nothing_to_say(source: Path, tmp_path: Path) -> None:
    command = [*COMPILER, *STRICT, "-c", str(source), "-o", str(tmp_path / "model.o")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


@needs_compiler
def test_its_memory_is_what_it_says(source: Path, tmp_path: Path) -> None:
    text, target = source.read_text(), tmp_path / "model.o"
    command = [*COMPILER, *STRICT, "-fstack-usage", "-c", str(source), "-o", str(target)]
    if subprocess.run(command, capture_output=True, cwd=tmp_path).returncode:
        pytest.skip("this compiler has no -fstack-usage")
    sizes = subprocess.run(["size", str(target)], capture_output=True, text=True, check=True).stdout.splitlines()[1]
    _, data, bss = (int(number) for number in sizes.split()[:3])
    (stated,) = (int(number) for number in re.findall(r"_RAM_BYTES (\d+)", text))
    assert stated <= bss <= stated + 64  # and what aligning them takes
    assert data < 4_096  # addresses of class names, where the file is relocated
    usage = [int(line.split("\t")[1]) for path in tmp_path.glob("*.su") for line in path.read_text().splitlines()]
    assert 0 < sum(usage) <= c_file.STACK_BYTES


@needs_compiler
@pytest.mark.parametrize("name", ["reference", "thimble-78k"])
def test_as_a_program_it_names_the_class_and_never_leaves_its_buffers(name: str, tmp_path: Path) -> None:
    model, data = load_pretrained(name), stand_in()
    deployment = deploy(model, metadata={"classes": list(model.classes)}, calibration=data.images[:100])
    path, program = tmp_path / "model.c", tmp_path / "model"
    path.write_bytes(c_file.build(deployment))
    sanitizers = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    if subprocess.run([*COMPILER, *sanitizers, "-DTHIMBLE_MAIN", str(path), "-o", str(program)]).returncode:
        pytest.skip("this compiler has no sanitizers")
    inputs = deployment.inputs(data.images[:3])
    expected = [model.classes[label] for label in c_file.load(path)(inputs).argmax(1)]
    for pixels, label in zip(inputs, expected, strict=True):
        result = subprocess.run([program], input=pixels.numpy().tobytes(), capture_output=True)
        assert (result.returncode, result.stderr) == (0, b"")
        assert label.encode() in result.stdout


@needs_compiler
def test_of_grey_images_it_takes_one_byte_a_pixel_and_says_how_to_make_them(tmp_path: Path) -> None:
    model = seasoned("tiny", num_classes=2, in_channels=1, input_size=(20, 96))
    model.classes, model.fit, model.depth = ("cat?", "dog"), "pad", (100.0, 4000.5)
    images = fitted(shapes10(20, seed=5).images, model)
    metadata = describe(model, {}, "0" * 64, preprocess=True, softmax=False)
    deployment = deploy(model, metadata=metadata, calibration=images)
    path, program = tmp_path / "model.c", tmp_path / "model"
    path.write_bytes(c_file.build(deployment))
    text = " ".join(path.read_text("ascii").replace(" * ", " ").split())
    for fact in (
        "96 x 20 pixels, row by row from the top left; one byte per pixel: grey, 0..255",
        "#define TINY_CHANNELS 1",
        "extern int tiny_classify(const uint8_t image[1920]);",
        'do what "fitting" says above',
        "scale grey of 16 bits so that 100 becomes 0 and 4000.5 becomes 255",
        "resize it to fit into 96x20 (width x height), and centre it on grey of 128",
    ):
        assert fact in text
    command = [*COMPILER, *STRICT, "-DTHIMBLE_MAIN", str(path), "-o", str(program)]
    sanitizers = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    if subprocess.run([*command, *sanitizers], capture_output=True).returncode:
        subprocess.run(command, check=True)
    expected = [model.classes[label] for label in c_file.load(path)(deployment.inputs(images)).argmax(1)]
    for pixels, label in zip(images[:3], expected, strict=False):
        result = subprocess.run([program], input=pixels.numpy().tobytes(), capture_output=True)
        assert (result.returncode, result.stderr, result.stdout.decode().strip()) == (0, b"", label)
    short = subprocess.run([program], input=bytes(1919), capture_output=True)
    assert (short.returncode, short.stderr) == (2, b"expected 1920 bytes: 96 x 20 pixels, one byte per pixel\n")


@pytest.mark.slow
def test_it_depends_on_nothing(source: Path) -> None:
    text = source.read_text("ascii")
    assert set(re.findall(r"#\s*include\s*[<\"]([^>\"]+)", text)) <= {"stdint.h", "stdio.h"}
    assert not re.search(r"\b(malloc|calloc|realloc|free|alloca|memcpy)\s*\(", text)
    for fact in ("MIT", "0" * 64, "airplane"):
        assert fact in text


def test_the_same_weights_make_the_same_file(shipped: Deployment, source: Path) -> None:
    assert c_file.build(shipped) == source.read_bytes()


@pytest.mark.parametrize("options", [{"softmax": True}, {"preprocess": False}])
def test_what_it_cannot_do_is_refused(options: dict[str, bool]) -> None:
    deployment = deploy(seasoned(), calibration=stand_in().images[:20], **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="expected uint8 pixels as input and logits as output"):
        c_file.build(deployment)


@pytest.mark.slow
def test_a_network_with_an_operation_it_has_not_is_refused() -> None:
    with pytest.raises(UserError) as error:
        c_file.build(deploy(seasoned("teacher-2m"), calibration=stand_in().images[:20]))
    assert "\n" not in str(error.value)


def test_without_a_compiler_it_says_what_to_install(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(UserError, match="CC"):
        c_file.load(source)
