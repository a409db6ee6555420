"""Projects: each platform finds its files, the example runs, the self-test finds what is broken."""

from __future__ import annotations

import dataclasses
import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from exports_shared import fitted, seasoned
from places import ROOT
from project_stubs import COMPILER, STRICT, run_example

from thimble.data.shapes10 import shapes10
from thimble.exporting.c import source as c_file
from thimble.exporting.deployment import Deployment, deploy
from thimble.exporting.export import describe
from thimble.exporting.projects import project
from thimble.system.folders import write_folder

CLASSES = ("cat?", 'a "dog"', "écureuil")
LAYOUTS = {
    "arduino": {
        "library.properties",
        "keywords.txt",
        "examples/Classify/Classify.ino",
        "src/tiny.c",
        "src/tiny.h",
        "src/tiny_test.c",
    },
    "esp-idf": {
        "CMakeLists.txt",
        "sdkconfig.defaults",
        "main/CMakeLists.txt",
        "main/main.c",
        "main/tiny.c",
        "main/tiny.h",
        "main/tiny_test.c",
    },
    "zephyr": {"CMakeLists.txt", "prj.conf", "src/main.c", "src/tiny.c", "src/tiny.h", "src/tiny_test.c"},
    "cmake": {
        "CMakeLists.txt",
        "cortex-m.cmake",
        "example/main.c",
        "src/tiny.c",
        "src/tiny.h",
        "src/tiny_test.c",
    },
}
PLATFORMS = tuple(LAYOUTS)
pytestmark = [pytest.mark.compiler, pytest.mark.skipif(not COMPILER, reason="no C compiler")]


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    model = seasoned("tiny", num_classes=3, in_channels=3, input_size=(12, 16))
    model.classes = CLASSES
    images = fitted(shapes10(40, seed=5).images, model)
    metadata = describe(model, {"licence": "MIT"}, "0" * 64, preprocess=True, softmax=False)
    return deploy(model, metadata=metadata, calibration=images[:20], samples=images[20:23])


@pytest.fixture(scope="module")
def projects(deployment: Deployment) -> dict[str, dict[str, bytes]]:
    return {platform: project.build(deployment, platform) for platform in PLATFORMS}


def answers(deployment: Deployment, folder: Path) -> list[str]:
    """The lines that an example prints, without the times."""
    assert deployment.samples is not None
    labels = project.load(folder)(deployment.inputs(deployment.samples)).argmax(1).tolist()
    return ["selftest: passed", *(f"image {i}: {CLASSES[label]}" for i, label in enumerate(labels, 1))]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_each_platform_has_its_files(platform: str, projects: dict[str, dict[str, bytes]]) -> None:
    assert set(projects[platform]) == {*LAYOUTS[platform], "README.md", "labels.txt"}
    assert set(project.PLATFORMS) == set(PLATFORMS)
    assert projects[platform]["labels.txt"].decode().splitlines() == list(CLASSES)
    readme = projects[platform]["README.md"].decode()
    assert len(readme.splitlines()) < 70  # a page
    for path in projects[platform]:
        assert Path(path).name in readme or path == "README.md", path


