"""Find the user's cache, the folder for downloads and for what can be computed again."""

from __future__ import annotations

import os
from pathlib import Path

from .arguments import expanded


def cache_folder() -> Path:
    """$THIMBLE_CACHE if it is set, else ``thimble`` in the user's cache, such as ``~/.cache``. It may not exist yet."""
    chosen = os.environ.get("THIMBLE_CACHE")
    if not chosen:
        import pooch

        chosen = str(pooch.os_cache("thimble"))
    return expanded(chosen).absolute()
