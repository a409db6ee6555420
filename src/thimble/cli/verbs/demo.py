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
    """Serve a page to drop images on: what a model takes them for, how sure it is, where it looked, and how fast.

    Args:
        model: More models to choose from than the shipped ones: weights files or run folders. The first is shown first.
        host: The address to serve at, and the name that is answered beside localhost. The default is for this machine
            alone; 0.0.0.0 lets the whole network in, by every IP address and by this machine's name.
        port: The port to serve at; 0 for any that is free.
    """
    from thimble.demo.answers import Models
    from thimble.demo.page import serve

    with serve(Models(model), host, port) as address:
        say(f"Thimble is at {address}; Ctrl-C ends it")
        while True:
            time.sleep(3600)
