"""Choose how a dataset's images are fitted, from the facts of its images, and say why."""

from __future__ import annotations

from typing import Any

import numpy as np

from thimble.data.pixels import Fit, Fitting

from .facts import COLOURED, Facts
from .settings import LEAST_SIDE, ImagesConfig

SIZES = (128, 96, 64, 48, 32)
_MOST_BEAR = 0.9
"""The fraction of the images whose shorter side is at least the chosen size."""

_MOST_CUT, _MOST_CUT_OF_NINETY = 0.10, 0.25
"""Crop if it cuts off at most these fractions of the area: of the median image, and of 90% of the images."""

_MOST_SPREAD = 1.1
"""Squash if the aspect ratios, from the 10th to the 90th percentile, differ by at most this factor."""

Values = np.ndarray[Any, np.dtype[np.float64]]


def choose_fitting(facts: Facts, config: ImagesConfig) -> tuple[Fitting, dict[str, str]]:
    """Choose size, fit, channels and depth by the settings, or else by the data.

    Images whose colour is not known yet count as grey.

    Args:
        facts: of at least one image.
        config: what was asked for.

    Returns:
        the fitting; and by "image_size", "fit", "channels" and "depth" a sentence that says the choice and why.
    """
    width, height = facts["width"].astype(np.float64), facts["height"].astype(np.float64)
    size, why_size = _size(np.minimum(width, height), config.image_size)
    fit, why_fit = _fit(width, height, config.fit)
    channels, why_channels = _channels(facts, config.channels)
    depth, why_depth = _depth(facts)
    reasons = {"image_size": why_size, "fit": why_fit, "channels": why_channels, "depth": why_depth}
    return Fitting((size, size), channels, fit, depth), reasons


def given_fitting(fitting: Fitting) -> dict[str, str]:
    """The reasons, as of ``choose_fitting``, for a fitting that a trained model demands."""
    height, width = fitting.size
    depth = "none" if fitting.depth is None else f"{fitting.depth[0]:,.6g} to {fitting.depth[1]:,.6g}"
    choices = {"image_size": f"{width}x{height} pixels", "fit": fitting.fit}
    choices |= {"channels": f"{fitting.channels}", "depth": depth}
    return {name: f"{choice}: as the model was trained." for name, choice in choices.items()}


def _size(shorter: Values, asked: int | None) -> tuple[int, str]:
    if asked is not None:
        return asked, f"{asked} pixels: as asked."
    for size in SIZES:
        share = float(np.mean(shorter >= size))
        if share >= _MOST_BEAR:
            return size, f"{size} pixels: {_percent(share)} of the images have a shorter side of at least {size}."
    median = float(np.median(shorter))
    size = int(np.clip(median, LEAST_SIDE, SIZES[-1]))
    return size, (
        f"{size} pixels: less than 90% of the images have a shorter side of {SIZES[-1]} or more; its median is"
        f" {median:g}."
    )


def _fit(width: Values, height: Values, asked: str) -> tuple[Fit, str]:
    cut = 1.0 - np.minimum(width, height) / np.maximum(width, height)
    median, ninety = float(np.median(cut)), float(np.quantile(cut, 0.9))
    narrow, wide = np.quantile(width / height, (0.1, 0.9))
    lost = f"a square cuts off {_percent(median)} of the median image"
    if asked != "auto":
        return asked, f"{asked}: as asked."  # type: ignore[return-value]
    if median <= _MOST_CUT and ninety <= _MOST_CUT_OF_NINETY:
        return "crop", f"crop: {lost}." if ninety else "crop: the images are square."
    ratios = f"the images are {narrow:.2f} to {wide:.2f} times as wide as high (10th to 90th percentile)"
    if wide / narrow <= _MOST_SPREAD:
        return "squash", f"squash: {lost}, and nearly all have the same shape: {ratios}."
    return "pad", f"pad: {lost}, and their shapes differ: {ratios}."


def _channels(facts: Facts, asked: int | None) -> tuple[int, str]:
    if asked is not None:
        return asked, f"{asked}: as asked."
    if (facts["colour"] == COLOURED).any():
        return 3, "3: there are images with colours."
    return 1, "1: all images are grey."


def _depth(facts: Facts) -> tuple[tuple[float, float] | None, str]:
    deep = facts[facts["deep"]]
    if not len(deep):
        return None, "none: no image is grey of more than 8 bits."
    low, high = float(deep["low"].min()), float(deep["high"].max())
    if low >= high:
        return None, f"none: the images of more than 8 bits have no contrast, all values are {low:,.6g}."
    return (low, high), (
        f"{low:,.6g} to {high:,.6g}: the lowest 0.1th and the highest 99.9th percentile of the values in"
        f" {len(deep):,} {'image' if len(deep) == 1 else 'images'} of more than 8 bits."
    )


def _percent(share: float) -> str:
    """A fraction in whole percent, but 100% only of all and 0% only of none."""
    whole = round(100 * share)
    return "almost 100%" if whole == 100 and share < 1 else "under 1%" if whole == 0 and share > 0 else f"{whole}%"
