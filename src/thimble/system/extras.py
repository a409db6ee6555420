"""Import optional packages, and name the extra to install if one is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib import import_module

from thimble.errors import RunError, UserError


class PackageMissing(UserError):
    """A package of an extra is not installed."""


@contextlib.contextmanager
def needed(package: str, *, by: str, extra: str) -> Iterator[None]:
    """Import an optional package inside this block.

        with needed("matplotlib", by="the report", extra="report"):
            from matplotlib.figure import Figure

    Args:
        package: its top-level name.
        by: what needs it; the error message begins with these words.
        extra: the extra that installs it.

    Raises:
        PackageMissing: it is not installed.
        RunError: it is installed but cannot be imported, for example because one of its own packages is missing.
    """
    try:
        import_module(package)  # first, so that an ImportError names the package itself, not a module inside it
        yield
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise PackageMissing(
                f"{by} needs {package}, which is not installed: pip install 'thimble-nets[{extra}]'"
            ) from error
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"{by} needs {package}, which is installed but cannot be imported ({reason}):"
            f" pip install --force-reinstall {package}"
        ) from error


def require(*packages: str, by: str, extra: str) -> None:
    """Import optional packages before the work that needs them, so that a missing one is reported at once.

    Args:
        packages: their top-level names.
        by: what needs them; the error message begins with these words.
        extra: the extra that installs them.

    Raises:
        PackageMissing: one is not installed.
        RunError: one is installed but cannot be imported.
    """
    for package in packages:
        with needed(package, by=by, extra=extra):
            pass
