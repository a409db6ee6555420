"""Models on the Hugging Face Hub, without it: folders, and what would be fetched from there and sent."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub as hub
import pytest
import torch
from hub_server import server
from weights_files import described

from thimble.data.pixels import Fitting
from thimble.data.shapes10 import shapes10
from thimble.errors import RunError, UserError
from thimble.measuring.prediction import predict
from thimble.measuring.summary import summarize
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.sharing.hub import HubClassifier
from thimble.storage.find import load_described, load_pretrained
from thimble.storage.weights import load_weights, save_weights

__all__ = ["server"]

KNOWN = {"recipe": {"epochs": 3}, "data": {"name": "squirrels"}, "metrics": {"last_epoch": {"epoch": 3}}}


def same(one: Classifier, other: Classifier) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def run(tmp_path: Path, model: Classifier) -> Path:
    folder = tmp_path / "runs" / "mine"
    save_weights(folder / "model.safetensors", model, KNOWN)
    (folder / "config.json").write_text('{"model": "reference", "data": "cifar10"}')
    return folder


def test_it_is_the_classifier_that_it_was_made_of(model: Classifier) -> None:
    found = HubClassifier.of(model)
    assert isinstance(found, Classifier)
    assert isinstance(found, hub.ModelHubMixin)
    assert same(found, model)
    assert (found.name, found.arguments, found.classes) == (model.name, model.arguments, model.classes)
    assert (found.mean, found.std, found.input_size) == (model.mean, model.std, model.input_size)
    assert found.num_parameters == model.num_parameters
    assert not found.training
    images = torch.randn(2, 3, 24, 16)
    with torch.inference_mode():
        assert torch.equal(found(images), model(images))
    assert HubClassifier.of(found) is found
    assert HubClassifier.of(model.train()).training
    assert same(copy.deepcopy(found), model)


def test_a_model_of_grey_images_takes_along_how_they_are_fitted(tmp_path: Path) -> None:
    model = build_model("tiny", num_classes=2, in_channels=1, input_size=(28, 20)).eval()
    model.mean, model.std, model.fit, model.depth = (0.3,), (0.2,), "pad", (12.0, 4095.0)
    HubClassifier.of(model).save_pretrained(tmp_path / "saved")
    found = HubClassifier.from_pretrained(tmp_path / "saved")
    assert same(found, model)
    assert (found.fit, found.depth, found.input_size) == ("pad", (12.0, 4095.0), (1, 28, 20))
    assert (found.mean, found.std) == ((0.3,), (0.2,))
    assert not {"fit", "depth"} & found.metadata.keys()
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert (config["fit"], config["depth"], config["input_size"]) == ("pad", [12.0, 4095.0], [1, 28, 20])
    image = torch.randint(0, 256, (3, 50, 60), dtype=torch.uint8)
    assert predict(image, found) == predict(image, model)
    assert Fitting.of(found) == Fitting.of(model)


def test_thimble_takes_it_for_a_classifier() -> None:
    found = HubClassifier.of("reference")
    shipped = load_pretrained("reference")
    image = shapes10(1).images
    assert predict(image, found)[0].top == predict(image, shipped)[0].top
    assert summarize(found).num_multiply_adds == summarize(shipped).num_multiply_adds


def test_a_run_goes_through_a_folder_with_all_that_is_known_of_it(run: Path, model: Classifier, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert HubClassifier.of(run).save_pretrained(folder) is None
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    found = HubClassifier.from_pretrained(folder)
    assert type(found) is HubClassifier
    assert same(found, model)
    assert not found.training
    assert {name: found.metadata[name] for name in KNOWN} == KNOWN
    assert found.classes == ("cat", "dog", "écureuil")
    plain, metadata = load_weights(folder / "model.safetensors")
    assert same(plain, model)
    assert {name: metadata[name] for name in KNOWN} == KNOWN
    assert metadata == described(run / "model.safetensors")
    assert same(HubClassifier.from_pretrained(str(folder / "model.safetensors")), model)


def test_a_shipped_model_goes_with_its_licence(tmp_path: Path) -> None:
    HubClassifier.of("reference").save_pretrained(tmp_path / "out")
    assert load_weights(tmp_path / "out" / "model.safetensors")[1]["licence"] == "MIT"
    assert hub.ModelCard.load(tmp_path / "out" / "README.md").data.license == "mit"
    assert HubClassifier.from_pretrained(tmp_path / "out").metadata["licence"] == "MIT"


def test_where_a_run_was_made_stays_here(model: Classifier, tmp_path: Path) -> None:
    recipe = {
        "epochs": 3,
        "data_dir": "/home/somebody/data",
        "runs": "/home/somebody/runs",
        "teacher": "runs/secret/best",
        "data": "/home/somebody/photos",
    }
    data = {"name": "photos", "path": "/home/somebody/photos", "sha256": "ab"}
    save_weights(tmp_path / "mine.safetensors", model, {"recipe": recipe, "data": data})
    HubClassifier.of(tmp_path / "mine.safetensors").save_pretrained(tmp_path / "out")
    for file in (tmp_path / "out").iterdir():
        assert b"somebody" not in file.read_bytes()
        assert b"secret" not in file.read_bytes()
    found = HubClassifier.from_pretrained(tmp_path / "out")
    assert found.metadata["recipe"] == {"epochs": 3, "teacher": "best", "data": "photos"}
    assert found.data == {"name": "photos", "sha256": "ab"}


def test_how_images_are_fitted_goes_with_the_model(model: Classifier, tmp_path: Path) -> None:
    model.fit, model.depth = "pad", (10.0, 4000.0)
    HubClassifier.of(model).save_pretrained(tmp_path / "out")
    found = HubClassifier.from_pretrained(tmp_path / "out")
    assert (found.fit, found.depth) == ("pad", (10.0, 4000.0))


def test_the_config_says_what_the_network_is(run: Path, tmp_path: Path) -> None:
    HubClassifier.of(run).save_pretrained(tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["library_name"], config["name"], config["input_size"]) == ("thimble", "reference", [3, 24, 16])
    assert config["classes"] == ["cat", "dog", "écureuil"]


def test_the_card_is_of_the_file_beside_it(run: Path, tmp_path: Path) -> None:
    HubClassifier.of(run).save_pretrained(tmp_path / "out", repo_id="me/mine")
    card = hub.ModelCard.load(tmp_path / "out" / "README.md")
    assert load_described(tmp_path / "out")[2] in card.text
    assert card.data.library_name == "thimble"
    assert 'HubClassifier.from_pretrained("me/mine")' in card.text
    assert HubClassifier.of(run).generate_model_card(repo_id="me/mine").data.to_dict() == card.data.to_dict()


def test_a_card_of_ones_own_stays_and_a_stale_one_does_not(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    HubClassifier.of(run).save_pretrained(folder)
    first = (folder / "README.md").read_text()
    HubClassifier.of("thimble-78k").save_pretrained(folder)
    assert load_described(folder)[2] in (folder / "README.md").read_text() != first
    (folder / "README.md").write_text("mine")
    HubClassifier.of(run).save_pretrained(folder)
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.slow
def test_half_precision_is_kept_where_it_is_and_made_when_asked_for(run: Path, tmp_path: Path) -> None:
    def sizes(**options: Any) -> list[int]:
        HubClassifier.of("reference").save_pretrained(tmp_path / "shipped", **options)
        HubClassifier.of(run).save_pretrained(tmp_path / "run", **options)
        return [(tmp_path / name / "model.safetensors").stat().st_size for name in ("shipped", "run")]

    shipped, trained = sizes()
    assert shipped < 330_000 < 600_000 < trained
    assert same(HubClassifier.from_pretrained(tmp_path / "shipped"), load_pretrained("reference"))
    assert max(sizes(half=True)) < 330_000
    assert min(sizes(half=False)) > 600_000


def test_what_is_known_of_other_weights_is_not_said_of_these(tmp_path: Path) -> None:
    found = HubClassifier.of("reference")
    with torch.no_grad():
        next(found.parameters()).mul_(1.5)
    found.save_pretrained(tmp_path / "out")
    metadata = load_described(tmp_path / "out")[1]
    assert not {"metrics", "recipe", "data"} & set(metadata)
    assert "Unknown: the weights file records no test." in (tmp_path / "out" / "README.md").read_text()


def test_what_the_classifier_carries_wins_over_what_the_file_said(run: Path, tmp_path: Path) -> None:
    found = HubClassifier.of(run)
    found.classes = ("one", "two", "three")
    found.save_pretrained(tmp_path / "out")
    assert HubClassifier.from_pretrained(tmp_path / "out").classes == ("one", "two", "three")


@pytest.mark.parametrize("content", ['{"model": "reference"}', '{"library_name": "another"}', "[]", "no JSON"])
def test_it_does_not_write_into_a_run_or_over_another_program(run: Path, content: str) -> None:
    (run / "config.json").write_text(content)
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"has a config\.json from a run or another program: choose another folder"):
        HubClassifier.of("reference").save_pretrained(run)
    assert (run / "model.safetensors").read_bytes() == before
    assert (run / "config.json").read_text() == content
    with pytest.raises(UserError, match=r"config\.json is a file: expected a folder"):
        HubClassifier.of("reference").save_pretrained(run / "config.json")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"^cannot write .*model\.safetensors: "):
        HubClassifier.of("reference").save_pretrained(tmp_path / "file" / "out")


def test_from_the_hub_it_fetches_the_weights_and_nothing_else(
    server: SimpleNamespace, run: Path, model: Classifier
) -> None:
    server.file = run / "model.safetensors"
    found = HubClassifier.from_pretrained("me/mine", revision="v1", token="secret", cache_dir="cache")
    assert same(found, model)
    assert found.metadata["recipe"] == KNOWN["recipe"]
    (asked,) = server.asked
    assert (asked["repo_id"], asked["filename"], asked["revision"]) == ("me/mine", "model.safetensors", "v1")
    assert (asked["token"], asked["cache_dir"], asked["local_files_only"]) == ("secret", "cache", False)


def test_what_would_be_pushed(server: SimpleNamespace, run: Path, model: Classifier, tmp_path: Path) -> None:
    address = HubClassifier.of(run).push_to_hub("mine", private=True, token="secret", branch="new", commit_message="so")
    assert address == "https://huggingface.co/me/mine/commit/1"
    assert server.token == "secret"
    assert server.created == {"repo_id": "mine", "private": True, "exist_ok": True}
    assert (server.uploaded["repo_id"], server.uploaded["repo_type"]) == ("me/mine", "model")
    assert (server.uploaded["revision"], server.uploaded["commit_message"]) == ("new", "so")
    assert sorted(server.files) == ["README.md", "config.json", "model.safetensors"]
    card = hub.ModelCard(server.files["README.md"].decode())
    assert (card.data.pipeline_tag, card.data.license) == ("image-classification", None)
    assert 'from_pretrained("me/mine")' in card.text
    server.file = tmp_path / "fetched.safetensors"
    server.file.write_bytes(server.files["model.safetensors"])
    assert same(HubClassifier.from_pretrained("me/mine"), model)


def test_saving_and_pushing_in_one(server: SimpleNamespace, run: Path, tmp_path: Path) -> None:
    found = HubClassifier.of(run).save_pretrained(
        tmp_path / "mine", push_to_hub=True, half=True, ignore_patterns="*.md"
    )
    assert found is not None
    assert server.created["repo_id"] == "mine"
    assert server.uploaded["ignore_patterns"] == "*.md"
    assert len(server.files["model.safetensors"]) < 330_000
