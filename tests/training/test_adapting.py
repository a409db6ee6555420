"""Settings that follow from the training images."""

from __future__ import annotations

import pytest
import torch

from thimble.data.dataset import ImageDataset
from thimble.data.source import Given
from thimble.errors import UserError
from thimble.training.adapting import adapted, check_length, choose_batch_size, choose_dropout, choose_epochs
from thimble.training.config import TrainConfig
from thimble.training.recipes import find_recipe


def dataset(*counts: int) -> ImageDataset:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8)
    return ImageDataset("mine", images, labels, tuple("abcdefgh"[: len(counts)]), (0.5,) * 3, (0.2,) * 3)


def choices(config: TrainConfig, data: ImageDataset) -> tuple[TrainConfig, list[str]]:
    said: list[str] = []
    return adapted(config, Given(data, data), data, said.append), said


def test_every_automatic_setting_is_replaced_and_said() -> None:
    config, said = choices(find_recipe("own"), dataset(300, 20))
    assert config.schedule.epochs == choose_epochs(320)
    assert config.schedule.batch_size == choose_batch_size(320)
    assert config.weighting.class_weights == "sqrt"
    assert config.augment.flip == "horizontal"
    assert config.network.dropout == 0.5
    assert "dropout: 0.5, as there are 160 training images per class" in said
    assert "class weights: sqrt, as the largest class is 15 times the smallest" in said
    assert any(line.startswith("mirrored images: horizontal, as the most similar image") for line in said)
    assert said[-1] == f"length: {config.schedule.epochs} epochs of 320 images in batches of 64"


def test_what_was_asked_for_stays() -> None:
    asked = find_recipe("own").changed(
        epochs=3, batch_size=10, class_weights="balanced", flip="both", dropout=0.2, learning_rate=0.1, skip_easy=0.1
    )
    config, said = choices(asked, dataset(30, 2))
    assert (config, said) == (asked, [])


def test_equal_classes_need_no_weights() -> None:
    assert choices(find_recipe("own"), dataset(30, 25))[0].weighting.class_weights == "none"


def test_smaller_batches_have_a_smaller_rate_unless_one_is_asked_for() -> None:
    recipe = find_recipe("own")
    config, said = choices(recipe, dataset(40, 40))
    assert config.schedule.batch_size == 16
    assert config.optimization.learning_rate == pytest.approx(0.3 / 4)
    assert config.optimization.muon_learning_rate == recipe.optimization.muon_learning_rate
    assert "learning rate: 0.075, for batches of 16" in said
    assert choices(recipe, dataset(300, 20))[0].optimization.learning_rate == 0.3
    assert choices(recipe, dataset(15_000, 15_000))[0].optimization.learning_rate == 0.3  # batches of 128
    assert choices(recipe.changed(learning_rate=0.2), dataset(40, 40))[0].optimization.learning_rate == 0.2
    assert choices(recipe.changed(learning_rate=0.3), dataset(40, 40))[0].optimization.learning_rate == 0.3
    assert choices(recipe.changed(batch_size=16), dataset(300, 20))[0].optimization.learning_rate == 0.075


def test_few_images_per_class_need_dropout() -> None:
    config, said = choices(find_recipe("own"), dataset(30, 25))
    assert config.network.dropout == choose_dropout(27.5) == 0.5
    assert "dropout: 0.5, as there are 28 training images per class" in said
    assert choices(find_recipe("own"), dataset(300, 200))[0].network.dropout == 0.0
    assert (choose_dropout(199.9), choose_dropout(200.0)) == (0.5, 0.0)


def test_of_many_images_the_easy_ones_are_skipped() -> None:
    recipe = find_recipe("own")
    config, said = choices(recipe, dataset(15_000, 5_000))
    assert config.hard_images.skip_easy == 0.3
    assert "easy images: 30% are skipped after the first quarter, as there are at least 20,000" in said
    config, said = choices(recipe, dataset(15_000, 4_999))
    assert config.hard_images.skip_easy == 0.0
    assert not any(line.startswith("easy") for line in said)
    assert choices(recipe.changed(skip_easy=0.0), dataset(15_000, 5_000))[0].hard_images.skip_easy == 0.0


def test_a_recipe_without_automatic_settings_is_unchanged() -> None:
    assert choices(TrainConfig(), dataset(300, 20)) == (TrainConfig(), [])


def test_few_images_are_seen_often_and_many_rarely() -> None:
    numbers = [2, 5, 20, 100, 500, 3_000, 20_000, 60_000, 1_000_000]
    epochs = [choose_epochs(number) for number in numbers]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[-1] >= 2
    views = [number * count for number, count in zip(numbers, epochs, strict=True)]
    assert views[numbers.index(60_000)] > views[numbers.index(3_000)]
    assert views[-1] < 12_000_000


@pytest.mark.parametrize("num_images", [2, 3, 5, 8, 63, 64, 65, 500, 19_999, 20_000, 10**6])
def test_a_batch_is_never_larger_than_the_dataset(num_images: int) -> None:
    assert 2 <= choose_batch_size(num_images) <= min(128, num_images)


def test_a_batch_that_no_epoch_fills_is_refused() -> None:
    with pytest.raises(UserError, match="--batch-size 20: expected at most 10"):
        check_length(TrainConfig.of(batch_size=20), 10, 1)
    with pytest.raises(UserError, match="--batch-size 9: expected a multiple of 2"):
        check_length(TrainConfig.of(batch_size=9), 10, 2)
