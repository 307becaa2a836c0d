"""Tasks of a graph skip pairs of their chunks; results are those of one process, ties and tolerances included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Array

da: Any = pytest.importorskip("dask.array")
from clreduce import numpy as of_numpy  # noqa: E402
from clreduce.call import work  # noqa: E402
from clreduce.call.pruning import running, selected_visits  # noqa: E402
from clreduce.dask import Genred  # noqa: E402
from clreduce.errors import OptionError  # noqa: E402
from clreduce.memo import Memo  # noqa: E402
from clreduce.runtime.device import Device  # noqa: E402

ROWS, COLUMNS = 60, 90
ALIASES = ["x = Vi(2)", "y = Vj(2)"]
EXACT = {
    "KMin_ArgKMin": "SqDist(x, y)", "ArgMin": "SqDist(x, y)", "Max": "SqDist(x, y)", "ArgKMax": "SqDist(x, y)",
    "Count": "ReLU(2 - SqDist(x, y))", "All": "ReLU(20 - SqDist(x, y))",
}  # fmt: skip
APPROXIMATE = {"Sum": "Exp(-3 * SqDist(x, y))", "Mean": "Exp(-3 * SqDist(x, y))", "LogSumExp": "-3 * SqDist(x, y)"}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that few points make many blocks; and everything runs in this thread, where the device of the test is."""
    import dask

    monkeypatch.setattr(running, "BLOCK", 8)
    with dask.config.set(scheduler="synchronous"):
        yield


def routines(text: str, name: str) -> tuple[Any, Any]:
    count = 4 if "K" in name else None
    return tuple(genred(text, ALIASES, name, axis=1, opt_arg=count) for genred in (Genred, of_numpy.Genred))


def grid(seed: int) -> tuple[Array, Array]:
    """Points with many ties, of which one in twenty is infinite or nan."""
    rng = np.random.default_rng(seed)
    clouds = []
    for count in (ROWS, COLUMNS):
        cloud = rng.integers(0, 5, (count, 2)).astype(np.float32)
        cloud[rng.random(count) < 0.05] = rng.choice([np.inf, np.nan])
        clouds.append(cloud)
    return clouds[0], clouds[1]


def cut(points: Array, size: int) -> Any:
    return da.from_array(points, chunks=(size, -1))


def as_tuple(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", list(EXACT))
@settings(max_examples=4)
@given(seed=st.integers(0, 2**32), rows=st.integers(20, ROWS), columns=st.integers(20, COLUMNS))
def test_exact_reductions_stay_the_same(
    name: str, seed: int, rows: int, columns: int, device: Device, plain_kernels: None
) -> None:
    in_chunks, at_once = routines(EXACT[name], name)
    x, y = grid(seed)
    running.LAST.clear()
    results = as_tuple(in_chunks(cut(x, rows), cut(y, columns), prune=True))
    for result, expected in zip(results, as_tuple(at_once(x, y, prune=False)), strict=True):
        computed = result.compute()
        assert computed.dtype == expected.dtype
        np.testing.assert_array_equal(computed, expected)
    assert running.LAST[in_chunks.program].reason == ""


@pytest.mark.parametrize("name", list(APPROXIMATE))
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32), columns=st.integers(20, COLUMNS))
def test_the_tolerance_is_that_of_the_whole_result(
    name: str, seed: int, columns: int, device: Device, plain_kernels: None
) -> None:
    in_chunks, at_once = routines(APPROXIMATE[name], name)
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, 9, (count, 2)).astype(np.float32) for count in (ROWS, COLUMNS))
    atol = 0.05
    exact = at_once(x, y)
    near = in_chunks(cut(x, 30), cut(y, columns), atol=atol).compute()
    assert near.dtype == exact.dtype
    assert np.abs(near - exact).max() <= atol + 1e-5 * (1 + np.abs(exact).max())


