"""Passes in threads cover each number once, and hand on errors."""

from __future__ import annotations

import pytest

from clreduce.threads import in_threads


@pytest.mark.parametrize(("count", "size"), [(0, 4), (3, 4), (4, 4), (1000, 7)])
def test_each_number_is_covered_once(count: int, size: int) -> None:
    numbers: list[int] = []
    in_threads(lambda start, end: numbers.extend(range(start, end)), count, size)
    assert sorted(numbers) == list(range(count))


def test_errors_reach_the_caller() -> None:
    def fail(start: int, end: int) -> None:
        if start == 8:
            raise ValueError("of the third part")

    with pytest.raises(ValueError, match="of the third part"):
        in_threads(fail, 100, 4)
