"""The network sprint: its budget, its sizes."""

from __future__ import annotations

import pytest
import torch

from thimble.measuring.summary import summarize
from thimble.models import build_model


def test_sprint_keeps_the_budget_at_every_size_of_own_images() -> None:
    summary = summarize("sprint")
    assert (summary.num_parameters, summary.num_multiply_adds) == (146_768, 17_085_088)
    for side in (32, 48, 64, 96, 128):
        model = build_model("sprint", input_size=(side, side))
        assert summarize(model).within_budget
        # The stem brings larger images down to the same 31 by 31 pixels; 48 is the one size between.
        stem = model.get_submodule("stem")(torch.zeros(1, 3, side, side))
        assert stem.shape[2:] == ((47, 47) if side == 48 else (31, 31))


def test_sprint_takes_half_of_its_least_size_and_refuses_a_smaller_one() -> None:
    model = build_model("sprint", input_size=(18, 18)).eval()
    assert model(torch.zeros(1, 3, 9, 9)).shape == (1, 10)
    with pytest.raises(ValueError, match=r"sprint cannot take images of \(17, 32\) pixels: expected at least 18 by 18"):
        build_model("sprint", input_size=(17, 32))
