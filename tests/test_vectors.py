"""Operations on packed matrices, norms, extrema and special vectors, against NumPy, SciPy and known numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import DTYPES, Array, check
from scipy import interpolate
from test_operations_numpy import Case, check_derivatives

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.lower import lower
from clreduce.codegen.render import render
from clreduce.codegen.schedule import Schedule, choose_schedule
from clreduce.domain import Domain
from clreduce.errors import FormulaError, ShapeError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.expr import INDEX
from clreduce.ir.op import FUNCTIONS, OPS, variable
from clreduce.language.formula import parse
from clreduce.numpy import Genred
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.device import Device

inf, nan = np.inf, np.nan
COUNT = [1, 2, 3, 4, 5, 6]
TWO, THREE = [1, 10], [1, 10, 100]
KNOTS = [0, 0, 0, 1, 1, 1]


def value(text: str, *arrays: Sequence[float]) -> Array:
    """The formula at one point; its variables are a, b, ... in the order of the arrays."""
    names = "abcdefgh"[: len(arrays)]
    aliases = [f"{name} = Vi({len(array)})" for name, array in zip(names, arrays, strict=True)]
    parsed = parse(text, aliases)
    leaves = {v.expr: np.array([array], float) for v, array in zip(parsed.variables, arrays, strict=True)}
    (found,) = evaluate([parsed.expr], leaves)
    return np.broadcast_to(found, (1, parsed.expr.dim))[0]


@pytest.mark.parametrize(
    ("text", "arrays", "expected"),
    [
        ("Zero(2)", [], [0, 0]),
        ("SumT(a, 3)", [[2]], [2, 2, 2]),
        ("SumT(a, 1)", [[2]], [2]),
        ("ElemT(a, 3, 1)", [[2]], [0, 2, 0]),
        ("ExtractT(a, 1, 4)", [TWO], [0, 1, 10, 0]),
        ("Concat(a, b, a)", [TWO, [3]], [1, 10, 3, 1, 10]),
        ("OneHot(a, 3)", [[1.4]], [0, 1, 0]),
        ("Max(a)", [[1, 3, 3, nan]], [3]),
        ("Min(a)", [[nan, 2, 1, 1]], [1]),
        ("ArgMax(a)", [[1, 3, 3, nan]], [1]),
        ("ArgMin(a)", [[nan, 2, 1, 1]], [2]),
        ("ArgMax(a)", [[-inf, -inf]], [0]),
        ("Max(a)", [[nan]], [-inf]),
        ("Grad(Max(a), a, 2)", [[1, 3, 3, nan]], [0, 2, 0, 0]),
        ("Grad(Min(a), a, 2)", [[1, 3, 1, nan]], [2, 0, 0, 0]),
        ("Grad(ArgMax(a), a, 2)", [[1, 3, 1]], [0, 0, 0]),
        ("Normalize(a)", [[3, 4]], [0.6, 0.8]),
        ("WeightedSqNorm(a, b)", [[2], TWO], [202]),
        ("WeightedSqNorm(a, b)", [TWO, TWO], [1001]),
        ("WeightedSqNorm(a, b)", [[1, 2, 3, 4], TWO], [451]),
        ("WeightedSqDist(a, b, c)", [[1, 2, 3, 4], [2, 12], [1, 2]], [451]),
        ("SqNormIso(a, b)", [[2], TWO], [202]),
        ("SqNormDiag(a, b)", [TWO, TWO], [1001]),
        ("SymSqNorm(a, b)", [[1, 2, 3, 4], TWO], [451]),
        ("Grad(WeightedSqNorm(a, b), b, IntCst(1))", [[1, 2, 3, 4], TWO], [52, 85]),
        ("MatVecMult(a, b)", [COUNT, TWO], [21, 43, 65]),
        ("MatVecMult(a, b)", [COUNT, THREE], [321, 654]),
        ("VecMatMult(b, a)", [COUNT, TWO], [41, 52, 63]),
        ("VecMatMult(b, a)", [COUNT, THREE], [531, 642]),
        ("TensorProd(a, b)", [TWO, THREE], [1, 10, 100, 10, 100, 1000]),
        ("Kron(a, b, [2, 3], [2, 1])", [COUNT, TWO], [1, 2, 3, 10, 20, 30, 4, 5, 6, 40, 50, 60]),
        ("TensorDot(a, a, [2, 3], [3, 2], [1], [0])", [COUNT], [22, 28, 49, 64]),
        ("TensorDot(a, b, [2, 3], [2, 3], [0], [0], [1, 0])", [COUNT, range(11, 17)],
         [67, 92, 117, 72, 99, 126, 77, 106, 135]),
        ("TensorDot(a, b, [2], [3], [], [])", [TWO, THREE], [1, 10, 100, 10, 100, 1000]),
        ("TensorDot(a, b, (6,), (6,), (0,), (0,))", [COUNT, COUNT], [91]),
        ("GradMatrix(MatVecMult(a, b), b)", [COUNT, TWO], COUNT),
        ("GradMatrix(b, a)", [TWO, THREE], [0] * 6),
        ("Cross(a, b)", [[1, 2, 3], [4, 5, 7]], [-1, 5, -3]),
        ("Cross(a, a)", [[0.1, 0.2, 0.7]], [0, 0, 0]),
        ("Det(a)", [[1, 2, 3, 4]], [-2]),
        ("Det(a)", [[0.1, 0.7, 0.1, 0.7]], [0]),
        ("Det(a)", [[2, 1, 0, 0, 3, 1, 1, 0, 1]], [7]),
        ("Inverse(a)", [[1, 2, 3, 4]], [-2, 1, 1.5, -0.5]),
        ("Inverse(a)", [[1, 1, 1, 1]], [inf, -inf, -inf, inf]),
        ("BSpline(a, b, 2)", [KNOTS, [0.25]], [0.5625, 0.375, 0.0625]),
        ("BSpline(a, b, 1)", [[0, 1, 2, 3, 4], [1.5]], [0.5, 0.5, 0]),
        ("BSpline(a, b, 0)", [[0, 1, 2], [1]], [0, 1]),
        ("SoftDTW_SqDist(a, b, c)", [[0, 1, 2], [0, 1.5], [0.5]], [0.3427226422]),
        ("Grad(SoftDTW_SqDist(a, b, c), a, 1)", [[0, 1, 2], [0, 1.5], [0.5]], [-0.0243325, -0.3134844, 1.0002186]),
        ("Grad(SoftDTW_SqDist(a, b, c), b, 1)", [[0, 1, 2], [0, 1.5], [0.5]], [-0.5237691, -0.1386326]),
        ("SoftDTW_SqDist(a, b, c)", [[1], [0, 2, 4], [0.5]], [11]),
        ("Laplacian(Exp(-SqDist(a, b)), a)", [[1, 2, 3], [0.5, -1, 2]], [0.0012375125]),
        ("Laplacian(Norm2(a), a)", [[1, 2, 3]], [2 / np.sqrt(14)]),
        ("Divergence(MatVecMult(b, a), a)", [TWO, [1, inf, inf, 4]], [5]),
        ("TraceOperator(b*a + a, a)", [[1, 2, 3], [0.5, -1, 2]], [4.5]),
        ("TraceOperator(b*a + a, a, c)", [[1, 2, 3], [0.5, -1, 2], [1, 2, 3]], [10.5]),
        ("TraceOperator(2*Sum(a), a, b)", [[1, 2, 3], [0.1, 0.2, 0.3]], [1.2]),
        ("AdjointOperator(b*a + a, a, c)", [[1, 2, 3], [0.5, -1, 2], [0.1, 0.2, 0.3]], [0.15, 0, 0.9]),
        ("SumLinOperator(MatVecMult(b, a), a)", [TWO, [1, 2, 3, 4]], [10]),
        ("SumLinOperator(MatVecMult(b, a), a, c)", [TWO, [1, 2, 3, 4], [1, -1]], [-4]),
        ("SumLinOperator(MatVecMult(b, a), a, c, a)", [TWO, [1, 2, 3, 4], [1, -1]], [-22]),
        ("SumLinOperator(b, a)", [TWO, THREE], [0]),
        ("Diff(a*b, (a, b), (b, a))", [TWO, [2, 3]], [5, 109]),
        ("Diff(a*b, [a, a], [b, b])", [TWO, [2, 3]], [8, 18]),
        ("Factorize(a*b, a)", [TWO, TWO], [1, 100]),
        ("AutoFactorize(a*b)", [TWO, TWO], [1, 100]),
    ],
)  # fmt: skip
def test_values(text: str, arrays: list[Sequence[float]], expected: list[float]) -> None:
    np.testing.assert_allclose(value(text, *arrays), expected, rtol=1e-9, atol=5e-8)


# --- against NumPy and SciPy


@st.composite
def contractions(draw: st.DrawFn) -> tuple[list[int], ...]:
    """Sizes of two arrays, pairs of axes to contract, and an order of those that are kept."""
    sizes = st.integers(1, 3)
    shared = draw(st.lists(sizes, max_size=2))
    dims = []
    axes = []
    for _ in range(2):
        kept = draw(st.lists(sizes, max_size=2))
        order = draw(st.permutations(range(len(shared) + len(kept))))
        mixed = [0] * len(order)
        for place, size in zip(order, [*shared, *kept], strict=True):
            mixed[place] = size
        dims.append(mixed)
        axes.append(list(order[: len(shared)]))
    count = sum(len(mixed) - len(shared) for mixed in dims)
    return *dims, *axes, draw(st.permutations(range(count)))


@settings(max_examples=100, deadline=None)
@given(contractions())
def test_tensor_dot(given_lists: tuple[list[int], ...]) -> None:
    dimf, dimg, contf, contg, perm = given_lists
    rng = np.random.default_rng(0)
    f, g = rng.standard_normal(dimf), rng.standard_normal(dimg)
    expected = np.tensordot(f, g, (contf, contg))
    lists = f"{dimf}, {dimg}, {contf}, {contg}"
    found = value(f"TensorDot(a, b, {lists})", f.ravel(), g.ravel())
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-12)
    found = value(f"TensorDot(a, b, {lists}, {perm})", f.ravel(), g.ravel())
    np.testing.assert_allclose(found, expected.transpose(np.argsort(perm)).ravel(), atol=1e-12)


@pytest.mark.parametrize(("dimf", "dimg"), [([2], [3]), ([2, 3], [3, 1]), ([2, 1, 2], [1, 3, 2]), ([1], [1])])
def test_kronecker(dimf: list[int], dimg: list[int]) -> None:
    rng = np.random.default_rng(0)
    f, g = rng.standard_normal(dimf), rng.standard_normal(dimg)
    found = value(f"Kron(a, b, {dimf}, {dimg})", f.ravel(), g.ravel())
    np.testing.assert_allclose(found, np.kron(f, g).ravel(), rtol=1e-14)


@pytest.mark.parametrize("n", [2, 3])
def test_inverse(n: int) -> None:
    for seed in range(10):
        matrix = np.random.default_rng(seed).standard_normal((n, n))
        np.testing.assert_allclose(value("Inverse(a)", matrix.ravel()), np.linalg.inv(matrix).ravel(), rtol=1e-11)
        np.testing.assert_allclose(value("Det(a)", matrix.ravel()), [np.linalg.det(matrix)], rtol=1e-11)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5])
def test_splines(degree: int) -> None:
    """Values and slopes of any order are SciPy's, and they add up to 1 between the inner knots."""
    knots = np.sort(np.random.default_rng(degree).uniform(0, 1, degree + 6))
    knots[2:4] = knots[2]
    count = len(knots) - degree - 1
    for x in np.linspace(-0.1, 1.1, 23):
        text = f"BSpline(a, b, {degree})"
        for order in range(3):
            found = value(text, knots, [x])
            for n in range(count):
                one = interpolate.BSpline.basis_element(knots[n : n + degree + 2], extrapolate=False)
                exact = np.nan_to_num(one(x, nu=order)) if order <= degree else 0.0
                assert found[n] == pytest.approx(exact, rel=1e-9, abs=1e-9 * 10.0 ** (2 * order))
            if order == 0 and knots[degree] <= x < knots[count]:
                assert found.sum() == pytest.approx(1)
            text = f"Diff({text}, b, 1)"


