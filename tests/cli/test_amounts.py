"""Amounts with units, as people write them."""

from __future__ import annotations

import pytest

from thimble.cli.amounts import amount
from thimble.errors import UserError


@pytest.mark.parametrize(
    ("text", "value"),
    [("64kB", 64_000), ("64KiB", 65_536), ("0.5MiB", 524_288), ("1.5 MB", 1_500_000), ("7", 7), ("30M", 30_000_000)],
)
def test_bytes(text: str, value: int) -> None:
    assert amount("--max-ram", text, of_bytes=True) == value


def test_none_is_no_limit() -> None:
    assert amount("--max-ram", None) is None


@pytest.mark.parametrize("text", ["", "kB", "64 kb", "64K", "-1", "0", "0.0001kB", "1e3", "٣", "9" * 40, "nan", "1k1"])
def test_what_is_no_amount_is_refused_in_a_line(text: str) -> None:
    with pytest.raises(
        UserError, match=r"^--max-ram .*: expected a whole number of at least 1, with or without B, k, "
    ):
        amount("--max-ram", text, of_bytes=True)


def test_counts_have_no_bytes() -> None:
    assert amount("--max-macs", "30M") == 30_000_000
    with pytest.raises(UserError, match="with or without k or M, such as 150k"):
        amount("--max-macs", "30MB")
