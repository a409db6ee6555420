"""The demo's page, served: whom it answers, what it says over HTTP and in a browser."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from demo_shared import CHROMIUM, FLAGS, draw_ship, save_shapes, write_bad
from PIL import Image


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The verb itself, in a process of its own, as a user starts it; in the end Ctrl-C."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("demo")
    shapes = save_shapes(folder / "shapes.safetensors")
    command = [sys.executable, "-m", "thimble", "demo", "--port", "0", "--model", "reference", str(shapes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "THIMBLE_DATA": str(folder), "TMPDIR": str(folder)}
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits that it is ignored
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        signal.signal(signal.SIGINT, previous)
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line.startswith("Thimble runs at http://127.0.0.1:"), process.communicate(timeout=60)
            yield line.split()[3].rstrip(";")
        finally:
            process.send_signal(signal.SIGINT)
            out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (130, "", "thimble: interrupted\n")
    assert not list(folder.glob("thimble-demo-*"))  # the uploads went with it


def status(address: str, path: str = "/", body: bytes | None = None, **headers: str) -> int:
    """What a request is answered with, by a client that says of itself what it likes."""
    host, _, port = address.partition("//")[2].partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("GET" if body is None else "POST", path, body=body, headers=names)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_only_its_own_page_is_answered(served: str) -> None:
    own = served.partition("//")[2]
    port = own.partition(":")[2]
    assert status(served) == 200
    assert status(served, Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200
    for path in ("/", "/config", "/gradio_api/info", "/gradio_api/queue/data", "/gradio_api/heartbeat/x", "/nothing"):
        assert status(served, path, Host="evil.example") == 421
        assert status(served, path, Origin="http://evil.example") == 403
        assert status(served, path, Host=f"evil.example:{port}", Origin=f"http://evil.example:{port}") == 421
    assert status(served, "/gradio_api/queue/join", b"{}", Origin="null") == 403
    assert status(served, "/gradio_api/upload", b"", Origin=f"http://localhost:{port}") == 403
    assert status(served, "/gradio_api/queue/join", b"x" * 1_100_000, Origin=served) == 413
    assert status(served, "/gradio_api/upload", b"", Content_Length=str(200_000_000)) == 413


@pytest.mark.slow
def test_nothing_is_reported_to_anybody(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from thimble.demo.page import _gradio

    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace())  # which takes seconds to import
    for name in ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    _gradio()
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    with urllib.request.urlopen(f"{served}/config") as answer:
        assert json.load(answer)["analytics_enabled"] is False


def ask(address: str, path: Path, model: str = "reference") -> list[Any]:
    """What the page's own interface answers: refusal, label, picture, text."""
    from gradio_client import Client, handle_file

    client = Client(address, verbose=False, analytics_enabled=False)
    try:
        return list(client.predict(handle_file(path), model, api_name="/answer"))
    finally:
        client.close()


@pytest.mark.slow
def test_it_answers_and_refuses_over_http(served: str, tmp_path: Path) -> None:
    _, label, picture, text = ask(served, draw_ship(tmp_path / "ship.png"))
    assert label["label"] == "ship"
    assert len(label["confidences"]) == 5
    with Image.open(picture) as drawn:
        assert drawn.size == (256, 256)
    assert " ms" in text
    for name, path in write_bad(tmp_path).items():
        message, label, picture, text = ask(served, path)
        assert 'class="refusal" role="alert"' in str(message)
        assert f"{name}.png" in str(message)
        assert "/tmp" not in str(message)
        assert (picture, text) == (None, "")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: the demo is not looked at in a browser")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_drops_an_image_and_reads_the_answer(served: str, tmp_path: Path, width: int) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    hosts = set()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(60_000)
        page.on("request", lambda request: hosts.add(request.url.partition("//")[2].partition("/")[0]))
        page.goto(served)
        upload = page.locator("#upload input[type=file]")
        upload.set_input_files(draw_ship(tmp_path / "ship.png"))
        assert page.locator("#answer .output-class").inner_text().strip() == "ship"
        page.locator("#heat img").wait_for()
        assert "ms" in page.locator("#speed").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=tmp_path / "answer.png", full_page=True)
        page.locator("#upload").get_by_label("Remove Image").click()
        page.locator("#answer .output-class").wait_for(state="detached")
        upload.set_input_files(write_bad(tmp_path)["huge"])
        assert "63.0 megapixels: expected at most 50" in page.locator(".refusal").inner_text()
        assert page.locator("#answer .output-class").count() == 0
        page.locator("#model input").click()
        page.get_by_role("option", name="shapes.safetensors").click()
        page.locator("#samples img").nth(3).click()
        page.locator("#heat img").wait_for()
        assert page.locator(".refusal").count() == 0
        page.locator("#upload").get_by_label("Remove Image").click()
        page.locator("#heat img").wait_for(state="detached")
        browser.close()
    with Image.open(tmp_path / "answer.png") as shot:
        assert shot.width == width
    assert {host for host in hosts if host} == {served.partition("//")[2]}
