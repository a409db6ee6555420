"""The recipes: each is found by its name, and is what a training can begin with."""

from __future__ import annotations

import ast
import json
import typing

import pytest
from places import ROOT

from thimble.data.augment.settings import AugmentConfig
from thimble.errors import UserError
from thimble.models import list_models
from thimble.training.config import TrainConfig
from thimble.training.config_file import from_dict, to_dict
from thimble.training.recipes import RECIPES, Recipe, find_recipe


def test_the_command_line_offers_every_recipe() -> None:
    assert set(RECIPES) == set(typing.get_args(Recipe)) >= {"reference", "fast", "record", "teacher"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_and_is_found_by_its_name(name: Recipe) -> None:
    config = RECIPES[name]()
    assert isinstance(config, TrainConfig)
    assert find_recipe(name) == config
    assert RECIPES[name].__name__ == name
    assert config.network.model in list_models()
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_of_any_run_and_anybody(name: Recipe) -> None:
    """Where it runs, what it is called and who teaches it are not a recipe's to say."""
    config, plain = RECIPES[name](), TrainConfig()
    assert config.run == plain.run
    assert (config.dataset.data, config.seed) == (plain.dataset.data, plain.seed)
    assert (config.distillation.teacher, config.distillation.bank) == (None, None)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_its_command(name: Recipe) -> None:
    command = "--data PATH" if name == "own" else f"--recipe {name}"
    assert f"``thimble train {command}" in (RECIPES[name].__doc__ or "")


def _options(text: str, words: str) -> dict[str, object]:
    """What a command of a page sets, by name: the one that has these words; its lines go on after a backslash."""
    command = next(line for line in text.replace("\\\n", " ").splitlines() if words in line)
    found: dict[str, object] = {}
    for option in command.split(" --")[1:]:
        name, *values = option.split()
        if name not in ("seeds", "teacher"):
            numbers = [ast.literal_eval(value) for value in values]
            found[name.replace("-", "_")] = numbers[0] if len(numbers) == 1 else tuple(numbers)
    return found


@pytest.mark.parametrize("name", ["reference", "thimble-78k"])
def test_the_commands_of_the_shipped_networks_are_their_configurations(name: str) -> None:
    """A recipe may change; the commands that docs/record.md gives for what is shipped must not change with it."""
    page = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
    config = find_recipe("record").changed(model=name, **_options(page, f"record.py {name} --seeds"))
    shipped = json.loads((ROOT / "docs" / name / "config.json").read_text(encoding="utf-8"))
    told, trained = to_dict(config), to_dict(from_dict(shipped))
    assert told["mix_probability"] == 0  # so that mixing's ramp plays no part
    for key in trained.keys() - {"mix_ramp", "teacher", "precision", "name", "runs", "overwrite"}:
        assert told[key] == trained[key], key


def test_the_defaults_are_the_reference_recipe() -> None:
    assert find_recipe("reference") == TrainConfig()
    assert find_recipe("reference").augment == AugmentConfig()


@pytest.mark.parametrize("name", ["slow", "", "Fast", "TrainConfig"])
def test_another_name_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(UserError) as caught:
        find_recipe(name)
    assert str(caught.value) == f"--recipe {name}: expected one of {', '.join(RECIPES)}"
