"""The demo: what it answers, without Gradio; and the page, served, in a browser, and on the bad day."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from thimble.cli import main as cli
from thimble.data.cifar10 import CLASSES, Cifar10, data_folder
from thimble.data.shapes10 import shapes10
from thimble.demo.answers import MAX_BYTES, Models, answer, check_upload, draw_samples
from thimble.errors import UserError
from thimble.models import build_model
from thimble.storage.find import load_pretrained
from thimble.storage.weights import save_weights

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def draw_ship(path: Path) -> Path:
    """A picture that the shipped network takes for a ship."""
    image = Image.new("RGB", (320, 240), (190, 215, 235))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 155, 320, 240), fill=(38, 92, 130))
    pen.polygon(((45, 135), (280, 135), (250, 175), (75, 175)), fill=(120, 30, 30))
    pen.rectangle((110, 100, 235, 135), fill=(240, 240, 235))
    pen.rectangle((150, 45, 172, 100), fill=(200, 60, 40))
    image.save(path)
    return path


def write_bad(folder: Path) -> dict[str, Path]:
    """An image of too many pixels, a file of too many bytes, a damaged image, and what is none."""
    ship = draw_ship(folder / "ship.png").read_bytes()
    paths = {name: folder / f"{name}.png" for name in ("huge", "heavy", "corrupt", "none")}
    Image.new("1", (9000, 7000)).save(paths["huge"])
    paths["heavy"].write_bytes(ship + bytes(MAX_BYTES))
    paths["corrupt"].write_bytes(ship[: len(ship) // 2])
    paths["none"].write_text("no image")
    return paths


def save_shapes(path: Path) -> Path:
    """Untrained weights for the classes of shapes10."""
    torch.manual_seed(0)
    model, data = build_model("thimble-78k"), shapes10(10)
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    save_weights(path, model, {})
    return path


def test_it_answers_with_five_classes_a_picture_and_a_time(tmp_path: Path) -> None:
    found = answer(draw_ship(tmp_path / "ship.png"), load_pretrained())
    assert found.top[0][0] == "ship"
    assert len(found.top) == 5
    assert 1 >= found.top[0][1] >= found.top[4][1] >= 0
    assert found.picture.size == (256, 256)
    assert 0 < found.milliseconds < 10_000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("huge", r"^huge\.png is 9,000 x 7,000 = 63\.0 megapixels: expected at most 50 megapixels$"),
        ("heavy", r"^heavy\.png has 10\.0 MB: expected at most 10 MB$"),
        ("corrupt", r"^corrupt\.png is a damaged or truncated image"),
        ("none", r"^none\.png is no image of a format that Thimble reads"),
        ("missing", r"^missing\.png does not exist"),
    ],
)
def test_it_refuses_in_one_line_without_the_folder(tmp_path: Path, name: str, message: str) -> None:
    write_bad(tmp_path)
    with pytest.raises(UserError, match=message) as refused:
        answer(tmp_path / f"{name}.png", load_pretrained())
    assert str(tmp_path) not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_pixel_is_decoded_of_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_bad(tmp_path)

    def decode(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(Image.Image, "load", decode)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own limit says the same
    for path in (paths["huge"], paths["heavy"]):
        with pytest.raises(UserError, match="expected at most"):
            check_upload(path)


def test_samples_are_of_the_models_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("reference")
    model.classes, model.data = shapes10(10).classes, {"name": "shapes10"}
    samples, reason = draw_samples(model)
    assert [name for name, _ in samples] == list(shapes10(10).classes)
    assert {picture.size for _, picture in samples} == {(32, 32)}
    assert reason == ""
    model.classes = ("salt", "pepper")
    assert draw_samples(model) == ([], "No examples: the classes of shapes10 are not the model's.")
    model.data = {}
    samples, reason = draw_samples(model)
    assert samples == []
    assert reason.startswith("No examples: they exist for models trained on")
    monkeypatch.setenv("THIMBLE_DATA", str(tmp_path))
    monkeypatch.setattr(Cifar10, "load", None)  # which would download it
    samples, reason = draw_samples(load_pretrained("reference"))
    assert samples == []
    assert "CIFAR-10" in reason
    assert data_folder() == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_models_are_the_named_and_the_shipped_and_no_others(tmp_path: Path) -> None:
    path = str(save_shapes(tmp_path / "shapes.safetensors"))
    models = Models([path, path])
    assert models.names[:2] == [path, "reference"]
    assert models.load(path) is models.load(path)
    assert models.load("reference").classes == CLASSES
    assert Models().names[0] == "reference"
    with pytest.raises(UserError, match="no model '/etc/passwd' here: expected one of"):
        models.load("/etc/passwd")
    with pytest.raises(UserError, match="no model 'nothing'"):
        Models(["nothing"])


def test_a_refusal_is_text_not_markup() -> None:
    from thimble.demo.page import _refusal

    assert _refusal("<b>.png") == '<p class="refusal" role="alert">&lt;b&gt;.png</p>'


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["demo"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'thimble-nets[demo]'" in error


@pytest.mark.parametrize(
    "options", [["--port", "-1"], ["--port", "70000"], ["--model", "nothing"], ["--host", "256.1"]]
)
def test_a_wrong_option_is_told_in_one_line(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    assert cli.main(["demo", *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert options[1] in error


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["demo", "--port", str(port)]) == 2
    assert capsys.readouterr().err == (
        f"thimble: cannot serve at 127.0.0.1:{port} (Address already in use): expected a free --port and an address of"
        " this machine as --host\n"
    )


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
