"""Read an exported ONNX file to evaluate it. The file may be somebody else's, so it is checked against its metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from thimble.data.dataset import ImageDataset
from thimble.errors import RunError, UserError
from thimble.measuring.evaluation import Evaluation, check_fit, reduce
from thimble.storage import description
from thimble.system.arguments import expanded
from thimble.system.extras import require
from thimble.system.files import read_file
from thimble.system.json_text import parse_object

from . import onnx_checks
from .deployment import as_inputs
from .onnx_file import METADATA_KEY, session_options
from .parity import Run

_BATCH = 500
_MOST_AT_ONCE = 2**25
"""Most values in a layer's output for a whole batch: 128 MB of float32."""
_EXPECTED = "expected a file that thimble export --format onnx or onnx-int8 wrote"


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """An ONNX file, ready to run.

    Attributes:
        name: the file's path.
        classes: the class names, in the order of the logits.
        input_size: (channels, height, width) of its input images.
        mean: per channel, for pixels in 0..1.
        std: per channel, for pixels in 0..1.
        fit: how images of another shape are fitted: crop, pad or squash, see ``thimble.data.pixels.Fitting``.
        depth: the values that become 0 and 255 in grey images of more than 8 bits; None for the range of their format.
        preprocess: whether it normalises its input itself.
        softmax: whether it returns probabilities instead of logits.
        run: a function from its inputs to its outputs.
        batch: the number of images that are run at once, limited by memory.
        data: its record of the training data; empty if it has none.
    """

    name: str
    classes: tuple[str, ...]
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str
    depth: tuple[float, float] | None
    preprocess: bool
    softmax: bool
    run: Run
    batch: int
    data: dict[str, Any]

    def infer(self, images: Tensor, *, flip: bool = False) -> Tensor:
        """Compute logits, float32 (N, classes), for images, uint8 (N, channels, height, width).

        From a file that returns probabilities, they are logarithms, so that a constant per image may be missing.

        Raises:
            RunError: a logit is nan or infinite.
        """
        logits = torch.cat(
            [self._logits(images[start : start + self.batch], flip) for start in range(0, len(images), self.batch)]
        )
        if not logits.isfinite().all():
            raise RunError(f"{self.name} returns nan or infinite values: expected finite ones; export the model again")
        return logits

    def evaluate(self, dataset: ImageDataset, *, flip: bool = False) -> Evaluation:
        """Evaluate the file on a dataset, as ``thimble.evaluate`` does for a model.

        Raises:
            UserError: the dataset has other classes, or images of another size.
            RunError: the file returns nan or infinite values.
        """
        check_fit(self.name, self, dataset)
        return reduce(self.infer(dataset.images, flip=flip), self, dataset, name=self.name, flip=flip)

    def _logits(self, images: Tensor, flip: bool) -> Tensor:
        if flip:
            return (self._logits(images, False) + self._logits(images.flip(3), False)) / 2
        outputs = self.run(as_inputs(images, self.preprocess, self.mean, self.std))
        return outputs.clamp_min(torch.finfo(torch.float32).tiny).log() if self.softmax else outputs


