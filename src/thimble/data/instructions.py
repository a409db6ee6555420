"""Say how an image becomes a network's input, for those who do it without Thimble."""

from __future__ import annotations

from .pixels import PADDING, Fitting


def instructions(fitting: Fitting) -> str:
    """Tell in one sentence, of ASCII characters, what ``thimble.data.pixels.to_input`` does to an image."""
    height, width = fitting.size
    size = f"{width}x{height} (width x height)"
    colours = "RGB" if fitting.channels == 3 else "grey (0.299 red + 0.587 green + 0.114 blue)"
    fits = {
        "crop": f"crop its largest centred part of {width}:{height} and resize that to {size}",
        "pad": f"resize it to fit into {size}, and centre it on grey of {PADDING}",
        "squash": f"resize all of it to {size}, whatever its aspect ratio",
    }
    black, white = fitting.depth or (0, 65_535)
    return (
        "Turn the image upright by its EXIF orientation, lay it over white if it has transparency, scale grey of 16"
        f" bits so that {black:g} becomes 0 and {white:g} becomes 255, convert it to {colours}, {fits[fitting.fit]},"
        " bicubic with antialiasing."
    )
