"""Build a folder that a platform's own tools compile and flash: the C file, a header, a self-test, an example.

``docs/projects.md`` explains how to use it. A platform is a row of ``PLATFORMS`` and a folder of templates; what all
share is in ``shared/``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from thimble.exporting.c import source as c_file
from thimble.exporting.c.text import lines_of, number_in_c
from thimble.exporting.deployment import Deployment
from thimble.system.names import shown
from thimble.system.scratch import temporary_folder
from thimble.version import __version__


@dataclass(frozen=True)
class Platform:
    """Where a platform's tools look for files.

    Attributes:
        name: for people.
        folder: of its templates.
        sources: the folder of the network's files.
        files: for each further file, its template in the folder and what it is, for the README.
    """

    name: str
    folder: str
    sources: str
    files: dict[str, tuple[str, str]]


_EXAMPLE = "the example: classifies the test images, prints the answers and the time"
PLATFORMS = {
    "arduino": Platform(
        "Arduino",
        "arduino",
        "src",
        {
            "library.properties": ("library.properties.j2", "what the Library Manager knows of it"),
            "keywords.txt": ("keywords.txt.j2", "what the editor colours"),
            "examples/Classify/Classify.ino": ("Classify.ino.j2", _EXAMPLE),
        },
    ),
    "esp-idf": Platform(
        "ESP-IDF",
        "esp_idf",
        "main",
        {
            "CMakeLists.txt": ("CMakeLists.txt.j2", "the project"),
            "main/CMakeLists.txt": ("main.CMakeLists.txt.j2", "its only component"),
            "main/main.c": ("main.c.j2", _EXAMPLE),
            "sdkconfig.defaults": ("sdkconfig.defaults.j2", "the compiler's optimisation"),
        },
    ),
    "zephyr": Platform(
        "Zephyr",
        "zephyr",
        "src",
        {
            "CMakeLists.txt": ("CMakeLists.txt.j2", "the application"),
            "prj.conf": ("prj.conf.j2", "its configuration: optimisation, stack"),
            "src/main.c": ("main.c.j2", _EXAMPLE),
        },
    ),
    "cmake": Platform(
        "CMake",
        "cmake",
        "src",
        {
            "CMakeLists.txt": ("CMakeLists.txt.j2", "a library, the example, a test"),
            "cortex-m.cmake": ("cortex-m.cmake.j2", "the toolchain for an Arm Cortex-M"),
            "example/main.c": ("main.c.j2", _EXAMPLE),
        },
    ),
}


def build(deployment: Deployment, platform: str) -> dict[str, bytes]:
    """Build a project's files, by their paths in its folder.

    Args:
        deployment: with ``samples``, the test images.
        platform: one of ``PLATFORMS``.

    Raises:
        UserError: the network has something that the C file does not support, or there is no C compiler.
        RunError: the C file does not compile.
    """
    if deployment.samples is None or not len(deployment.samples):
        raise ValueError("a deployment without samples: expected test images for the project's self-test")
    network = c_file.build(deployment)
    pixels = deployment.inputs(deployment.samples)
    facts = _facts(network.decode("ascii"), deployment.metadata, PLATFORMS[platform])
    tests = _tests(pixels, _logits(network, pixels))
    return _files(PLATFORMS[platform], network.decode("ascii"), facts | tests)


build_arduino: Callable[[Deployment], dict[str, bytes]] = partial(build, platform="arduino")
build_esp_idf: Callable[[Deployment], dict[str, bytes]] = partial(build, platform="esp-idf")
build_zephyr: Callable[[Deployment], dict[str, bytes]] = partial(build, platform="zephyr")
build_cmake: Callable[[Deployment], dict[str, bytes]] = partial(build, platform="cmake")


def load(folder: Path) -> Callable[[Tensor], Tensor]:
    """Compile the project's network for this computer; see ``thimble.exporting.c.source.load``."""
    (network,) = (path for path in folder.rglob("*.c") if path.with_name(f"{path.stem}_test.c").exists())
    return c_file.load(network)


