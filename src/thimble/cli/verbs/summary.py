"""The verb summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import tyro

from thimble.cli.amounts import amount
from thimble.cli.options import Model, print_json
from thimble.errors import RunError, UserError

if TYPE_CHECKING:
    from thimble.models.classifier import Classifier

Number = Annotated[str, tyro.conf.arg(metavar="N")]
Size = Annotated[str, tyro.conf.arg(metavar="BYTES")]


def summary(
    model: Model = "reference",
    image_size: int | None = None,
    channels: int | None = None,
    num_classes: int | None = None,
    max_params: Number | None = None,
    max_macs: Number | None = None,
    max_ram: Size | None = None,
    max_flash: Size | None = None,
    json: bool = False,
) -> int:
    """Show MODEL's layers: output shapes, parameters, multiply-adds, receptive fields; and what it costs on a device.

    RAM and flash are those of `thimble export --format c`, known before any training. Where MODEL has more than a
    limit, the exit code is 1. Limits take units: 150k, 30M; 64kB, 256KiB.

    Args:
        model: A shipped model's name, an architecture's name, a weights file or a run folder.
        image_size: Height and width of the images, if MODEL is an architecture's name. Default: 32.
        channels: 3 for colour, 1 for grey, likewise. Default: 3.
        num_classes: Number of classes, likewise. Default: 10.
        max_params: Most parameters. Default: only show whether MODEL is within Thimble's budget of 150,576.
        max_macs: Most multiply-adds for one image.
        max_ram: Most RAM of the C file.
        max_flash: Most flash of the C file: tables and code.
        json: Print JSON instead of a table.
    """
    from thimble.exporting.cost import Limits, cost_of, fitting
    from thimble.measuring.summary import BUDGET, summarize

    limits = Limits(
        num_parameters=amount("--max-params", max_params),
        num_multiply_adds=amount("--max-macs", max_macs),
        ram_bytes=amount("--max-ram", max_ram, of_bytes=True),
        flash_bytes=amount("--max-flash", max_flash, of_bytes=True),
    )
    network = _network(model, image_size, channels, num_classes)
    result = summarize(network, budget=limits.num_parameters or BUDGET)
    cost = cost_of(network)
    if json:
        print_json(result.to_dict() | {key: value for key, value in cost.to_dict().items() if "num_" not in key})
    else:
        from thimble.cli.tables import print_cost, print_summary

        print_summary(result)
        print_cost(cost)
    exceeded = limits.exceeded(cost)
    if exceeded:
        other = fitting(network, limits)
        advice = f"{other} fits" if other else "none of Thimble's architectures fits"
        raise RunError(f"{model} has {' and '.join(exceeded)}: {advice}")
    return 0


def _network(model: str, image_size: int | None, channels: int | None, num_classes: int | None) -> Classifier:
    """The network: an architecture, built as asked for, or a trained one, which is as it is."""
    from thimble.models import MODELS, build_model
    from thimble.storage.find import load_model

    given = {"--image-size": image_size, "--channels": channels, "--num-classes": num_classes}
    wrong = [option for option, value in given.items() if value is not None and value < 1]
    if channels not in (None, 1, 3):
        raise UserError(f"--channels {channels}: expected 3 for colour or 1 for grey")
    if wrong:
        raise UserError(f"{wrong[0]} {given[wrong[0]]}: expected a whole number of at least 1")
    if model not in MODELS:
        asked = [option for option, value in given.items() if value is not None]
        if asked:
            raise UserError(
                f"{asked[0]} goes with an architecture's name ({', '.join(sorted(MODELS))}): {model} has its own"
            )
        return load_model(model)
    side = image_size or 32
    try:
        return build_model(model, num_classes=num_classes or 10, in_channels=channels or 3, input_size=(side, side))
    except ValueError as error:
        raise UserError(str(error)) from error
