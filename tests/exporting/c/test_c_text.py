"""Numbers as C takes them: in fixed point, in lines, with all their digits."""

from __future__ import annotations

import numpy as np
import pytest

from thimble.exporting.c.text import fixed_point, lines_of, number_in_c


def test_a_factor_in_fixed_point_is_nearly_itself() -> None:
    factors = np.geomspace(1e-8, 2.0**29, 2_000)
    multipliers, shifts = fixed_point(factors)
    assert [str(found.dtype) for found in (multipliers, shifts)] == ["int32", "uint8"]
    assert multipliers.min() > 0
    assert 1 <= shifts.min() <= shifts.max() <= 62
    np.testing.assert_allclose(multipliers / 2.0**shifts, factors, rtol=2.0**-29)


def test_a_factor_that_rounds_up_to_a_power_of_two_stays_in_31_bits() -> None:
    multipliers, shifts = fixed_point(np.array([np.nextafter(1.0, 0.0), 1.0, np.nextafter(2.0**-20, 0.0)]))
    assert (multipliers == 2**30).all()
    assert shifts.tolist() == [30, 30, 50]


def test_a_factor_too_small_to_matter_is_nothing() -> None:
    multipliers, shifts = fixed_point(np.array([1e-30, 0.0]))
    assert multipliers.tolist() == [0, 0]
    assert shifts.max() <= 62


@pytest.mark.parametrize(
    "value",
    [np.float32(0.1), np.float32(3), np.float32(-1e-20), np.float32(3.4e38), np.float32(16777216), np.float32(0)],
)
def test_a_float_keeps_all_its_digits(value: np.float32) -> None:
    text = number_in_c(value)
    assert text.endswith("f")
    assert "." in text or "e" in text  # 3f is no number in C
    assert np.float32(text[:-1]) == value


def test_a_whole_number_is_written_as_one() -> None:
    assert [number_in_c(value) for value in np.array([-128, 0, 127], dtype=np.int8)] == ["-128", "0", "127"]


def test_lines_are_short_and_lose_nothing() -> None:
    numbers = [str(number) for number in range(-500, 500)]
    text = lines_of(numbers)
    assert max(map(len, text.splitlines())) <= 120
    assert [number.strip() for number in text.split(",") if number.strip()] == numbers
    assert not [line for line in text.splitlines() if line != line.rstrip() or not line.startswith("    ")]
    assert lines_of([]) == ""