def soft_dtw(x: Array, y: Array, gamma: float) -> float:
    table = np.empty((len(x), len(y)))
    for k, a in enumerate(x):
        for m, b in enumerate(y):
            near = [table[p, q] for p, q in ((k - 1, m - 1), (k - 1, m), (k, m - 1)) if p >= 0 and q >= 0]
            least = min(near, default=0.0)
            terms = np.exp((least - np.array(near)) / gamma) if len(near) > 1 else np.ones(1)
            table[k, m] = (a - b) ** 2 + least - gamma * np.log(terms.sum())
    return float(table[-1, -1])


@pytest.mark.parametrize("gamma", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("lengths", [(1, 1), (1, 4), (5, 1), (6, 4)])
def test_soft_time_warping(lengths: tuple[int, int], gamma: float) -> None:
    rng = np.random.default_rng(0)
    x, y = (10 * rng.standard_normal(length) for length in lengths)
    assert value("SoftDTW_SqDist(a, b, c)", x, y, [gamma]) == pytest.approx(soft_dtw(x, y, gamma), rel=1e-12)


def test_soft_time_warping_does_not_overflow() -> None:
    assert value("SoftDTW_SqDist(a, b, c)", [0, 1, 2], [0, 1e150], [1e-300]) == pytest.approx(1e300)
    assert value("SoftDTW_SqDist(a, b, c)", [0, 1, 2], [0, inf], [1.0]) == inf
    assert np.isnan(value("SoftDTW_SqDist(a, b, c)", [0, nan, 2], [0, 1], [1.0])).all()


# --- derivatives, for lengths that the examples of the registry do not have


@pytest.mark.parametrize(
    ("name", "dims"),
    [("WeightedSqNorm", (1, 1)), ("WeightedSqNorm", (1, 3)), ("WeightedSqNorm", (3, 3)),
     ("WeightedSqDist", (1, 3, 3)), ("WeightedSqDist", (3, 3, 1)), ("Det", (4,)), ("Inverse", (4,)), ("Max", (1,)),
     ("MatVecMult", (3, 3)), ("MatVecMult", (3, 1)), ("VecMatMult", (1, 3)), ("VecMatMult", (3, 3)),
     ("TensorProd", (1, 3)), ("TensorProd", (3, 1)), ("SoftDTW_SqDist", (1, 3, 1)), ("SoftDTW_SqDist", (2, 1, 1)),
     ("BSpline", (9, 1))],
)  # fmt: skip
def test_other_lengths(name: str, dims: tuple[int, ...]) -> None:
    check_derivatives(Case(name, dims))


# --- kernels


I, J, P = Domain.I, Domain.J, Domain.P


def program_of(text: str, **dims: int) -> MapReduce:
    """The sum over j of a formula of x (per i), y (per j) and p (a parameter)."""
    kinds = {"x": "Vi", "y": "Vj", "p": "Pm"}
    parsed = parse(text, [f"{name} = {kinds[name]}({dim})" for name, dim in dims.items()])
    return map_reduce([parsed.expr], "Sum")[0]


LONG = {
    "MatVecMult(x, y)": (50, 10, 0),
    "VecMatMult(x, MatVecMult(p, y))": (7, 9, 63),
    "TensorDot(x, y, [2, 3, 4], [4, 2, 5], [2, 0], [0, 1], [1, 0])": (24, 40, 0),
    "Kron(x, y, [2, 3], [3, 2])": (6, 6, 0),
    "WeightedSqDist(p, x, y)": (9, 9, 81),
    "Max(x - y) + Min(x * y)": (40, 40, 0),
    "ArgMax(Concat(x, y)) - ArgMin(Concat(y, x, p))": (11, 7, 5),
    "Grad(Max(x - y), x, 2)": (40, 40, 0),
    "OneHot(10 * Elem(x, 0), 17) * ArgMax(y)": (1, 9, 0),
    "Inverse(x + y + Concat(4, 0, 0, 0, 4, 0, 0, 0, 4)) + Inverse(p + Concat(4, 0, 0, 0, 4, 0, 0, 0, 4))": (9, 9, 9),
    "BSpline(p, x - y, 3)": (1, 1, 12),
    "SoftDTW_SqDist(x, y, p)": (4, 3, 1),
    "Laplacian(Exp(-SqDist(x, y)), x)": (10, 10, 0),
    "GradMatrix(x * SqNorm2(x - y), x)": (6, 6, 0),
    "Divergence(MatVecMult(y, x), x)": (5, 25, 0),
    "TraceOperator(x * Sum(y) + VecMatMult(x, p), x)": (5, 5, 25),
    "Normalize(Cross(Extract(x, 1, 3), y))": (5, 3, 0),
}


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize("text", LONG)
def test_kernels_of_long_vectors(text: str, lanes: int, device: Device) -> None:
    x, y, p = LONG[text]
    program = program_of(text, **{name: dim for name, dim in (("x", x), ("y", y), ("p", p)) if dim})
    schedule = Schedule(lanes=lanes, rows=2 if lanes == 1 else 1, cols=2, tile=8)
    for dtype in DTYPES if device.facts.has_double else DTYPES[:1]:
        check(program, 19, 21, dtype, schedule, factor=25)


def body(text: str, schedule: Schedule | None = None, **dims: int) -> str:
    """What the kernel does for a block of columns."""
    program, facts = program_of(text, **dims), DeviceFacts()
    kernel = lower(program, "float", schedule or choose_schedule(program, "float", facts), facts).pair
    source = render(kernel)
    return source[source.index("long j = ") : source.index("for (; j < tile_end")]


@pytest.mark.parametrize(
    ("text", "dims"),
    [("MatVecMult(x, y)", (100, 10)), ("VecMatMult(y, x)", (100, 10)),
     ("TensorDot(x, y, [10, 10], [10, 3], [1], [0])", (100, 30)), ("SymSqNorm(x, y)", (100, 10))],
)  # fmt: skip
def test_products_are_two_loops(text: str, dims: tuple[int, int]) -> None:
    """One over what comes out, one over what is added up; divisions only in the outer one, and no arrays."""
    source = body(text, x=dims[0], y=dims[1])
    inner = source.split("for (")[3]
    assert source.count("for (") == 3
    assert not re.search(r"\[\d+\];", source)
    sums = re.findall(r"(a\d+) = \1 \+ t\d+ \* t\d+;", inner)
    assert len(set(sums)) == 4
    if text.startswith("TensorDot"):
        assert " / 3) * 10" in inner
    else:
        assert " / " not in inner
        assert " % " not in inner


@pytest.mark.parametrize("dim", [3, 100])
def test_a_laplacian_costs_a_few_operations_per_component(dim: int) -> None:
    """Of each row of the identity, one component is left: no loop per direction, no mask."""
    source = body("Laplacian(Exp(-SqDist(x, y)), x)", x=dim, y=dim)
    assert "?" not in source
    assert source.count("for (") == (1 if dim == 3 else 3)
    depth = [len(line) - len(line.lstrip()) for line in source.splitlines() if "for (" in line]
    assert max(depth) - min(depth) <= 2


def test_extrema_of_a_thousand_components_are_one_loop() -> None:
    source = body("ArgMax(x - y)", x=1000, y=1000)
    assert source.count("for (") == 2
    assert len(source) < 4000


# --- errors


ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Zero(0)", "Zero: a vector must have length 1 or more; got 0"),
        ("SumT(x, 3)", "SumT: only a vector of length 1 can be repeated; got length 3; here x has length 3"),
        ("SumT(b, -1)", "length 1 or more; got -1"),
        ("ElemT(x, 4, 1)", "ElemT places a single number; got a vector of length 3"),
        ("ElemT(b, 4, 4)", "ElemT: a vector of length 4 has no place 4"),
        ("ExtractT(x, 2, 4)", "ExtractT: a vector of length 3 does not fit at place 2 of a vector of length 4"),
        ("OneHot(x, 4)", "OneHot: f must have length 1; got length 3"),
        ("OneHot(b, 0)", "must .*1 or more; got 0"),
        ("Concat(x)", r"Concat takes 2 or more arguments, not 1: Concat\(f, g, ...\)"),
        ("MatVecMult(x, y*Concat(b, b))", "equal length"),
        ("MatVecMult(x, Concat(b, b))", "MatVecMult needs .* multiple .*; got lengths 3, 2; here x has length 3"),
        ("VecMatMult(Concat(b, b), x)", "VecMatMult needs .* multiple .*; got lengths 3, 2"),
        ("Cross(x, b)", "Cross needs two vectors of length 3; got lengths 3, 1"),
        ("Det(x)", "Det needs a 2 x 2 or 3 x 3 matrix, of length 4 or 9; got length 3"),
        ("Inverse(b)", "Inverse needs .*; got length 1"),
        ("WeightedSqNorm(Concat(b, b), x)", r"needs 1, 3 or 3 \* 3 weights .*; got length 2"),
        ("SqNormIso(x, y)", "SqNormIso needs one weight; got 3 weights"),
        ("SqNormDiag(b, y)", "SqNormDiag needs one weight for each component; got 1 weights for a vector of length 3"),
        ("SymSqNorm(x, y)", "needs a 3 x 3 matrix, of length 9, .*; got length 3"),
        ("BSpline(x, x, 0)", "BSpline: x must have length 1; got length 3"),
        ("BSpline(x, b, 2)", "BSpline of degree k=2 needs .*; got length 3"),
        ("BSpline(x, b, -1)", "BSpline of degree k=-1"),
        ("SoftDTW_SqDist(x, y, x)", "SoftDTW_SqDist: gamma must have length 1; got length 3"),
        ("TensorDot(x, y, [3], [4], [], [])", r"dimg=\[4\] are not the sizes of a vector of length 3"),
        ("TensorDot(x, y, [-1, -3], [3], [], [])", r"dimf=\[-1, -3\] are not the sizes"),
        ("TensorDot(x, y, [3], [3], [1], [0])", r"contf=\[1\] must be distinct axes of \[3\]"),
        ("TensorDot(x, y, [3], [1, 3], [0], [0])", r"axes of equal sizes; contf has sizes \[3\], contg \[1\]"),
        ("TensorDot(x, y, [3], [3], [0], [])", "axes of equal sizes"),
        ("TensorDot(x, y, [3], [3], [], [], [0])", r"perm=\[0\] must be an order of the 2 axes"),
        ("TensorDot(x, y, [3], [3], [])", "TensorDot takes 6 or 7 arguments, not 5"),
        ("Kron(x, y, [3], [3, 1])", "Kron needs the same number of axes"),
        ("SumLinOperator(x)", r"SumLinOperator takes 2 to 4 arguments, not 1: SumLinOperator\(f, v, \[a\], \[b\]\)"),
        ("SumLinOperator(x, x, b, Concat(b, b))", "the weights must have length 1 or 3; got length 2"),
        ("TraceOperator(Concat(x, x), x)", "TraceOperator: a trace needs a formula of length 1 or 3"),
        ("AdjointOperator(x, x, b)", "the cotangent has length 1, the formula has length 3"),
        ("Diff(x, (x, y), b)", "Diff needs one direction for each variable; got 2 variables and 1 directions"),
        ("Diff(x, (), ())", "Diff needs one direction for each variable; got 0 variables and 0 directions"),
        ("Diff(x, (x, y), (y, b))", "the tangent has length 1, the variable has length 3"),
        ("Diff(x, (x, y*y), (y, y))", r"Diff differentiates in a variable, not in 'y\*y'"),
        ("x / Zero(3)", "division by zero"),
        ("Divide(x, Zero(3))", "division by zero"),
    ],
)  # fmt: skip
def test_errors_point_at_their_place(text: str, message: str) -> None:
    with pytest.raises((FormulaError, ShapeError), match=message) as caught:
        parse(text, ALIASES)
    shown, caret = str(caught.value).split("\n")[1:]
    assert shown == f"  {text}"
    assert caret.strip() == "^"


