"""Switch off telemetry and version checks of the packages that Thimble uses."""

from __future__ import annotations

import os

SWITCHES = {
    # onnxruntime sends events to Microsoft, and keeps a device identifier and a database of events in the user's cache.
    # It reads this variable once, on import; its function disable_telemetry_events would come too late.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
"""Environment variables, with the values that switch telemetry off."""


def switch_off() -> None:
    """Switch telemetry off, for this process and those that it starts; variables that the user has set stay.

    ``thimble/__init__.py`` calls this before any module of Thimble can import one of these packages.
    """
    for name, value in SWITCHES.items():
        if not os.environ.get(name):
            os.environ[name] = value
