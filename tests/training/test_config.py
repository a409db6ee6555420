"""The settings: their defaults, their ranges, their way through JSON and their help."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thimble.data.augment.settings import AugmentConfig
from thimble.errors import UserError
from thimble.training.config import TrainConfig, groups_by_name
from thimble.training.train import train

GROUPS = tuple(groups_by_name().values())


def test_the_defaults_are_valid_and_the_reference_recipe() -> None:
    defaults = TrainConfig()
    assert (defaults.network.model, defaults.dataset.data, defaults.seed) == ("reference", "cifar10", 0)
    assert defaults.augment == AugmentConfig()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("flip_probability", -0.1, "a probability from 0 to 1"),
        ("flip_probability", math.nan, "a probability from 0 to 1"),
        ("affine_probability", 1.01, "a probability from 0 to 1"),
        ("color_probability", -0.5, "a probability from 0 to 1"),
        ("color_probability", 1.5, "a probability from 0 to 1"),
        ("sharpen_probability", -0.01, "a probability from 0 to 1"),
        ("sharpen_probability", math.nan, "a probability from 0 to 1"),
        ("cutout_probability", 2, "a probability from 0 to 1"),
        ("shift_limit", -0.01, "a fraction from 0 to less than 1"),
        ("shift_limit", 1.0, "a fraction from 0 to less than 1"),
        ("scale_limit", 1.0, "a fraction from 0 to less than 1"),
        ("scale_limit", math.inf, "a fraction from 0 to less than 1"),
        ("color_limit", 1.0, "a fraction from 0 to less than 1"),
        ("color_limit", -0.1, "a fraction from 0 to less than 1"),
        ("sharpen_limit", 1.0, "a fraction from 0 to less than 1"),
        ("sharpen_limit", math.nan, "a fraction from 0 to less than 1"),
        ("rotate_limit_degrees", 180.5, "degrees from 0 to 180"),
        ("rotate_limit_degrees", -1.0, "degrees from 0 to 180"),
        ("cutout_size", (0.0, 0.5), "two fractions above 0 and below 1, the smaller first"),
        ("cutout_size", (0.5, 0.4), "two fractions above 0 and below 1, the smaller first"),
        ("cutout_size", (0.5, 1.1), "two fractions above 0 and below 1, the smaller first"),
        ("augmenter", "kornia", "one of albumentations, batched"),
    ],
)
def test_augmentation_out_of_range_is_refused(name: str, value: Any, expected: str) -> None:
    """In one line that names the flag, what was found and what was expected."""
    with pytest.raises(UserError) as caught:
        AugmentConfig(**{name: value})
    assert str(caught.value) == f"--{name.replace('_', '-')} {value}: expected {expected}"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", -1, "a whole number of at least 0"),
        ("epochs", -3, "a whole number of at least 0"),
        ("epochs", 2.5, "a whole number of at least 0"),
        ("batch_size", -1, "a whole number of at least 0"),
        ("validation", -1, "a whole number of at least 0"),
        ("seed", -1, "a whole number of at least 0"),
        ("seed", 0.5, "a whole number of at least 0"),
        ("momentum", 1.0, "a number from 0 to less than 1"),
        ("momentum", -0.1, "a number from 0 to less than 1"),
        ("label_smoothing", 1.0, "a number from 0 to less than 1"),
        ("skip_easy", 1.0, "a number from 0 to less than 1"),
        ("dropout", 1.0, "a number from 0 to less than 1"),
        ("ema_decay", 1.0, "a number from 0 to less than 1"),
        ("ema_decay", math.nan, "a number from 0 to less than 1"),
        ("swa_fraction", 1.0, "a number from 0 to less than 1"),
        ("swa_fraction", -0.1, "a number from 0 to less than 1"),
        ("mix_probability", 1.5, "a fraction from 0 to 1"),
        ("mix_probability", -0.1, "a fraction from 0 to 1"),
        ("mix_alpha", 0.0, "a number above 0"),
        ("mix_alpha", math.inf, "a number above 0"),
        ("mix_ramp", (-0.1, 1.0), "two increasing fractions from 0 to 1"),
        ("mix_ramp", (0.5, 0.4), "two increasing fractions from 0 to 1"),
        ("mix_ramp", (0.5, 1.1), "two increasing fractions from 0 to 1"),
        ("mix_ramp", (0.0, math.nan), "two increasing fractions from 0 to 1"),
        ("teacher_weight", 1.1, "a fraction from 0 to 1"),
        ("teacher_weight", -0.1, "a fraction from 0 to 1"),
        ("temperature", 0.0, "a number above 0"),
        ("temperature", math.nan, "a number above 0"),
        ("warmup_fraction", 1.5, "a fraction from 0 to 1"),
        ("warmup_fraction", -0.5, "a fraction from 0 to 1"),
        ("learning_rate", 0.0, "a number above 0"),
        ("learning_rate", math.inf, "a number above 0"),
        ("learning_rate", math.nan, "a number above 0"),
        ("weight_decay", -1e-9, "a number of at least 0"),
        ("weight_decay", math.inf, "a number of at least 0"),
        ("clip_norm", 0.0, "a number above 0"),
        ("clip_norm", -1.0, "a number above 0"),
        ("workers", -1, "a whole number of at least 0"),
        ("workers", 1.5, "a whole number of at least 0"),
        ("train_images", 0, "a whole number of at least 1"),
        ("data", "", "a dataset's name or a path"),
        ("device", "tpu", "one of auto, cpu, gpu"),
        ("precision", "float16", "one of float32, bf16, auto"),
        ("optimizer", "adam", "one of sgd, muon"),
        ("muon_learning_rate", 0.0, "a number above 0"),
        ("muon_learning_rate", math.inf, "a number above 0"),
        ("muon_momentum", 1.0, "a number from 0 to less than 1"),
        ("image_sizes", (16, 7), "fractions from above 0 to 1, or whole numbers of at least 8 pixels"),
        ("image_sizes", (16.5,), "fractions from above 0 to 1, or whole numbers of at least 8 pixels"),
    ],
)
def test_training_out_of_range_is_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        TrainConfig.of(**{name: value})
    assert str(caught.value) == f"--{name.replace('_', '-')} {value}: expected {expected}"


def test_the_ends_of_the_ranges_are_inside() -> None:
    AugmentConfig(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, (1e-9, 1e-9))
    AugmentConfig(1.0, 1.0, 0.99, 0.99, 180.0, 1.0, 0.99, 1.0, 0.99, 1.0, (0.99, 0.99))
    TrainConfig.of(epochs=1, batch_size=2, validation=0, seed=0, momentum=0.0, label_smoothing=0.0, dropout=0.0)
    TrainConfig.of(ema_decay=0.0, warmup_fraction=0.0, weight_decay=0.0, workers=0, train_images=1, clip_norm=1e-9)
    TrainConfig.of(warmup_fraction=1.0)
    TrainConfig.of(mix_probability=0.0, mix_alpha=1e-9, mix_ramp=(0.0, 0.0), teacher_weight=0.0, temperature=1e-9)
    TrainConfig.of(mix_probability=1.0, mix_ramp=(1.0, 1.0), teacher_weight=1.0, swa_fraction=0.99)
    TrainConfig.of(mix_ramp=(0.5, 0.5), swa_fraction=0.0)


def test_a_batch_of_one_cannot_train_batchnorm() -> None:
    with pytest.raises(UserError, match=r"^--batch-size 1 cannot train BatchNorm: expected at least 2$"):
        TrainConfig.of(batch_size=1)


@pytest.mark.parametrize("name", ["a/b", "/tmp/x", "..", ".", "", "../up", "trailing/", "a\0b", "a/\nb", 3, True])
def test_a_run_must_stay_in_its_folder(name: Any) -> None:
    with pytest.raises(
        UserError, match=r"(?s)^--name .*: expected a plain folder name; --runs sets its parent folder$"
    ):
        TrainConfig.of(name=name)


@pytest.mark.parametrize("settings", [TrainConfig, *GROUPS])
def test_settings_are_frozen(settings: Any) -> None:
    settings, name = settings(), dataclasses.fields(settings)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings, name, None)


@pytest.mark.parametrize("settings", [TrainConfig, *GROUPS])
def test_every_setting_has_its_help(settings: type) -> None:
    """The docstring under a field is its help on the command line; a group's is that of its class."""
    tree = ast.parse(Path(inspect.getfile(settings)).read_text())
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == settings.__name__]
    helped = {
        node.target.id
        for node, following in itertools.pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if isinstance(following.value.value, str) and len(following.value.value) > 10
    }
    assert helped == {field.name for field in dataclasses.fields(settings)} - groups_by_name().keys()
    assert settings.__doc__
    assert not settings.__doc__.startswith(settings.__name__ + "(")  # what dataclasses put where there is none


