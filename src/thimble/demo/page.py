"""The page of ``thimble demo``, by Gradio, an extra: drop an image, see what a model takes it for and where it looked.

It asks no other host for anything, has no analytics and no share link, and what is dropped on it goes when it goes.
Whom it answers, and how much it takes, is ``demo_guard``'s.
"""

from __future__ import annotations

import contextlib
import functools
import html
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thimble.errors import RunError, UserError
from thimble.models.classifier import Classifier
from thimble.system.extras import require
from thimble.system.files import MEBIBYTE

from .answers import MAX_BYTES, Answer, Models, draw_samples
from .guard import Guard, demo_folder

if TYPE_CHECKING:
    from gradio import Blocks

_INTRODUCTION = """# Thimble
Drop a picture, and a network of about 150,000 parameters says what it takes it for, and where it looked."""
_MOST_WAITING = 64
_SOURCES = ["upload", "clipboard"]
_CSS = """
.gradio-container { width: 100%; max-width: 1060px !important; margin: 0 auto !important; }
#introduction h1 { font-size: 1.9rem; margin: .4rem 0 .2rem; }
#introduction p { font-size: 1.05rem; }
#introduction p, #about p, #speed p, #reason p { color: var(--neutral-600); }
.dark :is(#introduction, #about, #speed, #reason) p { color: var(--neutral-300); }
.refusal { margin: 0; padding: .7rem .9rem; border: 1px solid #d9534f; border-left-width: 5px; border-radius: 6px;
  background: #fdf1f0; color: #7d1f1b; overflow-wrap: anywhere; }
.dark .refusal { background: #3a1c1b; color: #ffd9d6; }
#message { padding: 0; }
#upload img, #heat img { width: 100%; height: 100%; object-fit: contain; }
#samples img { image-rendering: pixelated; }
@media (max-width: 700px) { /* on a phone the answer comes right under the image */
  #left, #right { display: contents; }
  #left > *, #right > * { flex-basis: 100%; }
  #left > :has(#model), #left > #model, #about { order: 1; }
}
"""


def build_page(models: Models, folder: Path) -> Blocks:
    """The page, not yet served. ``folder`` is for the samples' files.

    Raises:
        UserError: the extra ``demo`` is not installed.
    """
    gr = _gradio()
    first = models.names[0]
    show, choose = functools.partial(_show, models), functools.partial(_choose, models, folder)
    rows, reason = _save_samples(models.load(first), folder)
    with gr.Blocks(title="Thimble", analytics_enabled=False) as page:
        gr.Markdown(_INTRODUCTION, elem_id="introduction")
        message = gr.HTML(visible=False, elem_id="message")
        with gr.Row(equal_height=False):
            with gr.Column(min_width=300, elem_id="left"):
                upload = gr.Image(type="filepath", sources=_SOURCES, label="Image", height=320, elem_id="upload")
                upload.preprocess = lambda payload: payload and payload.path  # Gradio's own decodes the pixels
                samples = gr.Dataset(
                    components=[upload], samples=rows, label="Samples", visible=bool(rows), elem_id="samples"
                )
                reasons = gr.Markdown(reason, visible=bool(reason), elem_id="reason")
                chooser = gr.Dropdown(models.names, value=first, label="Model", elem_id="model")
                about = gr.Markdown(_about(models.load(first)), elem_id="about")
            with gr.Column(min_width=300, elem_id="right"):
                label = gr.Label(num_top_classes=5, label="Taken for", elem_id="answer")
                picture = gr.Image(label="Where it looked", format="png", height=320, elem_id="heat", buttons=[])
                speed = gr.Markdown(elem_id="speed")
        asked, told, private = [upload, chooser], [message, label, picture, speed], {"api_visibility": "private"}
        # Of an image that is taken away or was a sample, upload.input tells the old value, and upload.clear nothing.
        upload.change(show, asked, told, api_name="answer")
        samples.click(lambda row: row[0], samples, upload, **private)
        chooser.input(choose, chooser, [about, samples, reasons], **private).then(show, asked, told, **private)
    return page