def test_the_network_is_the_c_file(deployment: Deployment, projects: dict[str, dict[str, bytes]]) -> None:
    for platform, files in projects.items():
        (path,) = (name for name in files if name.endswith("/tiny.c"))
        assert files[path].endswith(c_file.build(deployment)), platform


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_example_prints_the_answers_of_the_network(
    platform: str, deployment: Deployment, projects: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    if platform == "arduino" and not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    write_folder(tmp_path / "project", projects[platform])
    done = run_example(tmp_path / "project", platform, tmp_path / "stubs")
    assert done.returncode == 0
    assert [line.partition(", in ")[0] for line in done.stdout.splitlines()] == answers(
        deployment, tmp_path / "project"
    )
    assert re.search(r", in \d+ microseconds$", done.stdout)


def broken(text: bytes, table: str, bit: int, count: int = 0) -> bytes:
    """The C file with a bit of a table's first numbers flipped; 0: of all."""
    found = re.search(rf" {table}\[[^=]*= \{{(.*?)\n\}};", text.decode("ascii"), re.DOTALL)
    assert found is not None
    numbers = re.sub(r"-?\d+", lambda number: str(int(number[0]) ^ bit), found[1], count=count)
    assert numbers != found[1]
    return text[: found.start(1)] + numbers.encode("ascii") + text[found.end(1) :]


@pytest.mark.parametrize(
    ("table", "bit", "count"),
    [
        ("weights_1", 64, 1),
        ("weights_4", 64, 0),
        ("bias_1", 4_096, 0),
        ("multipliers_2", 1 << 28, 0),
        ("shifts_3", 1, 0),
        ("image_table", 64, 0),
    ],
)
def test_the_self_test_finds_a_broken_table(
    table: str, bit: int, count: int, projects: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    """A byte of the first weights is enough."""
    files = dict(projects["cmake"])
    files["src/tiny.c"] = broken(files["src/tiny.c"], table, bit, count)
    write_folder(tmp_path / "project", files)
    done = run_example(tmp_path / "project", "cmake", tmp_path / "stubs")
    assert done.returncode == 1
    assert done.stdout.startswith("selftest: FAILED")


def test_the_header_is_that_of_the_network(projects: dict[str, dict[str, bytes]], tmp_path: Path) -> None:
    """The network includes it; a size or a function that differs does not compile, nor does a board without memory."""
    write_folder(tmp_path / "project", projects["arduino"])
    source, header = tmp_path / "project" / "src" / "tiny.c", tmp_path / "project" / "src" / "tiny.h"
    command = [*COMPILER, *STRICT, "-c", str(source), "-o", str(tmp_path / "tiny.o")]
    assert subprocess.run(command).returncode == 0
    assert b"choose a board with" in subprocess.run([*command, "-D__AVR__"], capture_output=True).stderr
    whole = header.read_text()
    for old, new in (("TINY_WIDTH 16", "TINY_WIDTH 17"), ("float logits[3]);", "double logits[3]);")):
        assert whole.count(old) == 1
        header.write_text(whole.replace(old, new))
        assert subprocess.run(command, capture_output=True).returncode != 0


@pytest.mark.skipif(not shutil.which("cmake"), reason="no CMake")
def test_cmake_builds_it_and_runs_its_test(
    deployment: Deployment, projects: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    write_folder(folder, projects["cmake"])
    readme = (folder / "README.md").read_text("utf-8")
    assert "cmake -B build && cmake --build build && ctest --test-dir build\n    build/classify" in readme
    for command in ("cmake -B build", "cmake --build build", "ctest --test-dir build"):
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    done = subprocess.run([folder / "build" / "classify"], capture_output=True, text=True, encoding="utf-8")
    assert [line.partition(", in ")[0] for line in done.stdout.splitlines()] == answers(deployment, folder)


_SHIM = """
#include "tiny.h"
void selftest_logits(const uint8_t image[1], float logits[10]);
void selftest_logits(const uint8_t image[1], float logits[10])
{
    logits[0] = (float)tiny_selftest() + (float)image[0];
}
"""


@pytest.mark.emulator
@pytest.mark.skipif(not shutil.which("cmake"), reason="no CMake")
@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="no compiler for microcontrollers")
@pytest.mark.skipif(not shutil.which("qemu-system-arm"), reason="no emulator of microcontrollers")
@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4", "cortex-m7"])
@pytest.mark.parametrize("damaged", [False, True])
def test_the_self_test_runs_on_a_cortex_m(
    core: str,
    damaged: bool,
    projects: dict[str, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CMake's library for it, with the toolchain file, linked with the benchmark's startup code."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    microcontroller = importlib.import_module("microcontroller")
    folder, shim, image = tmp_path / "project", tmp_path / "shim.c", tmp_path / "image"
    files = dict(projects["cmake"])
    if damaged:
        files["src/tiny.c"] = broken(files["src/tiny.c"], "weights_1", 64, 1)
    write_folder(folder, files)
    shim.write_text(_SHIM)
    image.write_bytes(b"\0")
    board, floats = microcontroller.CORES[core]
    options = [f"-mcpu={core}", *floats]
    toolchain = ["-DCMAKE_TOOLCHAIN_FILE=cortex-m.cmake", f"-DCORTEX_M={' '.join(options)}"]
    for command in (["cmake", "-B", "build", *toolchain], ["cmake", "--build", "build", "-v"]):
        built = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    assert re.search(r" -O2 .*tiny\.c\.o", built.stdout)
    defined = ["-DLOGITS=selftest_logits", "-DCLASSES=10", "-DIMAGE=1", "-DNUM_IMAGES=1", f'-DIMAGES="\\"{image}\\""']
    linked = ["-nostartfiles", "--specs=nosys.specs", "-T", str(ROOT / "benchmarks" / "microcontroller.ld")]
    sources = [str(ROOT / "benchmarks" / "microcontroller.c"), str(shim), str(folder / "build" / "libtiny.a")]
    compiler = [microcontroller.COMPILER, "-mthumb", *options, "-O2", f"-I{folder / 'src'}", "-Wl,--gc-sections"]
    program = str(tmp_path / "program.elf")
    subprocess.run([*compiler, *defined, *linked, *sources, "-o", program], check=True, capture_output=True)
    symbols = subprocess.run(["arm-none-eabi-nm", program], check=True, capture_output=True, text=True).stdout
    assert " tiny_logits\n" in symbols
    assert " tiny_fit\n" not in symbols  # what nobody calls costs nothing
    assert " inverses\n" not in symbols
    command = [microcontroller.EMULATOR, "-M", board, "-nographic", "-semihosting", "-kernel", program]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    (line,) = (text for text in (done.stdout + done.stderr).splitlines() if text.startswith("image "))
    assert (int(line.split()[2], 16) != 0) == damaged


def test_arduinos_rules_for_a_library(projects: dict[str, dict[str, bytes]]) -> None:
    """What arduino-lint asks for (https://arduino.github.io/arduino-lint/latest/rules/library/), which is not here."""
    files = projects["arduino"]
    lines = files["library.properties"].decode().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    assert len(fields) == len(lines)
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
    assert required <= set(fields)
    assert all(fields.values())
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9 _.\-]{0,15}", fields["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    categories = "Display,Communication,Signal Input/Output,Sensors,Device Control,Timing,Data Storage,Data Processing"
    assert fields["category"] in [*categories.split(","), "Other"]
    assert fields["url"].startswith("https://")
    assert f"src/{fields['includes']}" in files
    assert fields["includes"] == f"{fields['name']}.h"
    for field in ("name", "author", "maintainer"):
        assert "arduino" not in fields[field].lower()
    assert not fields["paragraph"].startswith(fields["sentence"])  # the Library Manager shows one after the other
    assert "README.md" in files
    for path in files:  # a sketch lies in a folder of its name; no other sketch, binary or link
        assert re.fullmatch(r"[A-Za-z0-9_./]+", path)
        if path.endswith(".ino"):
            assert Path(path).parts == ("examples", Path(path).stem, Path(path).name)
    rows = [line for line in files["keywords.txt"].decode().splitlines() if line and not line.startswith("#")]
    assert {"tiny_classify\tKEYWORD2", "TINY_RGB565\tLITERAL1"} <= set(rows)
    for row in rows:
        assert re.fullmatch(r"\w+\t(KEYWORD[123]|LITERAL[12])", row)


def test_espressifs_and_zephyrs_build_files_name_the_sources(projects: dict[str, dict[str, bytes]]) -> None:
    component = projects["esp-idf"]["main/CMakeLists.txt"].decode()
    named = re.search(r"SRCS ((?:\"[^\"]+\" ?)+)", component)
    assert named is not None
    assert {f"main/{name}" for name in re.findall(r'"([^"]+)"', named[1])} == {
        name for name in projects["esp-idf"] if name.endswith(".c")
    }
    assert "esp_timer" in component
    top = projects["esp-idf"]["CMakeLists.txt"].decode()
    assert top.index("cmake_minimum_required") < top.index("tools/cmake/project.cmake") < top.index("project(tiny)")
    assert b"CONFIG_COMPILER_OPTIMIZATION_PERF=y" in projects["esp-idf"]["sdkconfig.defaults"]
    application = projects["zephyr"]["CMakeLists.txt"].decode()
    assert application.index("find_package(Zephyr") < application.index("project(tiny)")
    assert set(re.findall(r"src/\w+\.c", application)) == {name for name in projects["zephyr"] if name.endswith(".c")}
    assert b"CONFIG_SPEED_OPTIMIZATIONS=y" in projects["zephyr"]["prj.conf"]


def test_a_project_without_test_images_is_a_mistake_of_the_caller(deployment: Deployment) -> None:
    with pytest.raises(ValueError, match="expected test images"):
        project.build(dataclasses.replace(deployment, samples=None), "cmake")


def test_the_check_reads_the_project_itself(
    deployment: Deployment, projects: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    write_folder(tmp_path / "project", projects["esp-idf"])
    (tmp_path / "model.c").write_bytes(c_file.build(deployment))
    assert deployment.calibration is not None
    inputs = deployment.inputs(deployment.calibration)
    assert torch.equal(project.load(tmp_path / "project")(inputs), c_file.load(tmp_path / "model.c")(inputs))
