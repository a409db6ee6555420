"""The verbs but ``train``, which ``cli`` makes: each reads its options, calls what does the work, and prints."""

from __future__ import annotations

from collections.abc import Callable

from .bank import bank
from .look import data, demo, explain, predict
from .measure import compare, evaluate, report, summary
from .ship import card, export

__all__ = ["VERBS"]

VERBS: dict[str, Callable[..., int]] = {
    "bank": bank,
    "evaluate": evaluate,
    "compare": compare,
    "predict": predict,
    "explain": explain,
    "report": report,
    "summary": summary,
    "export": export,
    "card": card,
    "data": data,
    "demo": demo,
}
