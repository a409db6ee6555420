"""The options of ``thimble train``: none goes, and none changes its default or its choices, unseen."""

from __future__ import annotations

import dataclasses
import re

import pytest

from thimble.cli.main import main
from thimble.training.config import groups_by_name, settings_by_name

FLAGS = """
--affine-probability FLOAT = 0.5
--augmenter {albumentations,batched} = albumentations
--bank {None}|PATH = None
--batch-size INT = 128
--channels {None}|INT = None
--class-level {None}|INT = None
--class-weights {auto,balanced,sqrt,none} = none
--classes [STR [STR ...]] =
--clip-norm {None}|FLOAT = None
--color-limit FLOAT = 0.2
--color-probability FLOAT = 0.0
--compile = False
--cutout-probability FLOAT = 0.25
--cutout-size FLOAT FLOAT = 0.125 0.25
--data STR = cifar10
--data-dir {None}|PATH = None
--device {auto,cpu,gpu} = auto
--dropout {None}|FLOAT = 0.0
--duplicates {keep,drop,refuse} = drop
--ema-decay FLOAT = 0.99
--epochs INT = 24
--fallback = False
--fit {auto,crop,pad,squash} = auto
--flip {auto,none,horizontal,both,alternating} = horizontal
--flip-probability FLOAT = 0.5
--group {None}|STR = None
--image-column {None}|STR = None
--image-size {None}|INT = None
--image-sizes [FLOAT [FLOAT ...]] =
--label-column {None}|STR = None
--label-smoothing FLOAT = 0.1
--learning-rate {None}|FLOAT = 0.2
--max-unreadable FLOAT = 0.01
--mix-alpha FLOAT = 0.5
--mix-probability FLOAT = 0.0
--mix-ramp FLOAT FLOAT = 0.0 1.0
--model STR = reference
--momentum FLOAT = 0.9
--muon-learning-rate FLOAT = 0.05
--muon-momentum FLOAT = 0.9
--name {None}|STR = None
--no-report = True
--optimizer {sgd,muon} = sgd
--overwrite = False
--precision {float32,bf16,auto} = float32
--pretrained {None}|STR = None
--recipe {reference,fast,record,teacher,own} = fast
--resume {None}|PATH = None
--rotate-limit-degrees FLOAT = 5.0
--runs PATH = runs
--scale-limit FLOAT = 0.05
--seed INT = 0
--sharpen-limit FLOAT = 0.1
--sharpen-probability FLOAT = 0.0
--shift-limit FLOAT = 0.0625
--skip-easy {None}|FLOAT = 0.0
--swa-fraction FLOAT = 0.0
--teacher {None}|STR = None
--teacher-weight FLOAT = 0.9
--temperature FLOAT = 2.0
--train-images {None}|INT = None
--validation {None}|INT = 5000
--warmup-fraction FLOAT = 0.2
--weight-decay FLOAT = 0.0005
--whiten = False
--workers {None}|INT = None
"""
"""Of the recipe ``reference``, as they were before the settings were in groups. A new option is a new line here."""


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setenv("COLUMNS", "110")  # much wider, it would be in two columns
    with pytest.raises(SystemExit):
        main(["train", "--recipe", "reference", "--help"])
    return capsys.readouterr().out


def flags(page: str) -> list[str]:
    """Every option of a page of help with its type or its choices, and its default."""
    found = []
    for part in re.split(r"\s{2,}(?=--[a-z])", page.replace("\n", " "))[1:]:
        option = re.match(r"--[a-z-]+(?: \S+)*", part)
        default = re.search(r"\(default:\s*([^)]*)\)", part)
        assert option
        assert default, part
        found.append(" ".join(f"{option[0]} = {default[1]}".split()))
    return sorted(found)


def test_no_option_goes_or_changes_unseen(page: str) -> None:
    assert flags(page) == FLAGS.strip().splitlines()


def test_the_help_is_in_groups_each_with_its_options(page: str) -> None:
    sections = dict(re.findall(r"\n ([a-z-]+) options +\n(.*?)(?=\n [a-z-]+ options|$)", page, re.DOTALL))
    for name, group in groups_by_name().items():
        section = sections[name.replace("_", "-")]
        for each in dataclasses.fields(group):
            assert f"--{each.name.replace('_', '-')} " in section


def test_a_name_means_one_thing() -> None:
    """Of two settings of the same name one would be out of reach, and so would one that is called like a group."""
    names = [each.name for group in groups_by_name().values() for each in dataclasses.fields(group)]
    assert len(names) == len(set(names)) == len(settings_by_name())
    assert not {*groups_by_name(), "seed", "version"} & set(names)