def test_settings_are_changed_by_their_own_names_whatever_their_group() -> None:
    config = TrainConfig.of(epochs=2, model="thimble-78k", flip_probability=0.25)
    assert (config.schedule.epochs, config.network.model, config.augment.flip_probability) == (2, "thimble-78k", 0.25)
    again = config.changed(epochs=3, batch_size=64, seed=1)
    assert (again.schedule.epochs, again.schedule.batch_size, again.seed) == (3, 64, 1)
    assert again.network == config.network
    assert config.schedule.epochs == 2
    assert config.changed() == config


def test_a_whole_group_is_changed_by_its_name_and_its_settings_beside_it() -> None:
    config = TrainConfig.of(shift_limit=0.1).changed(augment=AugmentConfig(scale_limit=0.3), flip_probability=0.25)
    assert config.augment == AugmentConfig(scale_limit=0.3, flip_probability=0.25)
    wrongs: list[dict[str, Any]] = [
        {"augment": {}},
        {"augment": 3, "flip_probability": 0.25},
        {"schedule": config.augment},
    ]
    for wrong in wrongs:
        with pytest.raises(UserError, match=r"expected settings of type (Augment|Schedule)Config$"):
            config.changed(**wrong)


@pytest.mark.parametrize("name", ["epoch", "learning-rate", "optimiser", "version", ""])
def test_an_unknown_setting_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"^unknown setting {name}: expected fields of TrainConfig, such as epochs$"):
        TrainConfig().changed(**{"epochs": 3, name: 1})
    with pytest.raises(UserError, match=f"^unknown setting {name}:"):
        train(TrainConfig(), **{name: 1})  # type: ignore[arg-type]