NOT_LINEAR = ["x*x", "x + 1", "Floor(x)", "OneHot(b*Elem(x, 0), 3)", "Exp(x)", "y / x", "Concat(Elem(x, 0), b, b)",
              "IfElse(x, x, y)", "IfElse(y, x, y)", "Max(x) * y", "Norm2(x) * y"]  # fmt: skip
LINEAR = ["x", "-x", "x*y - x", "x / y", "Zero(3)", "y", "2*Sum(x)*y", "MatVecMult(TensorProd(y, y), x)", "Cross(x, y)",
          "IfElse(y, x, 2*x)", "IfElse(y, x, 0*y)", "Concat(Elem(x, 0), 0, Elem(x, 1))", "0*Exp(x) + x"]  # fmt: skip


@pytest.mark.parametrize("f", NOT_LINEAR)
def test_operators_refuse_what_is_not_linear(f: str) -> None:
    for text in (f"TraceOperator({f}, x)", f"AdjointOperator({f}, x, y)", f"SumLinOperator({f}, x)"):
        with pytest.raises(FormulaError, match=f"{text.split('(')[0]}: the formula must be linear in the variable"):
            parse(text, ALIASES)


@pytest.mark.parametrize("f", LINEAR)
def test_operators_of_linear_formulas(f: str) -> None:
    """They are what the matrix says."""
    x, y = [0.3, -0.2, 0.9], [1.1, 0.7, -0.4]
    f = re.sub(r"\by\b", "b", re.sub(r"\bx\b", "a", f))
    matrix = value(f"GradMatrix({f}, a)", x, y).reshape(3, 3)
    np.testing.assert_allclose(value(f"TraceOperator({f}, a, b)", x, y), [np.diag(matrix) @ y], atol=1e-15)
    np.testing.assert_allclose(value(f"AdjointOperator({f}, a, b)", x, y), matrix.T @ y, atol=1e-15)
    np.testing.assert_allclose(value(f"SumLinOperator({f}, a, b, a)", x, y), [y @ matrix @ x], atol=1e-15)


