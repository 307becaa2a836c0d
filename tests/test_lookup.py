"""Tables read at labels of i and j: `LazyTensor.lookup` and ``Lookup`` are NumPy's ``table[rows[:, None], columns]``.

The laws of tests/test_operations.py hold for ``Lookup`` too; here are kernels of other shapes, labels, and errors.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from oracle import Array, assert_results, run

from clreduce.codegen.schedule import LOCAL, Schedule
from clreduce.domain import Domain
from clreduce.errors import ClreduceError, DtypeError, ShapeError
from clreduce.ir.expr import INDEX, substitute
from clreduce.ir.op import constant, integer, position, variable
from clreduce.ir.rewrite import simplify
from clreduce.ir.show import show
from clreduce.language.formula import parse
from clreduce.numpy import ComplexLazyTensor, Genred, LazyTensor, Pm, Vi, Vj
from clreduce.ops.arithmetic import square
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp
from clreduce.ops.indices import difference_of_indices, tally
from clreduce.ops.shape import concat
from clreduce.ops.tables import MOST_ROWS, lookup, table_index
from clreduce.program import map_reduce
from clreduce.runtime.device import Device

pytestmark = pytest.mark.usefixtures("plain_kernels")

I, J, P = Domain.I, Domain.J, Domain.P
ROWS, COLUMNS = 4, 5
M, N = 37, 53  # no multiple of any block
rng = np.random.default_rng(0)
A, T = rng.normal(size=(ROWS, COLUMNS)), rng.normal(size=(ROWS, COLUMNS, 3))
R, C = rng.integers(0, ROWS, M), rng.integers(0, COLUMNS, N)
DENSE, VECTORS = A[R[:, None], C], T[R[:, None], C]
x, y = rng.normal(size=(M, 3)), rng.normal(size=(N, 3))
SQUARES = ((x[:, None] - y) ** 2).sum(-1)


# -------------------------------------------------------------------------------------------------------------- kernels

row, column = variable("row", 1, I, INDEX), variable("column", 1, J, INDEX)
table = variable("table", 60, P)
FLAT = table_index([row, column], [ROWS, COLUMNS])
FORMULAS = (
    exp(-squared_distance(variable("x", 3, I), variable("y", 3, J))) * lookup(table, FLAT, 1),
    lookup(table, FLAT, 3) * variable("y", 3, J),
    lookup(table, row, 15) * lookup(table, column, 1),
    lookup(exp(table), column, 2),
    lookup(square(lookup(3 * table, integer(1), 20)), FLAT, 1),
    lookup(variable("s", 10, I), column, 2),
    lookup(variable("t", 8, J), row, 2) + lookup(exp(table), column, 2),
    lookup(variable("diagonals", M + N, P), tally(difference_of_indices(position(I), position(J)), integer(N)), 1),
)
"""At an index of i, of j, of both and of none; rows long and short; tables that are computed, also from other tables,
or of i or j."""
SCHEDULES = (
    ("float32", Schedule(lanes=1, rows=2, cols=2, unroll=64)),
    ("float64", Schedule(lanes=4, rows=2, cols=4, tile=16)),
    ("float32", Schedule(lanes=8, split=3, tile=8, unroll=1)),
    ("float32", Schedule(lanes=16, cols=2, unroll=16)),
    ("float64", Schedule(lanes=16, cols=1)),
    ("float64", Schedule(lanes=2, rows=1, cols=2, group=4, tile=16, shape=LOCAL)),
    ("float32", Schedule(lanes=1, rows=2, cols=2, group=8, tile=32, unroll=16, shape=LOCAL)),
)


@pytest.mark.parametrize(("dtype", "schedule"), SCHEDULES, ids=lambda s: getattr(s, "shape", s))
def test_any_schedule_gives_the_reference(dtype: str, schedule: Schedule, device: Device) -> None:
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    program, given = map_reduce([concat(*FORMULAS)], "Sum")
    arrays: list[Array] = []
    for leaf in given:
        shape = {I: (M, leaf.dim), J: (N, leaf.dim), P: (leaf.dim,)}[leaf.domain]
        if leaf.kind == INDEX:
            arrays.append((R if leaf is row else C)[:, None])
        else:
            arrays.append(np.random.default_rng(leaf.dim).uniform(-1, 1, shape).astype(dtype))
    found = run(program, arrays, M, N, dtype, schedule)
    assert_results(found, program, arrays, M, N, dtype)
    assert np.isfinite(found[0]).all()


def test_what_is_outside_of_the_table_is_nan(device: Device) -> None:
    """Also far outside, and for an index that no 32-bit integer holds."""
    program, _ = map_reduce([lookup(variable("a", 6, P), row, 2) * variable("w", 1, J)], "Sum")
    labels = np.array([0, 2, 3, -1, 2**31, -(2**40), 2**33 + 1, 1])[:, None]
    a = np.arange(6.0)
    for dtype in ("float32", "float64") if device.facts.has_double else ("float32",):
        arrays = [a.astype(dtype), labels, np.ones((1, 1), dtype)]
        for lanes in (1, 4):
            (found,) = run(program, arrays, len(labels), 1, dtype, Schedule(lanes=lanes))
            np.testing.assert_array_equal(found[[0, 1, 7]], [[0, 1], [4, 5], [2, 3]])
            assert np.isnan(found[2:7]).all()


def test_text_is_read_as_it_is_written() -> None:
    for text in ("Lookup(A, k, 3)", "Lookup(A, k)", "Exp(Lookup(2 * A, k - 1, 2)) * Lookup(A, y)"):
        formula = parse(text, ["A = Pm(6)", "k = Vi(1)", "y = Vj(1)"]).expr
        assert show(formula, {0: "A", 1: "k", 2: "y"}) == text
    assert show(lookup(table, row, 3)) == "Lookup(table, row, 3)"


def test_rewrites_leave_a_lookup_as_it_is() -> None:
    f = lookup(table, FLAT, 3)
    assert simplify([f + constant(0)]) == (f,)
    other = variable("other", 60, P)
    (moved,) = substitute([f], {table: other})
    assert moved is lookup(other, FLAT, 3)
    assert f.domain == Domain.IJ
    assert f.dim == 3
    assert pickle.loads(pickle.dumps(f)) is f


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: lookup(table, row, 7), "a table of 60 numbers cannot be divided into rows of length 7"),
        (lambda: lookup(table, row, 0), "cannot be divided into rows of length 0"),
        (lambda: lookup(table, variable("r", 1, I), 1), "an index must be one integer"),
        (lambda: lookup(table, variable("r", 2, I, INDEX), 1), "vector of length 2"),
        (lambda: lookup(variable("a", MOST_ROWS + 1, P), row, 1), "up to 1073741824 rows"),
    ],
)
def test_formulas_that_do_not_fit(build, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        build()


# ---------------------------------------------------------------------------------------------------- formulas in text


def test_formula_string_with_numbers_as_labels() -> None:
    f = Genred("Lookup(A, 5*r + c, 3) * y", ["A = Pm(60)", "r = Vi(1)", "c = Vj(1)", "y = Vj(3)"], "Sum", axis=1)
    found = f(T.reshape(-1), R[:, None].astype(float), C[:, None].astype(float), y)
    np.testing.assert_allclose(found, (VECTORS * y).sum(1), rtol=1e-12)
    with pytest.raises(ShapeError, match="cannot be divided into rows of length 7"):
        Genred("Lookup(A, r, 7)", ["A = Pm(60)", "r = Vi(1)"], "Sum")
    with pytest.raises(ShapeError, match="k must have length 1; got length 3"):
        Genred("Lookup(A, y)", ["A = Pm(60)", "y = Vj(3)"], "Sum")


def test_derivatives_in_the_table() -> None:
    """Reverse mode adds up what was read from each entry; forward mode reads the tangent."""
    aliases = ["A = Pm(8)", "r = Vi(1)", "c = Vj(1)", "w = Vj(2)"]
    f = Genred("Square(Lookup(A, r, 2)) * Lookup(A, c + 1, 2) * w", aliases, "Sum", axis=1)
    a, tangent, w, cotangent = (rng.normal(size=shape) for shape in ((4, 2), (4, 2), (N, 2), (M, 2)))
    c = C % 3
    given = (a.reshape(-1), R[:, None].astype(float), c[:, None].astype(float), w)
    total = (a[c + 1] * w).sum(0)
    np.testing.assert_allclose(f(*given), a[R] ** 2 * total, rtol=1e-12)
    expected = np.zeros((4, 2))
    np.add.at(expected, R, 2 * a[R] * total * cotangent)
    np.add.at(expected, c + 1, w * (a[R] ** 2 * cotangent).sum(0))
    slopes = f.vjp(*given, cotangent=cotangent)
    np.testing.assert_allclose(slopes[0].reshape(4, 2), expected, rtol=1e-11)
    assert not slopes[1].any()
    assert not slopes[2].any()
    np.testing.assert_allclose(slopes[3], a[c + 1] * (a[R] ** 2 * cotangent).sum(0), rtol=1e-11)
    along = f.jvp(*given, tangents={"A": tangent.reshape(-1)})
    np.testing.assert_allclose((along * cotangent).sum(), (expected * tangent).sum(), rtol=1e-11)
    adjoint = Genred("AdjointOperator(Lookup(A, r, 2) * w, A, w)", [*aliases[:2], "w = Vj(2)"], "Sum", axis=1)
    assert adjoint(*given[:2], w).shape == (M, 8)


def test_derivatives_in_a_table_that_is_too_long_for_a_kernel() -> None:
    """They are computed in tiles."""
    f = Genred("Lookup(A, r) * w", ["A = Pm(600000)", "r = Vi(1)", "w = Vj(1)"], "Sum", axis=1)
    a, r, w = np.arange(6e5), np.array([[7.0], [599999.0]]), np.ones((3, 1))
    np.testing.assert_array_equal(f(a, r, w).ravel(), [21, 1799997])
    (gradient,) = f.vjp(a, r, w, cotangent=np.array([[1.0], [2.0]]), wrt="A")
    assert gradient.shape == a.shape
    assert np.flatnonzero(gradient).tolist() == [7, 599999]
    assert gradient[[7, 599999]].tolist() == [3, 6]


# ----------------------------------------------------------------------------------------------------------- LazyTensor


def assert_is(tensor: LazyTensor, expected: Array) -> None:
    assert tensor.shape == expected.shape
    np.testing.assert_allclose(tensor.dense(), expected, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reductions(dtype: str, device: Device) -> None:
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    rtol = 2e-5 if dtype == "float32" else 1e-11
    K = LazyTensor.lookup(A.astype(dtype), R.astype(np.int8), C.astype(np.uint64))
    assert K.shape == (M, N)
    assert K.dtype == dtype
    cost = Vi(x.astype(dtype)).sqdist(Vj(y.astype(dtype))) + K
    full = SQUARES + DENSE
    for axis in (0, 1):
        np.testing.assert_allclose(K.sum(axis=axis).ravel(), DENSE.sum(axis), rtol=rtol, atol=rtol)
        soft = (-cost).logsumexp(axis=axis)
        np.testing.assert_allclose(soft.ravel(), np.log(np.exp(-full).sum(axis)), rtol=rtol, atol=rtol)
        np.testing.assert_array_equal(cost.argmin(axis=axis).ravel(), full.argmin(axis))
    assert cost.dtype == dtype
    if dtype == "float32" and device.facts.has_double:
        np.testing.assert_allclose(K.sum(axis=1, dtype_acc="float64").ravel(), DENSE.sum(1), rtol=1e-6, atol=1e-6)


def test_vectors_slices_and_transposes() -> None:
    K = LazyTensor.lookup(T, R, C)
    assert_is(K, VECTORS)
    assert_is(K.T, VECTORS.swapaxes(0, 1))
    assert_is(K[3:20, ::3], VECTORS[3:20, ::3])
    assert_is(K[R == 2, :, 1:3], VECTORS[R == 2][..., 1:3])
    assert_is(pickle.loads(pickle.dumps(K)), VECTORS)
    assert_is(copy.deepcopy(K), VECTORS)
    np.testing.assert_allclose(K.sum(axis=0), VECTORS.sum(0), rtol=1e-12)
    np.testing.assert_allclose(LazyTensor.lookup(A, R, R % COLUMNS).diagonal(), A[R, R % COLUMNS], rtol=0)
    assert K[:M, :1].formula.startswith("Lookup(p1, ")
    assert "x1 int64" in repr(K)


def test_labels_of_every_form() -> None:
    grid = Vi(x) - Vj(y)
    i, j = grid.i, grid.j
    assert_is(LazyTensor.lookup(A, Vi(R[:, None]), Vj(C[:, None])), DENSE)
    assert_is(LazyTensor.lookup(A, Vj(np.flip(R)[:, None]), Vi(C[:, None])), A[np.flip(R), C[:, None]])
    assert_is(LazyTensor.lookup(A, R, 2), A[R, 2][:, None])
    assert_is(LazyTensor.lookup(A, LazyTensor(R[:, None, None]), LazyTensor(3)), A[R, 3][:, None])
    assert_is(LazyTensor.lookup(A[:, 0], R), A[R, 0][:, None])
    assert_is(LazyTensor.lookup(T[:, 0], Vj(R[:, None])), T[R, 0][None])
    assert_is(LazyTensor.lookup(A[:2], x[:, 0] > 0, C), A[(x[:, 0] > 0).astype(int)[:, None], C])
    assert_is(LazyTensor.lookup(A.T[::-1], C, R), A.T[::-1][C[:, None], R])
    diagonals = rng.normal(size=M + N - 1)
    assert_is(LazyTensor.lookup(diagonals, i - j + (N - 1)), diagonals[np.arange(M)[:, None] - np.arange(N) + N - 1])
    wide = rng.normal(size=(M, N))
    assert_is(LazyTensor.lookup(wide, i, j), wide)
    assert_is(LazyTensor.lookup(wide, i, Vj(np.arange(N)[::-1, None])), wide[:, ::-1])
    assert_is(
        LazyTensor.lookup(np.arange(12).reshape(3, 4), R % 3, C % 4),
        np.arange(12.0).reshape(3, 4)[(R % 3)[:, None], C % 4],
    )
    one = LazyTensor.lookup(A, R[:1], C)
    assert_is(one * Vi(x), DENSE[:1, :, None][..., :1] * 0 + A[R[0], C][None, :, None] * x[:, None])


def test_gradients_beside_a_lookup() -> None:
    i, j = Vi(x), Vj(y)
    K = (-i.sqdist(j)).exp() * LazyTensor.lookup(A, R, C)
    slope = -2 * (x[:, None] - y) * (np.exp(-SQUARES) * DENSE)[..., None]
    np.testing.assert_allclose(K.grad(i, 1).sum(axis=1), slope.sum(1), rtol=1e-11, atol=1e-12)
    a = rng.normal(size=ROWS)
    in_table = (LazyTensor.lookup(a, R) * j.sum()).grad(Pm(a), 1).sum(axis=1).sum(0)
    np.testing.assert_allclose(in_table, [y.sum() * np.sum(k == R) for k in range(ROWS)], rtol=1e-11)


def test_complex_tables() -> None:
    table = A + 1j * A[::-1]
    K = LazyTensor.lookup(table, R, C)
    assert isinstance(K, ComplexLazyTensor)
    assert_is(K, table[R[:, None], C])
    assert_is(LazyTensor.lookup(T + 1j, R, C), VECTORS + 1j)


def test_batches() -> None:
    tables = rng.normal(size=(2, ROWS, COLUMNS, 1))
    rows, columns = rng.integers(0, ROWS, (2, M)), rng.integers(0, COLUMNS, (3, 1, N))
    expected = tables[np.arange(2)[:, None, None], rows[:, :, None], columns[:, :, None]][..., 0]
    assert expected.shape == (3, 2, M, N)
    K = LazyTensor.lookup(tables, rows, columns)
    assert_is(K, expected)
    np.testing.assert_allclose(K.sum(axis=2)[..., 0], expected.sum(2), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(K.logsumexp(axis=3)[..., 0], np.log(np.exp(expected).sum(3)), rtol=1e-11)
    assert_is(LazyTensor.lookup(A, rows, C), A[rows[..., None], C])
    assert_is(K[:2, 1:], expected[:2, 1:])


def test_systems() -> None:
    """Their diagonals and columns are entries of the table too."""
    symmetric = np.eye(ROWS) + 0.1
    K = LazyTensor.lookup(symmetric, R, R) * (-Vi(x).sqdist(Vj(x))).exp()
    dense = symmetric[R[:, None], R] * np.exp(-((x[:, None] - x) ** 2).sum(-1))
    b = rng.normal(size=(M, 1))
    np.testing.assert_allclose(K.solve(b, alpha=1.0, eps=1e-12), np.linalg.solve(np.eye(M) + dense, b), rtol=1e-8)


def test_block_sparse_calls() -> None:
    K = LazyTensor.lookup(A, R, C)
    blocks, slices, pieces = np.array([[0, 20], [20, M]]), np.array([1, 2]), np.array([[0, 10], [30, N]])
    K.ranges = (blocks, slices, pieces, np.array([[0, 10], [30, N]]), np.array([1, 2]), blocks)
    expected = np.concatenate([DENSE[:20, :10].sum(1), DENSE[20:, 30:].sum(1)])
    np.testing.assert_allclose(K.sum(axis=1).ravel(), expected, rtol=1e-11, atol=1e-12)


def test_large_tables() -> None:
    large = rng.normal(size=(1000, 700)).astype("float32")
    rows, columns = rng.integers(0, 1000, M), rng.integers(0, 700, N)
    np.testing.assert_array_equal(LazyTensor.lookup(large, rows, columns).dense(), large[rows[:, None], columns])


def test_nothing_and_little() -> None:
    none = np.zeros(0, int)
    assert LazyTensor.lookup(A, none, C).sum(axis=1).shape == (0, 1)
    np.testing.assert_array_equal(LazyTensor.lookup(A, none, C).sum(axis=0), np.zeros((N, 1)))
    np.testing.assert_array_equal(LazyTensor.lookup(A, R, none).sum(axis=1), np.zeros((M, 1)))
    assert LazyTensor.lookup(np.array([[7.0]]), np.array([0]), np.array([0])).dense().item() == 7
    np.testing.assert_array_equal(LazyTensor.lookup(np.array([[7.0]]), np.zeros(M, int), np.zeros(N, int)).dense(), 7)


def test_labels_changed_afterwards_are_read_again() -> None:
    """Those outside of the table give nan, on its other axis too."""
    rows, columns = R.copy(), C.copy()
    K = LazyTensor.lookup(A.astype("float32"), rows, columns)
    rows[:], columns[:] = 1, 2
    rows[:4], columns[:4] = [-1, ROWS, 2**40, -(2**31)], [COLUMNS, -1, 2**31, -(2**63)]
    found = K.dense()
    assert np.isnan(found[:4]).all()
    assert np.isnan(found[:, :4]).all()
    np.testing.assert_array_equal(found[4:, 4:], A.astype("float32")[1, 2])


OUTSIDE = R.copy()
OUTSIDE[5] = ROWS
GRID = Vi(x) - Vj(y)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((A, OUTSIDE, C), ShapeError, r"rows run from 0 to 4, and the table of shape \(4, 5\) has rows 0 to 3"),
        ((A, R, C - 1), ShapeError, "columns run from -1 to 3, .* negative labels do not count from the end"),
        ((A, R, 5), ShapeError, "the labels columns run from 5 to 5"),
        ((A, R.astype(np.uint64) + np.uint64(2**63), C), ShapeError, "the labels rows run from 9223372036854775807"),
        ((A, GRID.i, C), ShapeError, "the labels rows run from 0 to 36"),
        ((np.ones(N), GRID.i - GRID.j), ShapeError, "the labels rows run from -52 to 36"),
        ((A, R.astype(float), C), DtypeError, "rows must be integer labels; got an array of dtype float64"),
        ((A, Vi(R[:, None].astype(float)), C), DtypeError, "rows must be integers: .* got a tensor of float64"),
        ((A, GRID.i * 2, C), DtypeError, "rows must be integers"),
        ((A, 0.5, C), DtypeError, "rows must be integers"),
        ((A, Vi(0, 1), C), ShapeError, "symbolic variables have none yet"),
        ((A, Vi(np.ones((M, 2), int)), C), ShapeError, "one label for each index"),
        ((A, np.array(2), C), ShapeError, "one label for each i"),
        ((A[0], R, C), ShapeError, r"a table for 2 label\(s\) must have shape"),
        ((A[:, :0], R, none := np.zeros(0, int)), ShapeError, "1 to 1073741824 entries; got shape"),
        (([1, 2], R, C), DtypeError, "a table must be a numpy array; got list"),
        ((A, "rows", C), DtypeError, "LazyTensor"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_any_kernel_runs(given, error: type[ClreduceError], message: str) -> None:
    with pytest.raises(error, match=message):
        LazyTensor.lookup(*given)


def test_sizes_must_agree() -> None:
    with pytest.raises(ShapeError, match="differ in their number of i"):
        LazyTensor.lookup(A, R, C) * Vi(x[:5])


def test_components_at_indices_of_a_tensor(device: Device) -> None:
    rng = np.random.default_rng(0)
    table, rows, columns = rng.normal(size=(4, 6)), rng.integers(4, size=9), rng.integers(6, size=7)
    flat, k, n = Pm(table.ravel()), Vi(rows[:, None]), Vj(columns[:, None] + 0.0)
    dense = table[np.ix_(rows, columns)]
    for tensor in (flat[6 * k + n], Vi(np.tile(table.ravel(), (9, 1)))[6 * k + n], flat[(6 * k + n).sum(-1)]):
        assert tensor.shape == (9, 7)
        np.testing.assert_array_equal(tensor.dense(), dense)
        np.testing.assert_allclose((tensor**2).sum(axis=1)[:, 0], (dense**2).sum(1))
    assert flat[k.i].shape == (9, 1)
    assert np.isnan(flat[k + 100].sum(axis=1)).all()
    with pytest.raises(ShapeError, match="k must have length 1"):
        flat[Vi(np.zeros((9, 2)))]
    with pytest.raises(ShapeError, match=r"K.where\(condition\) sets"):
        flat[k > 1]
