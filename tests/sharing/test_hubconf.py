"""torch.hub: every network by an entry point, in a process that has no Thimble but the repository's own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from places import ROOT

from thimble.errors import UserError
from thimble.models.classifier import Classifier
from thimble.models.family import TABLE
from thimble.storage.shipped import list_pretrained

FAMILY = {"reference", *TABLE}

# What the rest of Thimble needs and loading does not. torch's own requirements, such as jinja2, stay.
UNNEEDED = {
    "thimble",
    "lightning_fabric",
    "torchmetrics",
    "torchinfo",
    "albumentations",
    "PIL",
    "cv2",
    "pooch",
    "requests",
    "tqdm",
    "tensorboard",
    "tyro",
    "rich",
    "captum",
    "matplotlib",
    "scipy",
    "yaml",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "gradio",
    "huggingface_hub",
}

STRANGER = """
import json, sys
sys.path.append(sys.argv[1])
try:
    import thimble
except ImportError as error:
    before = str(error)
import torch
found = {"before": before, "torch": torch.__version__, "models": []}
torch.hub._get_cache_or_reload = lambda github, *_, **__: github  # the repository, as if downloaded
found["entries"] = torch.hub.list(sys.argv[2])
found["help"] = torch.hub.help(sys.argv[2], "thimble_78k")
for entry, options in json.loads(sys.argv[3]):
    model = torch.hub.load(sys.argv[2], entry, source="local", **options)
    logits = model(torch.zeros(2, *model.input_size))
    home = type(model).__module__
    found["models"].append([model.name, model.training, list(logits.shape), model.classes[:2], home])
import thimble
found["home"] = thimble.__file__
print(json.dumps(found))
"""


def load(entry: str, *arguments: Any, **options: Any) -> Any:
    return torch.hub.load(str(ROOT), entry, *arguments, source="local", **options)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def hubconf() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hubconf", ROOT / "hubconf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries(hubconf: ModuleType) -> set[str]:
    """As torch.hub.list finds them."""
    return {name for name in dir(hubconf) if callable(getattr(hubconf, name)) and not name.startswith("_")}


@pytest.mark.slow
def test_a_stranger_loads_models_without_installing_thimble(tmp_path: Path, saved: Path) -> None:
    """The site's packages but Thimble and what only the rest of it needs; no .pth file, as -S reads none."""
    site = tmp_path / "site"
    site.mkdir()
    for package in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if package.name.partition(".")[0].partition("-")[0].removeprefix("__editable__") not in UNNEEDED:
            (site / package.name).symlink_to(package)
    asked = [
        ("reference", {}),
        ("thimble_97k", {"pretrained": False, "num_classes": 4}),
        ("custom", {"path": str(saved)}),
    ]
    arguments = [str(site), str(ROOT), json.dumps(asked)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "ignore", "-c", STRANGER, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["before"] == "No module named 'thimble'"
    assert found["home"] == str(ROOT / "src" / "thimble" / "__init__.py")
    assert "78,666 parameters" in found["help"]
    assert found["entries"] == ["custom", "reference", "thimble_150k", "thimble_78k", "thimble_97k"]
    home = "thimble.models.classifier"
    assert found["models"] == [
        ["reference", False, [2, 10], ["airplane", "automobile"], home],
        ["thimble-97k", True, [2, 4], ["0", "1"], home],
        ["reference", False, [2, 3], ["cat", "dog"], home],
    ]


def test_there_is_an_entry_for_every_network_and_no_other_name(hubconf: ModuleType) -> None:
    expected = {name.replace("-", "_") for name in FAMILY | set(list_pretrained())}
    assert entries(hubconf) == expected | {"custom"}
    for entry in entries(hubconf):
        assert "Args:" in (getattr(hubconf, entry).__doc__ or ""), entry


def test_it_asks_for_no_more_than_loading_needs(hubconf: ModuleType) -> None:
    assert hubconf.dependencies == ["torch", "numpy", "safetensors"]
    assert not set(hubconf.dependencies) & UNNEEDED


@pytest.mark.parametrize("name", sorted(FAMILY))
def test_the_entries_build_their_networks(name: str) -> None:
    model = load(name.replace("-", "_"), pretrained=False, num_classes=7, dropout=0.5)
    assert isinstance(model, Classifier)
    assert (model.name, model.training, len(model.classes)) == (name, True, 7)
    assert any(isinstance(layer, torch.nn.Dropout) and layer.p == 0.5 for layer in model.modules())


@pytest.mark.parametrize("name", list_pretrained())
def test_pretrained_is_the_default_and_the_shipped_model(name: str) -> None:
    model = load(name.replace("-", "_"))
    assert (model.name, model.training, model.classes[3]) == (name, False, "cat")
    again = load(name.replace("-", "_"), pretrained=True).state_dict()
    assert all(torch.equal(tensor, again[key]) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("entry", "options", "message"),
    [
        (
            "thimble_150k",
            {},
            r"^thimble-150k has no trained weights: use pretrained=False, or one of ref",
        ),
        ("reference", {"num_classes": 3}, r"^pretrained weights take no num_classes: drop them, or use pretrained=Fa"),
        ("custom", {"path": "nowhere"}, r"^no model 'nowhere': expected a weights file, a run folder"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_a_line(entry: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(entry, **options)
    assert "\n" not in str(caught.value)


def test_a_pickled_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"a pickled PyTorch file, which could run any code and is never loaded"):
        load("custom", path)


def test_the_path_is_left_alone_where_thimble_is_imported_already() -> None:
    before = list(sys.path)
    load("reference", pretrained=False)
    assert sys.path == before