def test_matrices_of_derivatives_have_the_columns_of_directions() -> None:
    """For every operation of the registry, the sweep for all directions at once gives what one by one give."""
    from clreduce.autodiff import jacobian, jvp
    from clreduce.errors import NotDifferentiableError

    checked = 0
    for name in sorted(FUNCTIONS):
        case = Case(name)
        for leaf in case.leaves:
            unit = variable("unit", leaf.dim, I)
            try:
                (along,) = jvp([case.expr], {leaf: unit})
            except NotDifferentiableError:
                with pytest.raises(NotDifferentiableError):
                    jacobian(case.expr, leaf)
                continue
            (matrix,) = evaluate([jacobian(case.expr, leaf)], case.data)
            columns = np.broadcast_to(matrix, (5, matrix.shape[-1])).reshape(5, case.expr.dim, leaf.dim)
            for k in range(leaf.dim):
                data = {**case.data, unit: np.tile(np.eye(leaf.dim)[k], (5, 1))}
                column = evaluate([along], data)[0] if along is not None else np.zeros(1)
                np.testing.assert_allclose(columns[..., k], np.broadcast_to(column, (5, case.expr.dim)), rtol=1e-12)
                checked += 1
    assert checked > 100


def test_linear_operations_on_interleaved_vectors() -> None:
    """The parameters that an operation states for n vectors side by side make it act on each of them."""
    from test_operations_numpy import linear_nodes

    for node in linear_nodes():
        assert node.op.interleaved is not None
        # An index says what is read, of all three alike.
        wide = tuple(
            variable(("wide", n), arg.dim if arg.kind == INDEX else 3 * arg.dim, I, arg.kind)
            for n, arg in enumerate(node.args)
        )
        args = tuple(variable(("arg", n), arg.dim, I, arg.kind) for n, arg in enumerate(node.args))
        rng = np.random.default_rng(0)
        data = {leaf: np.ones((1, 1), int) if leaf.kind == INDEX else rng.random((1, leaf.dim)) for leaf in wide}
        (found,) = evaluate([OPS[node.op.name](*wide, *node.op.interleaved(3, *node.params))], data)
        for k in range(3):
            one = {
                arg: data[leaf] if leaf.kind == INDEX else data[leaf][:, k::3]
                for arg, leaf in zip(args, wide, strict=True)
            }
            (expected,) = evaluate([OPS[node.op.name](*args, *node.params)], one)
            np.testing.assert_array_equal(found[:, k::3], expected)