def test_folders_may_be_strings() -> None:
    config = TrainConfig.of(runs="out", data_dir="data")
    assert (config.run.runs, config.run.data_dir) == (Path("out"), Path("data"))


ANYTHING: list[Any] = [
    None,
    "",
    "x",
    "a\0b",
    True,
    -1,
    0.5,
    math.nan,
    math.inf,
    10**30,
    1e300,
    2**62,
    [],
    {},
    [1],
    (1, 2),
]


@pytest.mark.parametrize("settings", [TrainConfig, *GROUPS])
def test_whatever_stands_in_a_setting_it_is_taken_or_refused_in_a_line(settings: Any) -> None:
    """Values of every type, from a file or from Python: no error but the one that names the flag."""
    for each in dataclasses.fields(settings):
        refused = []
        for value in ANYTHING:
            with contextlib.suppress(UserError):
                made = getattr(settings(**{each.name: value}), each.name)
                assert isinstance(made, int | float | str | tuple | Path | None), each.name
                continue
            refused.append(value)
        assert len(refused) >= len(ANYTHING) // 2, each.name


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 100_001, "a whole number of at most 100,000"),
        ("epochs", True, "a whole number of at least 0"),
        ("batch_size", 10**7, "a whole number of at most 1,000,000"),
        ("workers", 1000, "a whole number of at most 256"),
        ("seed", 2**63, "a whole number of at most 9,223,372,036,854,775,807"),
        ("learning_rate", 1e300, "a number above 0, at most 1e9"),
        ("learning_rate", True, "a number above 0"),
        ("clip_norm", 1e10, "a number above 0, at most 1e9"),
        ("image_sizes", (16, 4096), "at most 100 sizes, of at most 1,024 pixels"),
        ("image_sizes", (8,) * 50 + (1025,), "at most 100 sizes, of at most 1,024 pixels"),
        ("whiten", 1, "true or false"),
        ("model", None, "the name of a model"),
        ("data_dir", 5, "a path"),
        ("runs", None, "a path"),
    ],
)
def test_a_setting_that_would_cost_the_machine_is_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        TrainConfig.of(**{name: value})
    assert str(caught.value) == f"--{name.replace('_', '-')} {value}: expected {expected}"


def test_numbers_of_numpy_become_pythons() -> None:
    config = TrainConfig.of(seed=np.int64(3), learning_rate=np.float32(0.5), image_sizes=[np.int32(16)])
    assert (config.seed, config.optimization.learning_rate, config.schedule.image_sizes) == (3, 0.5, (16,))
    assert (type(config.seed), type(config.optimization.learning_rate)) == (int, float)
    json.dumps(dataclasses.asdict(config), default=str)
