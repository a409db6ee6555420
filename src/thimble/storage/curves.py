"""Write a run's metrics for TensorBoard."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thimble.errors import RunError
from thimble.system.extras import PackageMissing, needed

from .logs import Row

_event_files = itertools.count()


def open_curves(run: Path, first_epoch: int) -> Curves | None:
    """Open a run's ``Curves``; return None, without a message, if the extra ``tensorboard`` is not installed.

    Raises:
        RunError: TensorBoard cannot be imported, or the file cannot be written.
    """
    try:
        return Curves(run, first_epoch)
    except PackageMissing:
        return None


class Curves:
    """Write the columns of ``metrics.csv`` for TensorBoard; ``tensorboard --logdir runs`` plots all runs together.

    Each row is written at once. ``torch.utils.tensorboard`` would write it in a thread, whose errors nobody catches.

    Args:
        run: the run's folder; the event files go into its subfolder ``tensorboard/``.
        first_epoch: the epoch of the first row to come. TensorBoard discards what an interrupted run wrote from this
            epoch on.

    Raises:
        PackageMissing: the extra ``tensorboard`` is not installed.
        RunError: TensorBoard cannot be imported, or the file cannot be written.
    """

    def __init__(self, run: Path, first_epoch: int) -> None:
        with needed("tensorboard", by="logging for TensorBoard", extra="tensorboard"):
            from tensorboard.compat.proto.event_pb2 import SessionLog
            from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}.{next(_event_files)}"
        self.path = run / "tensorboard" / name
        with self._telling():
            self.path.parent.mkdir(exist_ok=True)
            self._file = self.path.open("ab")
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        self._write(step=first_epoch, session_log=SessionLog(status=SessionLog.START))

    def add(self, row: Row) -> None:
        """Write an epoch's row and flush it, so that TensorBoard shows it at once."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for name, value in row.items():
            if name != "epoch" and value is not None:
                tag = name.replace("_", "/", 1)
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                self._write(step=row["epoch"], summary=summary)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        with self._telling():
            self._records.write(Event(wall_time=time.time(), **fields).SerializeToString())
            self._file.flush()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}; free some space and try again") from error
