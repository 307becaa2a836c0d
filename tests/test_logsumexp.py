"""LogSumExp where it is needed: terms so large that their own rounding would overflow an exponential."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clreduce.numpy import Genred

FORMULA, ALIASES = "Square(p - a) * Exp(x + y)", ["p = Pm(1)", "a = Vj(1)", "x = Vi(1)", "y = Vj(1)"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [0, 16, 20, 80])
def test_large_terms(device: Any, dtype: str, shift: int) -> None:
    random = np.random.default_rng(0)
    drawn = np.array([0.25]), random.random((50, 1)), random.random((30, 1)) + shift, random.random((50, 1))
    p, a, x, y = (array.astype(dtype) for array in drawn)
    routine = Genred(FORMULA, ALIASES, "LogSumExp", axis=1)
    result = routine(p, a, x, y)
    gradient = routine.grad("y")(p, a, x, y, np.ones((30, 1), dtype))

    f = (0.25 - a.astype("f8").T) ** 2 * np.exp(x.astype("f8") + y.astype("f8").T)
    largest = f.max(1, keepdims=True)
    expected = largest + np.log(np.exp(f - largest).sum(1, keepdims=True))
    slope = (np.exp(f - expected) * f).sum(0)
    precision = 4e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(result, expected, rtol=precision)
    # A weight is exp of a difference of large terms: their rounding is all that it may lose.
    lost = np.finfo(dtype).eps * float(np.abs(f).max()) if shift < 20 else 0
    bound = precision * slope.max() * (1 + 4 * lost)
    assert np.abs(gradient[:, 0] - slope).max() <= bound


def test_the_weights_of_a_row_add_up_to_one(device: Any) -> None:
    random = np.random.default_rng(1)
    x, y = random.normal(size=(40, 3)) * 30, random.normal(size=(60, 3)) * 30
    routine = Genred("Elem(y, 0) * 0 + (x|y)", ["x = Vi(3)", "y = Vj(3)"], "LogSumExp", axis=1)
    shifted = Genred("(x|y) + c", ["x = Vi(3)", "y = Vj(3)", "c = Vj(1)"], "LogSumExp", axis=1)
    weights = shifted.vjp(x, y, np.zeros((60, 1)), cotangent=np.ones((40, 1)), wrt=["c"])[0]
    assert weights.sum() == pytest.approx(40, rel=1e-12)
    np.testing.assert_allclose(routine(x, y), shifted(x, y, np.zeros((60, 1))), rtol=1e-12)