def require() -> None:
    """Raise UserError if there is no C compiler: the logits of the test images come from the compiled network."""
    c_file.require()


def _logits(network: bytes, pixels: Tensor) -> Tensor:
    """The C file's logits, float32 (N, classes), of images as uint8 (N, height, width, channels)."""
    with temporary_folder() as folder:
        path = folder / "network.c"
        path.write_bytes(network)
        return c_file.load(path)(pixels)


def _facts(network: str, metadata: dict[str, Any], platform: Platform) -> dict[str, Any]:
    """What the templates print of the network and of the platform."""
    prefix, sizes = c_file.sizes_of(network)
    upper = prefix.upper()
    channels, num_inputs = sizes["CHANNELS"], sizes["HEIGHT"] * sizes["WIDTH"] * sizes["CHANNELS"]
    has_fit = "#ifdef THIMBLE_FIT" in network
    functions = ["classify", "logits", *(["fit"] if has_fit else []), "selftest"]
    constants = re.findall(rf"^#define {upper}_\w+ \d+\b.*$", network, re.MULTILINE)
    return {
        "title": c_file.plain(str(metadata.get("model", prefix))),
        "licence": c_file.plain(str(metadata.get("licence", "not stated"))),
        "labels_txt": "".join(f"{shown(str(name))}\n" for name in metadata.get("classes", ())),
        "version": __version__,
        "semver": re.sub(r"^(\d+\.\d+\.\d+).*", r"\1", __version__),
        "platform": platform.folder,
        "platform_name": platform.name,
        "sources": platform.sources,
        "files": {path: meaning for path, (_, meaning) in platform.files.items()},
        "prefix": prefix,
        "PREFIX": upper,
        "width": sizes["WIDTH"],
        "height": sizes["HEIGHT"],
        "per_pixel": "three bytes per pixel: red, green, blue" if channels == 3 else "one byte per pixel: grey",
        "num_inputs": num_inputs,
        "num_classes": sizes["CLASSES"],
        "ram": sizes["RAM_BYTES"],
        "ram_kilobytes": -(-sizes["RAM_BYTES"] // 1000),
        "has_fit": has_fit,
        "constants": constants,
        "functions": [f"{prefix}_{name}" for name in functions],
        "names": [line.split()[1] for line in constants] + [f"{upper}_TEST_IMAGES"],
    }


def _tests(pixels: Tensor, logits: Tensor) -> dict[str, Any]:
    """What the templates print of the test images, uint8 (N, height, width, channels), and their logits."""
    values = logits.numpy().astype(np.float32)
    return {
        "num_images": len(pixels),
        "images": [lines_of(map(str, image.flatten().tolist()), "        ") for image in pixels],
        "logits": [lines_of(map(number_in_c, row), "        ") for row in values],
        "answers": values.argmax(1).tolist(),
    }


def _files(platform: Platform, network: str, facts: dict[str, Any]) -> dict[str, bytes]:
    import jinja2

    here = resources.files("thimble.exporting.projects")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (here / name).read_text(encoding="utf-8")),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    names = facts["labels_txt"].splitlines()
    facts["labels"] = [names[answer] if answer < len(names) else str(answer) for answer in facts["answers"]]
    sources = f"{platform.sources}/{facts['prefix']}"
    templates = {
        "README.md": "shared/README.md.j2",
        f"{sources}.c": "shared/network.c.j2",
        f"{sources}.h": "shared/network.h.j2",
        f"{sources}_test.c": "shared/test.c.j2",
        **{path: f"{platform.folder}/{name}" for path, (name, _) in platform.files.items()},
    }
    files = {
        path: environment.get_template(name).render(facts, network=network.removesuffix("\n")).encode("utf-8")
        for path, name in templates.items()
    }
    return files | {"labels.txt": facts["labels_txt"].encode("utf-8")}