def _show(models: Models, path: str | None, name: str) -> list[Any]:
    """What an image and a model's name make of the page: the refusal, the label, the picture, the text under it."""
    gr = _gradio()
    nothing = [gr.update(visible=False), None, None, ""]
    if path is None:
        return nothing
    try:
        found = models.answer(path, name)
    except (UserError, RunError) as error:
        return [gr.update(value=_refusal(str(error)), visible=True), *nothing[1:]]
    return [nothing[0], dict(found.top), found.picture, _speed(found, name)]


def _choose(models: Models, folder: Path, name: str) -> list[Any]:
    """What a model's name makes of the page: the text about it, its samples, why it has none."""
    gr = _gradio()
    model = models.load(name)
    rows, reason = _save_samples(model, folder)
    return [
        _about(model),
        gr.update(samples=rows, visible=bool(rows)),
        gr.update(value=reason, visible=bool(reason)),
    ]


def _save_samples(model: Classifier, folder: Path) -> tuple[list[list[str]], str]:
    """The rows of the table of samples, one file in each; or none, and why."""
    samples, reason = draw_samples(model)
    rows = []
    for name, picture in samples:
        path = folder / f"{name}.png"
        picture.save(path)
        rows.append([str(path)])
    return rows, reason


def _about(model: Classifier) -> str:
    known = ", ".join(model.classes)
    return f"{model.num_parameters:,} parameters. It knows {known}, and takes anything for one of them."


def _speed(found: Answer, name: str) -> str:
    seen = "Bright places speak most for it (Grad-CAM)."
    return f"{seen} One forward pass of {name} took {found.milliseconds:.1f} ms, on one image."


def _refusal(text: str) -> str:
    return f'<p class="refusal" role="alert">{html.escape(text)}</p>'


def _gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it would send usage statistics, and ask for newer versions
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # of a package that it brings
    require("gradio", "captum", "matplotlib", by="the demo", extra="demo")
    import gradio

    return gradio


@contextlib.contextmanager
def serve(models: Models, host: str = "127.0.0.1", port: int = 7860) -> Iterator[str]:
    """Serve the page inside the block, and give its address; port 0 is any that is free.

    Uploads lie in a folder that goes with the block.

    Raises:
        UserError: the extra ``demo`` is not installed, or there can be no server at this address.
    """
    gr = _gradio()
    port = _free_port(host, port)
    with demo_folder() as folder, _environment("GRADIO_TEMP_DIR", str(folder / "uploads")):
        # Samples lie in what is the temporary folder meanwhile: Gradio shows files from nowhere else.
        page = build_page(models, Path(tempfile.gettempdir())).queue(max_size=_MOST_WAITING)

        @contextlib.asynccontextmanager
        async def guarded(app: Any) -> AsyncIterator[None]:
            # Around everything, and before the first request: Gradio's own layers answer some requests themselves.
            app.middleware_stack = Guard(app.middleware_stack, host, folder, 10 * MAX_BYTES + MEBIBYTE)
            yield

        fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none from afar
        try:
            try:
                page.launch(
                    server_name=host,
                    server_port=port,
                    theme=gr.themes.Soft(**fonts, primary_hue="orange", radius_size="md"),
                    css=_CSS,
                    max_file_size=10 * MAX_BYTES,  # up to there check_upload tells, and its message stays
                    app_kwargs={"lifespan": guarded},
                    share=False,
                    ssr_mode=False,
                    footer_links=[],
                    quiet=True,
                    prevent_thread_lock=True,
                )
            except OSError as error:  # taken since it was looked at
                raise UserError(f"cannot serve at {host}:{port}: {error}; expected another --port") from error
            # A tab that is closed, or still open at the end, breaks off a stream: no traceback for that.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            yield f"http://{host}:{port}"
        finally:
            page.close(verbose=False)


def _free_port(host: str, port: int) -> int:
    """The port, or any that is free for 0; raises UserError where the address is not to be had."""
    if not 0 <= port < 65_536:
        raise UserError(f"--port {port}: expected 1 to 65535, or 0 for any that is free")
    try:
        with socket.create_server((host, port)) as server:
            found: int = server.getsockname()[1]
            return found
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UserError(
            f"cannot serve at {host}:{port} ({reason}): expected a free --port, and a --host of this machine's"
        ) from error


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """An environment variable that is set inside the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
