"""The verb summary."""

from __future__ import annotations

from thimble.cli.options import Model, print_json
from thimble.errors import RunError, UserError


def summary(model: Model = "reference", max_params: int | None = None, json: bool = False) -> int:
    """Show what MODEL is made of: per layer its output, parameters, multiply-adds and receptive field; and the budget.

    Args:
        model: A shipped model's name, an architecture's name, a weights file or a run folder.
        max_params: The most parameters that MODEL may have; exit code 1 if it has more. Default: Thimble's 150,576,
            which is only shown.
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
