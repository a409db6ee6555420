"""The verb demo."""

from __future__ import annotations

import time
from typing import Annotated

import tyro

from thimble.cli.options import say


def demo(
    model: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL...")] = (),
    host: str = "127.0.0.1",
    port: int = 7860,
) -> int:
    """Serve a web page for trying models on images: predicted class, confidence, heat map (Grad-CAM) and time.

    Args:
        model: Weights files or run folders to offer beside the shipped models. The first one is selected at the start.
        host: The address to serve at; the page opens under this name and localhost. The default is reachable from this
            machine only; 0.0.0.0 is reachable from the whole network, by any IP address or this machine's name.
        port: The port to serve at; 0 chooses a free one.
    """
    from thimble.demo.answers import Models
    from thimble.demo.page import serve

    with serve(Models(model), host, port) as address:
        say(f"Thimble runs at {address}; press Ctrl-C to stop it")
        while True:
            time.sleep(3600)