def test_long_values_of_parameters_are_computed_once(device: Device) -> None:
    """Not for each pair, and for each index of a batch."""
    routine = Genred("Exp(MatVecMult(p, q) * (x - y))", ["p = Pm(100)", "q = Pm(10)", "x = Vi(10)", "y = Vj(10)"])
    rng = np.random.default_rng(0)
    p, q = rng.uniform(-0.1, 0.1, (3, 100)), rng.uniform(-1, 1, (3, 10))
    x, y = rng.uniform(-1, 1, (3, 19, 10)), rng.uniform(-1, 1, (3, 21, 10))
    dtype = "float64" if device.facts.has_double else "float32"
    p, q, x, y = (array.astype(dtype) for array in (p, q, x, y))
    weights = (p.reshape(3, 10, 10) @ q[..., None])[:, None, None, :, 0]
    expected = np.exp(weights * (x[:, :, None] - y[:, None])).sum(1)
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(routine(p, q, x, y), expected, rtol=tolerance)
    np.testing.assert_allclose(routine(p[0], q[0], x[0], y[0]), expected[0], rtol=tolerance)
    lowered = routine.plan(dtype).lowered
    assert [stored.domain for stored in lowered.stored].count(P) == 1
    assert {leaf.dim for leaf in lowered.inputs} == {10}
