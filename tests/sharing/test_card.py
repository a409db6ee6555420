"""The model card: what the file says and no more, in YAML and Markdown that nothing in a name can break."""

from __future__ import annotations

import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from card_runs import drawn, front, run
from places import ROOT
from weights_files import rewrite

from thimble.cli import main as cli
from thimble.data.shapes10 import shapes10
from thimble.errors import UserError
from thimble.measuring.evaluation import evaluate
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.sharing.card import model_card, write_card
from thimble.storage.shipped import list_pretrained
from thimble.storage.weights import save_weights
from thimble.system.names import markdown

__all__ = ["drawn", "run"]


@pytest.mark.parametrize("name", list_pretrained())
def test_the_card_of_a_shipped_model(name: str) -> None:
    card = model_card(name)
    file = Path(str(resources.files("thimble") / "weights" / f"{name}.safetensors"))
    pages = ROOT / "docs" / name
    recorded = json.loads((pages / "evaluation_float32.json").read_text())
    assert f"# {name}\n" in card
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    assert f"{file.stat().st_size:,} bytes; parameters in float16" in card
    assert f"**{recorded['accuracy']:.2%}**" in card
    assert "before the parameters were rounded to float16" in card
    assert f'thimble.load_pretrained("{name}")' in card
    assert f'torch.hub.load("OWNER/REPO", "{name.replace("-", "_")}")' in card
    assert f"thimble export {name} --format onnx" in card
    written = (pages / "README.md").read_text()
    for figure in (r"[\d,]+ parameters", r"[\d,]+ multiply-adds", r"receptive field \d+"):
        found = re.search(figure, written)
        assert found is not None
        number = re.search(r"[\d,]*\d", found[0])
        assert number is not None
        assert f"{number[0]}" in card


def test_the_verb_prints_the_card_alone_or_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = model_card("reference", repo="somebody/model")
    assert cli.main(["card", "reference", "--repo", "somebody/model"]) == 0
    assert capsys.readouterr().out == card
    assert cli.main(["card", "reference", "--repo", "somebody/model", "--output", str(tmp_path / "CARD.md")]) == 0
    assert (tmp_path / "CARD.md").read_text() == card
    assert "wrote " in capsys.readouterr().out


def test_the_front_matter_of_a_shipped_model() -> None:
    values = front(model_card("reference"))
    facts = {"library_name": "thimble", "pipeline_tag": "image-classification", "license": "mit"}
    assert facts.items() <= values.items()
    assert "thimble" in values["tags"]
    assert values["datasets"] == ["uoft-cs/cifar10"]
    (index,) = values["model-index"]
    (result,) = index["results"]
    assert index["name"] == "reference"
    assert result["dataset"] == {"name": "CIFAR-10", "type": "uoft-cs/cifar10", "split": "test"}
    assert {metric["type"]: metric["value"] for metric in result["metrics"]}["accuracy"] == 0.9021


@pytest.mark.parametrize(
    ("metadata", "license", "line"),
    [
        ({}, None, "not stated"),
        ({"licence": "Apache-2.0"}, "apache-2.0", "Apache-2.0"),
        ({"licence": "no: [such]\n---"}, "no: [such] ---", r"no: \[such\] ---"),
        ({"licence": 3}, None, "not stated"),
    ],
)
def test_the_licence_of_ones_own_weights_is_the_one_that_they_tell(
    metadata: dict[str, Any], license: str | None, line: str, drawn: tuple[Classifier, dict[str, Any]], tmp_path: Path
) -> None:
    save_weights(tmp_path / "mine.safetensors", drawn[0], metadata)
    card = model_card(tmp_path / "mine.safetensors")
    assert front(card).get("license") == license
    assert f"| licence | {line} |\n" in card


