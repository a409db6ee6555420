"""Serve the page of ``thimble demo`` with Gradio: drop an image, see the predicted class and the heat map.

The page loads nothing from other hosts, and has no analytics and no share link. Uploads are deleted when it ends.
``guard`` decides which requests it accepts, and how much they may upload.
"""

from __future__ import annotations

import contextlib
import functools
import html
import logging
import os
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thimble.errors import RunError, UserError
from thimble.models.classifier import Classifier
from thimble.system.extras import require
from thimble.system.files import MEBIBYTE
from thimble.system.names import markdown, shortened

from .answers import MAX_BYTES, Answer, Models, draw_samples
from .guard import Guard, demo_folder

if TYPE_CHECKING:
    from gradio import Blocks

_INTRODUCTION = """# Thimble
Drop an image. A small neural network predicts its class, and a heat map shows which parts of the image it used."""
_MOST_WAITING = 64
_MOST_NAMES = 50
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
@media (max-width: 700px) { /* on a phone the prediction comes right under the image */
  #left, #right { display: contents; }
  #left > *, #right > * { flex-basis: 100%; }
  #left > :has(#model), #left > #model, #about { order: 1; }
}
"""


def build_page(models: Models, folder: Path) -> Blocks:
    """Build the page without serving it. ``folder`` is for the samples' files.

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
                upload.preprocess = lambda payload: payload and payload.path  # Gradio's own would decode the pixels
                samples = gr.Dataset(
                    components=[upload], samples=rows, label="Examples", visible=bool(rows), elem_id="samples"
                )
                reasons = gr.Markdown(reason, visible=bool(reason), elem_id="reason")
                chooser = gr.Dropdown(models.names, value=first, label="Model", elem_id="model")
                about = gr.Markdown(_about(models.load(first)), elem_id="about")
            with gr.Column(min_width=300, elem_id="right"):
                label = gr.Label(num_top_classes=5, label="Prediction", elem_id="answer")
                picture = gr.Image(label="Heat map (Grad-CAM)", format="png", height=320, elem_id="heat", buttons=[])
                speed = gr.Markdown(elem_id="speed")
        asked, told, private = [upload, chooser], [message, label, picture, speed], {"api_visibility": "private"}
        # upload.input reports the old value for a removed image or a sample, and upload.clear reports nothing.
        upload.change(show, asked, told, api_name="answer")
        samples.click(lambda row: row[0], samples, upload, **private)
        chooser.input(choose, chooser, [about, samples, reasons], **private).then(show, asked, told, **private)
    return page


def _show(models: Models, path: str | None, name: str) -> list[Any]:
    """Return the page's new error message, prediction, heat map and text for an image and a model's name."""
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
    """Return the page's text about a model, its samples, and the reason if it has none."""
    gr = _gradio()
    model = models.load(name)
    rows, reason = _save_samples(model, folder)
    return [
        _about(model),
        gr.update(samples=rows, visible=bool(rows)),
        gr.update(value=reason, visible=bool(reason)),
    ]


def _save_samples(model: Classifier, folder: Path) -> tuple[list[list[str]], str]:
    """Save the samples; return the rows of their table, one file each, or none and the reason."""
    samples, reason = draw_samples(model)
    rows = []
    for number, (name, picture) in enumerate(samples):
        path = folder / f"{number:03d} {re.sub(r'[^A-Za-z0-9]+', '-', name)[:50]}.png"  # a name may hold anything
        picture.save(path)
        rows.append([str(path)])
    return rows, reason


def _about(model: Classifier) -> str:
    names = [markdown(shortened(name, 40)) for name in model.classes[:_MOST_NAMES]]
    more = len(model.classes) - len(names)
    known = ", ".join(names) + (f" and {more} more" if more else "")
    return (
        f"This network has {model.num_parameters:,} parameters. It knows only these classes, and always picks one of"
        f" them: {known}."
    )


def _speed(found: Answer, name: str) -> str:
    seen = "Bright areas contributed most to the predicted class."
    return f"{seen} The forward pass of {name} took {found.milliseconds:.1f} ms."


def _refusal(text: str) -> str:
    return f'<p class="refusal" role="alert">{html.escape(text)}</p>'


def _gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it would send usage statistics and check for updates
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # of a package that Gradio needs
    require("gradio", "captum", "matplotlib", by="the demo", extra="demo")
    import gradio

    return gradio


@contextlib.contextmanager
def serve(models: Models, host: str = "127.0.0.1", port: int = 7860) -> Iterator[str]:
    """Serve the page inside the block and yield its address; port 0 chooses a free one.

    Uploads are kept in a folder that is deleted after the block.

    Raises:
        UserError: the extra ``demo`` is not installed, or the address cannot be used.
    """
    gr = _gradio()
    port = _free_port(host, port)
    with demo_folder() as folder, _environment("GRADIO_TEMP_DIR", str(folder / "uploads")):
        # Samples lie in this block's temporary folder: Gradio shows no files from elsewhere.
        page = build_page(models, Path(tempfile.gettempdir())).queue(max_size=_MOST_WAITING)

        @contextlib.asynccontextmanager
        async def guarded(app: Any) -> AsyncIterator[None]:
            # The guard goes outside all of Gradio's layers, because some of them answer requests themselves.
            app.middleware_stack = Guard(app.middleware_stack, host, folder, 10 * MAX_BYTES + MEBIBYTE)
            yield

        fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # no web fonts
        try:
            try:
                page.launch(
                    server_name=host,
                    server_port=port,
                    theme=gr.themes.Soft(**fonts, primary_hue="orange", radius_size="md"),
                    css=_CSS,
                    max_file_size=10 * MAX_BYTES,  # below this, check_upload gives a better message
                    app_kwargs={"lifespan": guarded},
                    share=False,
                    ssr_mode=False,
                    footer_links=[],
                    quiet=True,
                    prevent_thread_lock=True,
                )
            except OSError as error:  # the port was taken after _free_port
                raise UserError(f"cannot serve at {host}:{port}: {error}; try another --port") from error
            # A closed tab, or one that is open at the end, breaks a stream: print no traceback for that.
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            yield f"http://{host}:{port}"
        finally:
            page.close(verbose=False)


def _free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0; raise UserError if the address cannot be used."""
    if not 0 <= port < 65_536:
        raise UserError(f"--port {port}: expected 1 to 65535, or 0 for a free one")
    try:
        with socket.create_server((host, port)) as server:
            found: int = server.getsockname()[1]
            return found
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UserError(
            f"cannot serve at {host}:{port} ({reason}): expected a free --port and an address of this machine as --host"
        ) from error


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set an environment variable inside the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
