"""Networks that are traced for an export once, for all tests and all processes of pytest-xdist."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from thimble.exporting import onnx_file
from thimble.exporting.deployment import Deployment


def traced_once(folder: Path) -> Callable[[Deployment], Any]:
    """In place of ``onnx_file._traced``, most of an export's time: traces a network only if no test has before.

    What is traced is kept in a folder, named after all that it is made of, so that several processes may share it.
    """
    traced = vars(onnx_file)["_traced"]

    @wraps(traced)
    def shared(deployment: Deployment) -> Any:
        network, options = deployment.network, (deployment.input_size, deployment.preprocess, deployment.softmax)
        digest = hashlib.sha256(f"{network} {options}".encode())
        for name, tensor in network.state_dict().items():
            digest.update(
                f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes()
            )
        path = folder / f"{digest.hexdigest()}.onnx"
        if not path.exists():
            unfinished = path.with_suffix(f".{os.getpid()}")
            unfinished.write_bytes(traced(deployment).SerializeToString())
            unfinished.replace(path)
        import onnx

        return onnx.load(path)

    return shared