@pytest.mark.parametrize("name", list_pretrained())
def test_the_hubs_own_reader_accepts_it(name: str, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    path = write_card(name, tmp_path / "card.md")
    card = hub.ModelCard.load(path)
    assert card.content == path.read_text()
    assert [result.metric_type for result in card.data.eval_results] == [
        *("accuracy", "balanced_accuracy", "f1", "nll", "ece"),
    ]
    assert card.data.model_name == name


def test_the_card_of_a_run(run: Path) -> None:
    card = model_card(run)
    assert "# my-run\n" in card
    assert front(card)["model-index"][0]["results"][0]["dataset"]["type"] == "shapes10"
    assert "datasets" not in front(card)  # the Hub has no such dataset
    assert "| data | shapes10, 20,000 training images, 500 more for validation |" in card
    assert "| validation accuracy | 12.50%, after the last epoch |" in card
    assert f"| teacher | teacher, SHA-256 `{'ab' * 32}`:" in card
    assert "\n    thimble train --name 'a b'\n" in card
    assert '"image_sizes": [16, 32]' in card
    assert "Its predictions for photographs are meaningless" in card
    assert "CIFAR" not in card
    assert "float16" not in card
    assert "Measured at the end of training." in card


def test_the_figures_for_unequal_classes(run: Path, drawn: tuple[Classifier, dict[str, Any]]) -> None:
    """Also of files that do not record them, but the confusion matrix; those of the logits only if recorded."""
    test = evaluate(drawn[0], shapes10(40, seed=2))
    card = model_card(run)
    low, high = test.balanced_accuracy_interval
    assert f"{test.balanced_accuracy:.2%} (95% interval {low:.2%} to {high:.2%}) |" in card
    assert f"| {test.macro_f1:.2%} (95% interval" in card
    assert "\n| images of each class | 4 |\n" in card
    assert "\n10 of 10 classes have fewer than 10 images: circle (4), " in card
    assert "ROC" not in card
    old = {name: drawn[1]["metrics"]["test"][name] for name in OLD_FIGURES}
    rewrite(run / "model.safetensors", metrics={"test": old})
    assert f"{test.balanced_accuracy:.2%} (95% interval" in model_card(run)
    assert "test images of shapes10 | |" in model_card(run)
    rewrite(run / "model.safetensors", metrics={"test": old | {"auroc": 0.75, "auroc_interval": [0.7, 0.8]}})
    assert "| area under the ROC curve | 75.00% (95% interval 70.00% to 80.00%) |" in model_card(run)
    rewrite(run / "model.safetensors", metrics={"test": old | {"auroc": "x", "top5_accuracy": 0.5}})
    assert "ROC" not in model_card(run)
    assert "| the class is among the five most probable | 50.00% |" in model_card(run)


OLD_FIGURES = (
    *("model", "data", "num_images", "flip", "accuracy", "accuracy_interval"),
    *("per_class_accuracy", "confusion", "nll", "ece"),
)


def test_nobodys_folders_are_told(run: Path) -> None:
    card = model_card(run)
    assert "somebody" not in card
    assert str(run) not in card
    assert str(run.parent) not in model_card(run / "model.safetensors")


def test_a_file_has_no_command_and_the_name_of_its_network(run: Path) -> None:
    card = model_card(run / "model.safetensors")
    assert "# reference\n" in card
    assert "The command" not in card
    other = (run / "model.safetensors").rename(run / "other.safetensors")
    assert "# other\n" in model_card(str(other))


def test_what_is_not_known_is_said_to_be_unknown(tmp_path: Path, model: Classifier) -> None:
    path = tmp_path / "fresh.safetensors"
    save_weights(path, model, {})
    card = model_card(path)
    assert "model-index" not in front(card)
    assert "metrics" not in front(card)
    assert "Unknown: the weights file records no test. The network may be untrained." in card
    assert "Unknown: the weights file records no recipe." in card
    assert "Its training data are not recorded" in card
    assert "%" not in card.partition("## How to use it")[0].partition("## Results")[2]
    assert "24x16" not in card
    assert "16x24 colour images into 3 classes:\ncat, dog, écureuil." in card


def test_a_recipe_of_which_little_is_recorded(saved: Path) -> None:
    card = model_card(saved)
    assert "| epochs | 24 |" in card
    assert "batch size" not in card
    assert "Unknown: the weights file records no test." in card


def test_names_that_would_break_markdown_and_yaml(run: Path, drawn: tuple[Classifier, dict[str, Any]]) -> None:
    classes = ["a|b", "*star*", "<b>", "`tick`", "two\nlines", "[link](x)", "---", "# one: {2}", "\ud800 \x00", "a_b_c"]
    test = drawn[1]["metrics"]["test"]
    per_class = dict(zip(classes, test["per_class_accuracy"].values(), strict=True))
    metrics = {"test": test | {"per_class_accuracy": per_class, "data": "no: [such]\n---\n# data"}}
    rewrite(run / "model.safetensors", classes=classes, metrics=metrics, data={"name": "x|y"})
    folder = run.rename(run.parent / "- 'odd': [name] #1\n")
    path = write_card(folder, run.parent / "card.md")
    card = path.read_text("utf-8")
    assert r"a\|b, \*star\*, \<b\>, \`tick\`, two lines, \[link\](x), \---, \# one: {2}, ?  , a\_b\_c." in card
    assert front(card)["model-index"][0]["name"] == "- 'odd': [name] #1 "
    assert front(card)["model-index"][0]["results"][0]["dataset"]["name"] == "no: [such] --- # data"
    assert "\n# \\- 'odd': \\[name\\] \\#1 \n" in card
    assert r"| data | x\|y |" in card
    for line in card.splitlines():
        if line.startswith("| ") and "on the" not in line:
            assert len(re.findall(r"(?<!\\)\|", line)) == 3, line


@pytest.mark.parametrize(
    "test",
    [
        None,
        "high",
        {"accuracy": 0.9},
        {"accuracy": 1.5},
        {"accuracy": "much"},
        {"nll": float("nan")},
        {"num_images": float("inf")},
        {"accuracy_interval": [0.1]},
        {"per_class_accuracy": [1]},
        {"confusion": 3},
        {"confusion": [[40]]},
        {"confusion": [[4] * 10] * 10},
        {"confusion": [[-1] * 10] * 9 + [[13] * 10]},
    ],
)
def test_a_test_that_is_none_is_not_told(run: Path, drawn: tuple[Classifier, dict[str, Any]], test: Any) -> None:
    whole = drawn[1]["metrics"]["test"]
    changed = {**whole, **test} if isinstance(test, dict) and test != {"accuracy": 0.9} else test
    rewrite(run / "model.safetensors", metrics={"test": changed})
    card = model_card(run)
    assert "Unknown: the weights file records no test.\n" in card
    assert "model-index" not in front(card)


@pytest.mark.parametrize("part", ["recipe", "data", "metrics", "versions", "teacher_sha256"])
@pytest.mark.parametrize("value", [None, 3, "text", [1, [2]], {"name": ["x"], "teacher": 5, "test": {}, "torch": {}}])
def test_metadata_may_be_anything(run: Path, part: str, value: Any) -> None:
    rewrite(run / "model.safetensors", **{part: value})
    assert front(model_card(run))["library_name"] == "thimble"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"command": null}', '{"command": "x"}', '{"command": ["a\\nb"]}'])
