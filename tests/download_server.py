"""A server on this machine that stands in for CIFAR-10's."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cifar10_files import files


class Server:
    """An HTTP server on 127.0.0.1 whose paths are functions of the request handler; counts what was asked for."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[[http.server.BaseHTTPRequestHandler], None]] = {}
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                route = outer.routes.get(self.path)
                if route is None:
                    self.send_error(404)
                else:
                    route(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.httpd.server_address[1]}{path}"

    def serve(self, path: str, body: bytes, declared: int | None = None) -> str:
        """Serve ``body`` at ``path``, with a Content-Length that may lie; give the address."""

        def respond(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(declared or len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        self.routes[path] = respond
        return self.url(path)

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()


def downloaded(root: Path) -> bool:
    """Whether the folder is there, whole, with nothing beside it."""
    if [path.name for path in root.iterdir()] != ["cifar-10-batches-bin"]:
        return False
    return {path.name: path.read_bytes() for path in (root / "cifar-10-batches-bin").iterdir()} == files()
