"""Describe a ``.tflite`` file inside itself, so that Android's and other tools know its pixels and its classes.

Numbers of fields are those of ``metadata_schema.fbs`` in github.com/tensorflow/tflite-support, version 1.1.0. The names
of the classes are a text file in a zip archive that follows the network; readers of the network do not look there.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from .flatbuffer import Number, Table, write

LABELS = "labels.txt"
"""The name of the archive's file: one class name a line, in the order of the logits."""
_IDENTIFIER, _PARSER_VERSION = b"M001", "1.0.0"
_RGB, _GREY = 1, 2
_IMAGE_PROPERTIES, _NORMALIZATION, _AXIS_LABELS = 2, 1, 2
"""Numbers in the unions ``ContentProperties`` and ``ProcessUnitOptions``, and in the enumeration of files."""


def describe(metadata: dict[str, Any], input_size: tuple[int, int, int]) -> bytes:
    """Write the metadata that TensorFlow Lite's tools read.

    Args:
        metadata: Thimble's own, as JSON values.
        input_size: (channels, height, width).
    """
    channels, height, width = input_size
    properties = Table(
        {
            0: Number("Int8", _RGB if channels == 3 else _GREY),
            1: Table({0: Number("Uint32", width), 1: Number("Uint32", height)}),
        }
    )
    images = Table(
        {
            0: "images",
            1: str(metadata.get("fitting", "an image")),
            3: Table({0: Number("Uint8", _IMAGE_PROPERTIES), 1: properties}),
            # The file normalises by itself: pixels stay as they are.
            4: [Table({0: Number("Uint8", _NORMALIZATION), 1: Table({0: _floats(0), 1: _floats(1)})})],
            5: Table({0: _floats(255), 1: _floats(0)}),
        }
    )
    labels = Table({0: LABELS, 1: "The names of the classes.", 2: Number("Int8", _AXIS_LABELS)})
    logits = Table(
        {0: "logits", 1: "One a class; the largest is the answer, a softmax gives probabilities.", 6: [labels]}
    )
    name = str(metadata.get("model", "network"))
    root = Table(
        {
            0: name,
            1: "An image classifier. The metadata of the name 'thimble' say more.",
            2: str(metadata.get("weights_sha256", "")),
            3: [Table({0: name, 2: [images], 3: [logits]})],
            4: f"thimble {metadata.get('thimble', '')}".strip(),
            5: str(metadata.get("licence", "not stated")),
            7: _PARSER_VERSION,
        }
    )
    return write(root, _IDENTIFIER)


def archive(labels: str) -> bytes:
    """A zip archive with the names of the classes; always the same bytes for the same names."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(zipfile.ZipInfo(LABELS, (1980, 1, 1, 0, 0, 0)), labels)
    return content.getvalue()


def _floats(value: float) -> Any:
    return np.array([value], dtype=np.float32)