def test_an_environment_without_a_command(run: Path, content: str) -> None:
    (run / "environment.json").write_text(content)
    card = model_card(run)
    assert "The command" not in card or content == '{"command": "x"}'


def test_it_is_measured_when_asked_for(run: Path, drawn: tuple[Classifier, dict[str, Any]]) -> None:
    card = model_card(run, measure=True, data=shapes10(30, seed=4))
    assert "| on 30 images of shapes10 | |" in card  # given ones: nobody says that they are the test part
    assert "split" not in front(card)["model-index"][0]["results"][0]["dataset"]
    assert f"**{evaluate(drawn[0], shapes10(30, seed=4)).accuracy:.2%}**" in card
    assert "Measured with this weights file, for this card." in card


def test_a_model_of_no_dataset_cannot_be_measured(saved: Path) -> None:
    with pytest.raises(UserError, match=r"records no dataset: name its data with --data"):
        model_card(saved, measure=True)


def test_many_classes_are_counted(tmp_path: Path) -> None:
    model = build_model("thimble-78k", num_classes=120)
    save_weights(tmp_path / "many.safetensors", model, {})
    assert "49 and 70 more.\n" in model_card(tmp_path / "many.safetensors")


def test_a_card_for_a_repository(run: Path) -> None:
    card = model_card(run, repo="me/mine")
    assert "# mine\n" in card
    assert 'HubClassifier.from_pretrained("me/mine")' in card
    assert 'hf_hub_download("me/mine", "model.safetensors")' in card
    with pytest.raises(UserError, match=r"^repository 'me/\"mine': expected OWNER/NAME"):
        model_card(run, repo='me/"mine')


def test_it_is_written_whole_or_refused(run: Path, tmp_path: Path) -> None:
    path = write_card(run, tmp_path / "new" / "README.md")
    assert path.read_text("utf-8") == model_card(run)
    with pytest.raises(UserError, match=r"is a folder: expected a file such as .*README\.md$"):
        write_card(run, tmp_path)
    with pytest.raises(UserError, match=r"^no model 'nothing'"):
        write_card("nothing", tmp_path / "never.md")
    assert not (tmp_path / "never.md").exists()


def test_markdown_shows_text_as_it_is() -> None:
    assert markdown("plain, with-dash 1.5") == "plain, with-dash 1.5"
    assert markdown("a\tb\r\n\x1b") == "a b   "
    assert [markdown(name) for name in ("- x", "1. x", ":ok:", "@me")] == [r"\- x", r"1\. x", r"\:ok:", r"\@me"]
    assert markdown(r"\*") == r"\\\*"
