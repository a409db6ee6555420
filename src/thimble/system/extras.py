"""Packages that an extra brings: one that is missing is told in a line that names the extra, and only if it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module

from thimble.errors import RunError, UserError


class PackageMissing(UserError):
    """A package that an extra brings is not installed."""


@contextlib.contextmanager
def needed(package: str, *, by: str, extra: str) -> Iterator[None]:
    """Import an optional package inside this block.

        with needed("matplotlib", by="the report", extra="report"):
            from matplotlib.figure import Figure

    Args:
        package: what is imported, by its top-level name.
        by: what needs it, as the line begins.
        extra: the one that brings it.

    Raises:
        PackageMissing: it is not installed.
        RunError: it is installed and cannot be imported, because a package that it needs itself is missing, say.
    """
    try:
        import_module(
            package
        )  # first, so that the name of what is missing is the package's own and not of a part of it
        yield
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise PackageMissing(
                f"{by} needs {package}, which is not installed: pip install 'thimble-nets[{extra}]'"
            ) from error
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{by} needs {package}, which is installed and cannot be imported ({reason}):"
            f" pip install --force-reinstall {package}"
        ) from error


def require(*packages: str, by: str, extra: str) -> None:
    """Import optional packages before the work that needs them, so that a missing one is told at once.

    Args:
        packages: their top-level names.
        by: what needs them, as the line begins.
        extra: the one that brings them.

    Raises:
        PackageMissing: one is not installed.
        RunError: one is installed and cannot be imported.
    """
    for package in packages:
        with needed(package, by=by, extra=extra):
            pass