def clusters(count: int, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    return (np.sort(rng.integers(0, 4, (count, 1)), axis=0) + 0.01 * rng.normal(size=(count, 2))).astype(np.float32)


class Told(Memo[Any, Any]):
    """A memo that also lists how many pairs each call visited."""

    def __init__(self, visited: list[int]) -> None:
        super().__init__(8)
        self.visited = visited

    def keep(self, key: Any, value: Any) -> Any:
        if key.reduction.name.startswith(("KMin", "Sum")):  # not again for the program of the caller
            self.visited.append(value.visited)
        return super().keep(key, value)


@pytest.mark.parametrize(("name", "options"), [("ArgKMin", {"prune": True}), ("Sum", {"atol": 1e-3})])
def test_tasks_skip_pairs_of_their_chunks(
    name: str, options: dict[str, Any], device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_chunks, at_once = routines("SqDist(x, y)" if "K" in name else "Exp(-900 * SqDist(x, y))", name)
    visited: list[int] = []
    monkeypatch.setattr(running, "LAST", Told(visited))
    x, y = clusters(400, 0), clusters(600, 1)
    result = in_chunks(cut(x, 200), cut(y, 200), **options).compute()
    assert np.abs(result - at_once(x, y, prune=False)).max() <= 1.01e-3
    assert 0 < sum(visited) < 0.7 * 400 * 600


def test_ranges_and_batches(device: Device, plain_kernels: None) -> None:
    x, y = grid(0)
    blocks = np.array([[0, 25], [25, ROWS]]), np.array([[0, 50], [50, COLUMNS]])
    ranges = (
        blocks[0], np.array([1, 3]), blocks[1][[0, 0, 1]],
        blocks[1], np.array([2, 3]), blocks[0][[0, 1, 1]],
    )  # fmt: skip
    in_chunks, at_once = routines("SqDist(x, y)", "KMin_ArgKMin")
    results = in_chunks(cut(x, 30), cut(y, 40), ranges=ranges, prune=True)
    for result, expected in zip(results, at_once(x, y, ranges=ranges, prune=False), strict=True):
        np.testing.assert_array_equal(result.compute(), expected)
    batch = np.stack((x, x[::-1]))
    results = in_chunks(da.from_array(batch, chunks=(1, 30, 2)), cut(y, 40), prune=True)
    for result, expected in zip(results, at_once(batch, y, prune=False), strict=True):
        np.testing.assert_array_equal(result.compute(), expected)


def test_gradients_of_selections_visit_what_was_selected(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "_PAIRS_PER_SELECTED", 0)
    monkeypatch.setattr(selected_visits, "_ON_GPUS", 0)
    in_chunks, at_once = routines("SqDist(x, y)", "Min")
    x, y, e = clusters(ROWS, 0), clusters(COLUMNS, 1), np.ones((ROWS, 1), np.float32)
    expected = at_once.vjp(x, y, cotangent=e, prune=False)
    gradients = in_chunks.vjp(cut(x, 20), cut(y, 30), cotangent=cut(e, 20), prune=True)
    for gradient, other in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient.compute(), other, rtol=1e-4, atol=1e-4)
    for derivative in in_chunks.program.vjp([0, 1]):
        assert running.LAST[derivative.program].visited <= 30


def test_what_chunks_cannot_keep_is_refused_or_told(device: Device, plain_kernels: None) -> None:
    x, y = clusters(ROWS, 0), clusters(COLUMNS, 1)
    X, Y = cut(x, 30), cut(y, 30)
    sums, at_once = routines("Exp(-3 * SqDist(x, y))", "Sum")
    with pytest.raises(OptionError, match=r"rtol=0.1 is relative to the results over all chunks .*: give atol"):
        sums(X, Y, rtol=0.1)
    np.testing.assert_allclose(sums(X, cut(y, COLUMNS), rtol=1e-3).compute(), at_once(x, y), rtol=1.1e-3)
    with pytest.raises(
        OptionError, match="deterministic=True visits the chunks of the reduced axis one after the other"
    ):
        sums(X, cut(np.zeros((40_000, 2), np.float32), 20_000), atol=0.1, deterministic=True)
    average = Genred("-SqDist(x, y)", ALIASES, "SumSoftMaxWeight", axis=1, formula2="y")
    average(X, Y, atol=0.1).compute()
    assert "results of chunks of SumSoftMaxWeight do not tell" in running.LAST[average.program].reason