def open_exported(path: str | Path) -> ExportedModel:
    """Read an ONNX file that Thimble exported.

    Raises:
        UserError: the file is not a complete ONNX file, is from another program, or contradicts its metadata; or the
            extra ``export`` is not installed.
    """
    require("onnx", "onnxruntime", by="reading an ONNX file", extra="export")
    path = expanded(path)
    content = read_file(path, onnx_checks.MOST_BYTES)
    try:
        proto = onnx_checks.parse(content)
    except ValueError as error:
        raise UserError(f"{path} ({len(content):,} bytes) is not a valid ONNX file ({error}): {_EXPECTED}") from error
    described = {entry.key: entry.value for entry in proto.metadata_props}.get(METADATA_KEY)
    if described is None:
        raise UserError(f"{path} is an ONNX file from another program: {_EXPECTED}")
    try:
        claims = _read_claims(parse_object(described))
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} has incomplete metadata ({error!r}): {_EXPECTED}") from error
    try:
        most_values = onnx_checks.most_values(proto)
        session = _start(proto)
    except ValueError as error:
        raise UserError(f"{path} ({len(content):,} bytes) cannot be run ({error}): {_EXPECTED}") from error
    input_name = session.get_inputs()[0].name if session.get_inputs() else ""

    def run(inputs: Tensor) -> Tensor:
        try:
            outputs = torch.from_numpy(session.run(None, {input_name: inputs.numpy()})[0])
        except Exception as error:  # a valid graph may still fail when it runs, with any exception
            reason = " ".join(str(error).split())[:200]
            raise RunError(f"{path} fails to run ({reason}): {_EXPECTED}") from error
        if outputs.dtype != torch.float32 or outputs.shape != (len(inputs), len(claims["classes"])):
            raise RunError(
                f"{path} returns {outputs.dtype} {tuple(outputs.shape)} for {len(inputs)} images: {_EXPECTED}"
            )
        return outputs

    batch = max(1, min(_BATCH, _MOST_AT_ONCE // max(1, most_values)))
    model = ExportedModel(name=str(path), **claims, run=run, batch=batch)
    _check_shapes(path, model, session)
    return model


def _read_claims(metadata: dict[str, Any]) -> dict[str, Any]:
    """Read the metadata; ``_check_shapes`` compares them with the graph."""
    preprocess = metadata["input"]["type"] == "uint8"
    shape = list(metadata["input"]["shape"][1:])
    data = metadata.get("data")
    input_size = description.check_input_size(
        [shape[2], shape[0], shape[1]] if preprocess and len(shape) == 3 else shape
    )
    return {
        "data": data if isinstance(data, dict) else {},
        "classes": description.check_classes(metadata["classes"]),
        "input_size": input_size,
        "mean": description.check_constants("mean", metadata["mean"], input_size[0]),
        "std": description.check_constants("std", metadata["std"], input_size[0]),
        "fit": description.check_fit(metadata.get("fit", "crop")),
        "depth": description.check_depth(metadata.get("depth")),
        "preprocess": preprocess,
        "softmax": metadata["output"] == "probabilities",
    }


def _start(proto: Any) -> Any:
    """Start a session from exactly the graph that was checked.

    Raises:
        ValueError: the runtime refuses it.
    """
    import onnxruntime

    options = session_options()
    options.log_severity_level = 4  # silent: our own message reports what is wrong
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # the fallback is the same provider: it would print an error and fail again
        )
        for one in (*session.get_inputs(), *session.get_outputs()):
            _ = one.name, one.type, one.shape  # reading a string that is not UTF-8 raises
        return session
    except Exception as error:  # onnxruntime raises many types of its own
        raise ValueError(" ".join(str(error).split())[:120]) from error


def _check_shapes(path: Path, model: ExportedModel, session: Any) -> None:
    """Check that the graph's inputs and outputs match the metadata."""
    channels, height, width = model.input_size
    size = [height, width, channels] if model.preprocess else [channels, height, width]
    kind = "tensor(uint8)" if model.preprocess else "tensor(float)"
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type != kind or not _fits(inputs[0].shape, size):
        found = ", ".join(f"{one.type} {one.shape}" for one in inputs)
        raise UserError(
            f"{path} takes {found}: expected {kind} ['batch', {', '.join(map(str, size))}], as in its metadata;"
            " export the model again"
        )
    if len(outputs) != 1 or not _fits(outputs[0].shape, [len(model.classes)]):
        found = ", ".join(f"{one.type} {one.shape}" for one in outputs)
        raise UserError(
            f"{path} returns {found}: expected ['batch', {len(model.classes)}], one value per class; export the model"
            " again"
        )


def _fits(shape: Sequence[Any], expected: list[int]) -> bool:
    """Whether a shape has a variable batch size (a name or None, not a number), followed by the expected sizes."""
    return len(shape) == len(expected) + 1 and not isinstance(shape[0], int) and list(shape[1:]) == expected
