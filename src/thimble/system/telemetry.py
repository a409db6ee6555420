"""Dependencies that report on their users, or ask for newer versions, unless they are told not to."""

from __future__ import annotations

import os

SWITCHES = {
    # onnxruntime sends events to Microsoft, and keeps an identifier of the device and a database of events in the
    # user's cache. It reads this once, while it is imported; its function disable_telemetry_events comes too late.
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}
"""Environment variables, with the values that switch it off."""


def switch_off() -> None:
    """Switch it all off, for this process and those that it starts; a variable that the user has set stays as it is.

    ``thimble/__init__.py`` does it, so that it is done before any of them is imported by a module of ours.
    """
    for name, value in SWITCHES.items():
        if not os.environ.get(name):
            os.environ[name] = value
