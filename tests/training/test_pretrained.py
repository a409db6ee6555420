"""A training that begins with a trained model's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from thimble.errors import UserError
from thimble.models import build_model
from thimble.models.classifier import Classifier
from thimble.storage.weights import save_weights
from thimble.training.pretrained import adopt_weights


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Classifier, str]:
    model = build_model("thimble-78k", num_classes=7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    path = tmp_path / "it.safetensors"
    save_weights(path, model, {})
    return model, str(path)


def weight(model: nn.Module, name: str) -> torch.Tensor:
    return model.get_parameter(f"{name}.weight")


def head(model: nn.Module) -> torch.Tensor:
    return list(model.parameters())[-2]


def test_all_weights_but_the_last_layer_are_copied(trained: tuple[Classifier, str]) -> None:
    model, path = trained
    new = build_model("thimble-78k", num_classes=7)
    before = head(new).clone()
    said = adopt_weights(new, path)
    assert said == f"begins with the weights of {path}, but for the last layer"
    assert torch.equal(head(new), before)
    assert torch.equal(weight(new, "stem.0"), weight(model, "stem.0"))
    assert torch.equal(weight(new, "stage2.0.1"), weight(model, "stage2.0.1"))


def test_another_number_of_classes_and_another_size_are_no_obstacle(trained: tuple[Classifier, str]) -> None:
    model, path = trained
    larger = build_model("thimble-78k", num_classes=2, input_size=(64, 64))
    adopt_weights(larger, path)
    assert torch.equal(weight(larger, "stem.0"), weight(model, "stem.0"))
    largest = build_model("thimble-78k", num_classes=2, input_size=(128, 128))
    assert "tensors of another shape, such as stem." in adopt_weights(largest, path)
    assert torch.equal(weight(largest, "stage2.0.1"), weight(model, "stage2.0.1"))


def test_grey_images_give_the_features_of_their_colour_copies(trained: tuple[Classifier, str]) -> None:
    model, path = trained
    grey = build_model("thimble-78k", num_classes=7, in_channels=1)
    adopt_weights(grey, path)
    image = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        expected = model.eval().get_submodule("stem")(image.expand(-1, 3, -1, -1))
        torch.testing.assert_close(grey.eval().get_submodule("stem")(image), expected)


def test_another_architecture_is_the_users_mistake(trained: tuple[Classifier, str]) -> None:
    _, path = trained
    with pytest.raises(UserError, match=r"is a thimble-78k, and --model is reference: .*; add --model thimble-78k"):
        adopt_weights(build_model("reference"), path)
    with pytest.raises(UserError, match="nowhere"):
        adopt_weights(build_model("reference"), "nowhere")
