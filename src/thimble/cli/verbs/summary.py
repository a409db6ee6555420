"""The verb summary."""

from __future__ import annotations

from thimble.cli.options import Model, print_json
from thimble.errors import RunError, UserError


def summary(model: Model = "reference", max_params: int | None = None, json: bool = False) -> int:
    """Show MODEL's layers: output shapes, parameters, multiply-adds, receptive fields; and the parameter budget.

    Args:
        model: A shipped model's name, an architecture's name, a weights file or a run folder.
        max_params: Exit with code 1 if MODEL has more parameters than this. Default: only show whether it is within
            Thimble's budget of 150,576.
        json: Print JSON instead of a table.
    """
    from thimble.measuring.summary import BUDGET, summarize

    if max_params is not None and max_params < 1:
        raise UserError(f"--max-params {max_params}: expected a whole number of at least 1")
    result = summarize(model, budget=BUDGET if max_params is None else max_params)
    if json:
        print_json(result.to_dict())
    else:
        from thimble.cli.tables import print_summary

        print_summary(result)
    if max_params is not None and not result.within_budget:
        raise RunError(f"{model} has {result.num_parameters:,} parameters: expected at most {max_params:,}")
    return 0
