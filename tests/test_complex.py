"""Complex operations on every device, against NumPy's complex numbers; what kernels make of pairs of reals."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pytest
from oracle import Array

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.lower import lower
from clreduce.codegen.render import render
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.evaluate import evaluate
from clreduce.ir.index import make_index
from clreduce.ir.op import FUNCTIONS, variable
from clreduce.ir.rewrite import simplify
from clreduce.language.formula import parse
from clreduce.numpy import Genred
from clreduce.ops.shape import concat, pad, permute
from clreduce.program import map_reduce
from clreduce.runtime.device import Device

pytestmark = pytest.mark.usefixtures("plain_kernels")

TOLERANCE = {"float32": 3e-6, "float64": 1e-14}
LENGTHS = (1, 2, 5)
"""Complex numbers in a vector: written out, and in loops."""


def as_reals(z: Array) -> Array:
    return np.stack([z.real, z.imag], -1).reshape(*z.shape[:-1], 2 * z.shape[-1])


def as_complex(pairs: Array) -> Array:
    result: Array = np.ascontiguousarray(pairs, np.float64).view(np.complex128)
    return result


def random_complex(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """In all quadrants, moduli between 1/2 and 2."""
    z: Array = rng.uniform(0.5, 2, shape) * np.exp(1j * rng.uniform(-np.pi, np.pi, shape))
    return z


def on_device(formulas: Sequence[str], dtype: str, *arrays: Array) -> list[Array]:
    """The formulas of i-variables f, g, at each row, from one kernel."""
    aliases = [f"{name} = Vi({array.shape[-1]})" for name, array in zip("fg", arrays, strict=False)]
    joined = reduce(lambda a, b: f"Concat({a}, {b})", formulas)
    found = Genred(joined, aliases, "Sum", axis=1)(*(array.astype(dtype) for array in arrays))
    assert found.dtype == dtype
    ends = np.cumsum([parse(formula, aliases).expr.dim for formula in formulas])
    assert found.shape == (len(arrays[0]), ends[-1])
    return np.split(found, ends[:-1], axis=1)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest, device: Device) -> str:
    if request.param == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    return str(request.param)


# --- values

Meaning = Callable[..., Array]
OF_ONE: dict[str, Meaning] = {
    "Conj": np.conj, "ComplexExp": np.exp, "ComplexInv": lambda z: 1 / z, "ComplexLog": np.log, "ComplexSqrt": np.sqrt,
    "ComplexSum": lambda z: z.sum(-1, keepdims=True),
}  # fmt: skip
TO_REAL: dict[str, Meaning] = {
    "ComplexReal": np.real, "ComplexImag": np.imag, "ComplexAbs": np.abs, "ComplexSquareAbs": lambda z: np.abs(z) ** 2,
    "ComplexAngle": np.angle,
}  # fmt: skip
FROM_REAL: dict[str, Meaning] = {
    "Real2Complex": lambda f: f + 0j, "Imag2Complex": lambda f: 1j * f, "ComplexExp1j": lambda f: np.exp(1j * f),
}  # fmt: skip
OF_TWO: dict[str, Meaning] = {
    "ComplexAdd": np.add, "ComplexSubtract": np.subtract, "ComplexMult": np.multiply, "ComplexDivide": np.divide
}  # fmt: skip


def assert_close(found: Array, expected: Array, dtype: str) -> None:
    assert found.shape == expected.shape
    assert np.max(np.abs(found - expected)) <= TOLERANCE[dtype] * max(1.0, np.max(np.abs(expected)))


def test_every_operation_is_tested_here() -> None:
    names = {name for name in FUNCTIONS if "omplex" in name or name == "Conj"}
    others = {"ComplexSumT", "ComplexRealScal", "ComplexPow"}
    assert names == {*OF_ONE, *TO_REAL, *FROM_REAL, *OF_TWO, *others}


@pytest.mark.parametrize("n", LENGTHS)
def test_values(n: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    z, f = random_complex(rng, (40, n)), rng.uniform(-3, 3, (40, n))
    wanted = {f"{name}(f)": meaning(z) for name, meaning in (OF_ONE | TO_REAL).items()}
    wanted |= {f"{name}(g)": meaning(f) for name, meaning in FROM_REAL.items()}
    wanted |= {f"ComplexPow(f, {m})": z**m for m in (-2, -1, 0, 1, 2, 5)}
    wanted |= {f"ComplexSumT(Extract(f, 0, 2), {2 * n})": np.repeat(z[:, :1], n, 1)}
    wanted |= {text: f[:, :1] * z for text in ("ComplexRealScal(f, Elem(g, 0))", "ComplexRealScal(Elem(g, 0), f)")}
    check(wanted, dtype, as_reals(z), f)


@pytest.mark.parametrize("dims", [(1, 1), (1, 3), (3, 1), (3, 3), (1, 2)])
def test_two_vectors_are_equally_long_or_one_is_a_single_number(dims: tuple[int, int], dtype: str) -> None:
    rng = np.random.default_rng(sum(dims))
    z, w = (random_complex(rng, (40, n)) for n in dims)
    check({f"{name}(f, g)": meaning(z, w) for name, meaning in OF_TWO.items()}, dtype, as_reals(z), as_reals(w))


def check(wanted: dict[str, Array], dtype: str, *arrays: Array) -> None:
    """Each formula has this value, real or complex."""
    for (formula, expected), found in zip(wanted.items(), on_device(list(wanted), dtype, *arrays), strict=True):
        value = as_complex(found) if np.iscomplexobj(expected) else found
        assert value.shape == expected.shape, formula
        error = np.max(np.abs(value - expected)) / max(1.0, np.max(np.abs(expected)))
        assert error <= TOLERANCE[dtype], f"{formula}: error {error:.1e}"


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("ComplexMult(z, w)", (2.5, 0, 7, 1)),
        ("ComplexMult(s, w)", (2, -1.5, 3, 4)),
        ("ComplexMult(w, s)", (2, -1.5, 3, 4)),
        ("ComplexDivide(z, w)", (-1.2, 1.6, 1, -1)),
        ("ComplexAngle(z)", (1.107148718, -0.321750554)),
        ("ComplexSum(z)", (4, 1)),
    ],
)
def test_known_values(formula: str, expected: tuple[float, ...]) -> None:
    data = {"z": (1, 2, 3, -1), "w": (0.5, -1, 2, 1), "s": (2, 1)}
    leaves = {name: variable(name, len(numbers), Domain.I) for name, numbers in data.items()}
    name, arguments = formula.removesuffix(")").split("(")
    built = FUNCTIONS[name].build(*(leaves[argument] for argument in arguments.split(", ")))
    (found,) = evaluate([built], {leaf: np.array(data[name], float) for name, leaf in leaves.items()})
    np.testing.assert_allclose(found, expected, atol=1e-9)


# --- what is refused


@pytest.mark.parametrize("name", sorted({*OF_ONE, *TO_REAL, *OF_TWO, "ComplexRealScal", "ComplexPow"}))
def test_odd_lengths_are_refused(name: str) -> None:
    odd, even = variable("odd", 3, Domain.I), variable("even", 6, Domain.I)
    if name == "ComplexRealScal":
        arguments: list[tuple[Any, ...]] = [(variable("s", 1, Domain.I), odd)]
    elif name == "ComplexPow":
        arguments = [(odd, 2)]
    else:
        arguments = [(odd, even), (even, odd)] if name in OF_TWO else [(odd,)]
    for given in arguments:
        with pytest.raises(ShapeError, match=f"{name} .*even length; got length 3"):
            FUNCTIONS[name].build(*given)


def test_lengths_that_do_not_fit_are_refused() -> None:
    four, six = variable("four", 4, Domain.I), variable("six", 6, Domain.I)
    for name in OF_TWO:
        with pytest.raises(ShapeError, match=f"{name} .*lengths 4, 6"):
            FUNCTIONS[name].build(four, six)
    with pytest.raises(ShapeError, match=r"ComplexRealScal .*lengths 4, 6"):
        FUNCTIONS["ComplexRealScal"].build(four, six)
    with pytest.raises(ShapeError, match=r"ComplexSumT .*got length 4"):
        FUNCTIONS["ComplexSumT"].build(four, 8)
    for m in (0, 3, -2):
        with pytest.raises(ShapeError, match=f"ComplexSumT .*got {m}"):
            FUNCTIONS["ComplexSumT"].build(variable("z", 2, Domain.I), m)


# --- derivatives


@pytest.mark.parametrize("dim", [1, 3])
def test_gradient_in_a_real_variable_of_odd_length(dim: int, dtype: str) -> None:
    """Of sum_j e^(i x) y_j and of sum_j Real2Complex(x) / y_j."""
    rng = np.random.default_rng(dim)
    x = rng.uniform(-2, 2, (30, dim)).astype(dtype)
    y, e = random_complex(rng, (20, dim)), random_complex(rng, (30, dim))
    pairs, cotangent = as_reals(y).astype(dtype), as_reals(e).astype(dtype)
    aliases = [f"x = Vi({dim})", f"y = Vj({2 * dim})"]
    turned = Genred("ComplexMult(ComplexExp1j(x), y)", aliases, "Sum", axis=1)
    expected = np.real(np.conj(e) * 1j * np.exp(1j * x) * y.sum(0))
    assert_close(turned.grad("x")(x, pairs, cotangent), expected, dtype)
    in_y = turned.grad("y")(x, pairs, cotangent)
    assert_close(as_complex(in_y), np.tile((e * np.exp(-1j * x)).sum(0), (20, 1)), dtype)
    divided = Genred("ComplexDivide(Real2Complex(x), y)", aliases, "Sum", axis=1)
    assert_close(divided.grad("x")(x, pairs, cotangent), np.real(np.conj(e) * (1 / y).sum(0)), dtype)
    # Forward mode in direction 1.
    direction = divided.jvp(x, pairs, tangents={"x": np.ones_like(x)})
    assert_close(as_complex(direction), np.tile((1 / y).sum(0), (30, 1)), dtype)


def test_gradient_of_a_kernel_of_complex_points(dtype: str) -> None:
    """A holomorphic kernel: the derivative of sum_j exp(z_i w_j) b_j is sum_j w_j exp(z_i w_j) b_j."""
    rng = np.random.default_rng(5)
    z, w, b = (random_complex(rng, (n, 1)) for n in (25, 30, 30))
    routine = Genred("ComplexMult(ComplexExp(ComplexMult(z, w)), b)", ["z = Vi(2)", "w = Vj(2)", "b = Vj(2)"], "Sum", 1)
    arrays = [as_reals(v).astype(dtype) for v in (z, w, b)]
    dense = np.exp(z * w.T) * b.T
    assert_close(as_complex(routine(*arrays)), dense.sum(1, keepdims=True), dtype)
    slope = (w.T * dense).sum(1, keepdims=True)
    for cotangent, expected in ((1 + 0j, np.conj(slope)), (1j, 1j * np.conj(slope))):
        e = np.tile(as_reals(np.array([cotangent])), (25, 1)).astype(dtype)
        assert_close(as_complex(routine.grad("z")(*arrays, e)), expected, dtype)


def test_modulus_has_slope_0_at_0(dtype: str) -> None:
    z = np.array([[0, 0, 3, -4]], dtype)
    routine = Genred("ComplexAbs(z)", ["z = Vi(4)"], "Sum", axis=1)
    assert routine(z).tolist() == [[0, 5]]
    found = routine.grad("z")(z, np.ones((1, 2), dtype))
    np.testing.assert_allclose(found, [[0, 0, 0.6, -0.8]], rtol=1e-6)


# --- the range of numbers, and cuts


def test_quotients_and_roots_do_not_overflow_on_the_way(dtype: str) -> None:
    info = np.finfo(dtype)
    sizes = np.array([float(info.tiny) * 8, 1e-30, 1e-20, 1.0, 1e20, 1e30, float(info.max) / 8]).astype(dtype)
    w = (sizes[:, None] * np.exp(1j * np.linspace(-3, 3, 7))).reshape(-1, 1).astype(np.complex128)
    w = as_complex(as_reals(w).astype(dtype).astype(float))
    eps = TOLERANCE[dtype]
    formulas = ["ComplexDivide(f, g)", "ComplexInv(g)", "ComplexSqrt(g)"]
    near, inverse, root = (as_complex(v) for v in on_device(formulas, dtype, as_reals(w * (1 + 2j)), as_reals(w)))
    np.testing.assert_allclose(near, np.full_like(w, 1 + 2j), rtol=eps)
    np.testing.assert_allclose(inverse, 1 / w, rtol=eps, atol=4 * float(info.tiny))
    np.testing.assert_allclose(root, np.sqrt(w), rtol=eps)
    # The slope of 1 / w as well: -1 / w^2, where that is a number of this precision.
    middle = (abs(w) > 1e-15) & (abs(w) < 1e15)
    assert middle.any()
    slope = Genred("ComplexInv(w)", ["w = Vi(2)"], "Sum", axis=1).grad("w")
    ones = np.tile(np.array([1, 0], dtype), (len(w), 1))
    found = as_complex(slope(as_reals(w).astype(dtype), ones))
    np.testing.assert_allclose(found[middle], np.conj(-1 / w[middle] ** 2), rtol=eps)


def test_cuts_are_on_the_negative_real_axis(dtype: str) -> None:
    tiny = 1e-30
    z = np.array([[-4, 0], [-4, tiny], [-4, -tiny], [4, 0], [4, -tiny], [0, 4], [0, -4], [tiny, 4], [-tiny, 4]])
    root, logarithm = on_device(["ComplexSqrt(f)", "ComplexLog(f)"], dtype, z)
    expected = [[0, 2], [0, 2], [0, -2], [2, 0], [2, 0], *([[2**0.5, s * 2**0.5] for s in (1, -1, 1, 1)])]
    np.testing.assert_allclose(root, expected, rtol=1e-6, atol=1e-20)
    half = np.pi / 2
    np.testing.assert_allclose(
        logarithm[:, 1], [np.pi, np.pi, -np.pi, 0, 0, half, -half, half, half], rtol=1e-6, atol=1e-20
    )


def test_slope_of_the_root_on_the_imaginary_axis(dtype: str) -> None:
    """Where the formula changes its rule the root is smooth: its derivative is 1 / (2 root)."""
    z = np.array([[0, 2], [0, -2], [-3, 4], [-3, -4], [5, 12]], float)
    for direction in (1, 1j):
        e = np.tile(as_reals(np.array([direction])), (len(z), 1)).astype(dtype)
        found = Genred("ComplexSqrt(z)", ["z = Vi(2)"], "Sum", axis=1).grad("z")(z.astype(dtype), e)
        expected = direction * np.conj(1 / (2 * np.sqrt(as_complex(z))))
        np.testing.assert_allclose(as_complex(found), expected, rtol=TOLERANCE[dtype])


# --- kernels


def pair_loop(formula: str, *aliases: str, slot: int | None = None, unroll: int = 4) -> str:
    """The loop over columns, two of them at a time, of a kernel for one row of 8 lanes."""
    program = Genred(formula, aliases, "Sum", axis=1).program
    if slot is not None:
        (gradient,) = program.vjp([slot])
        program = gradient.program
    schedule = Schedule(lanes=8, rows=1, cols=2, unroll=unroll)
    source = render(lower(program, "float", schedule, DeviceFacts()).pair)
    return source[source.index("long j = tile_begin") : source.index("for (; j < tile_end")]


@pytest.mark.parametrize("n", [1, 2, 10])
@pytest.mark.parametrize("slot", [None, 0])
def test_a_product_loads_each_part_once_and_multiplies_four_times(n: int, slot: int | None) -> None:
    extra = [] if slot is None else [f"e = Vi({2 * n})"]
    loop = pair_loop("ComplexMult(z, w)", f"z = Vi({2 * n})", f"w = Vj({2 * n})", *extra, slot=slot)
    turns = n if n <= 2 else 1  # what is written out; longer vectors are loops of one complex number a turn
    assert len(re.findall(r"= v\d_j\[", loop)) == 2 * 2 * turns, loop
    # Both parts of both columns; products of indices stand in brackets.
    assert len(re.findall(r"\bt\d+ \* t\d+", loop)) == 2 * 4 * turns, loop
    assert "?" not in loop
    assert "%" not in loop


def test_a_sum_over_the_parts_of_long_vectors_takes_them_in_pairs() -> None:
    for formula in ("Sum(ComplexMult(z, w))", "SqNorm2(ComplexMult(z, w))", "ComplexSum(ComplexMult(z, w))"):
        loop = pair_loop(formula, "z = Vi(20)", "w = Vj(20)")
        assert "?" not in loop
        assert "%" not in loop
    assert "% 2" in pair_loop("Sum(ComplexMult(z, w) | Concat(a, a))", "z = Vi(6)", "w = Vj(6)", "a = Vj(3)")


def test_loops_over_a_concatenation_are_cut_where_a_reduction_reads_it() -> None:
    loop = pair_loop("Concat(x * y, y)", "x = Vi(10)", "y = Vj(10)")
    assert "?" not in loop
    assert re.findall(r"= (\d+); k\d+ < (\d+)", loop) == [("0", "10"), ("10", "20")]


def test_indices_see_through_multiples() -> None:
    k = make_index("k", 0, 9)
    assert [(k * 2 + n) % 2 for n in range(4)] == [0, 1, 0, 1]
    assert [((k * 2 + n) // 2).text for n in range(3)] == ["k", "k", "(k + 1)"]
    assert ((k * 6 + 5) // 3).text == "(k * 2 + 1)"
    assert (k - 3 + 3) == k
    assert (k * 0) == 0
    for factor, shift, divisor in ((2, 1, 2), (6, 5, 3), (4, 7, 2), (3, 1, 2)):
        position = k * factor + shift
        for name, value in (("//", position // divisor), ("%", position % divisor)):
            for number in range(10):
                expected = eval(f"({number} * {factor} + {shift}) {name} {divisor}")
                found = value if isinstance(value, int) else eval(value.text.replace("/", "//"), {"k": number})
                assert found == expected


def test_what_takes_parts_apart_and_joins_them_is_simplified() -> None:
    a, b, z = variable("a", 3, Domain.I), variable("b", 3, Domain.I), variable("z", 6, Domain.I)
    joined = permute(concat(a, b), (2, 3), (1, 0))
    assert simplify([permute(joined, (3, 2), (1, 0))]) == (concat(a, b),)
    assert simplify([FUNCTIONS["ComplexImag"].build(joined)]) == (b,)
    assert simplify([permute(z, (1, 6), (1, 0))]) == (z,)
    assert simplify([permute(permute(z, (1, 2, 3), (0, 2, 1)), (1, 3, 2), (2, 0, 1))]) == (z,)
    assert simplify([pad(a, 0, 6) + pad(b, 3, 6), pad(b, 3, 6) + pad(a, 0, 6)]) == (concat(a, b),) * 2
    for kept in (pad(a, 0, 7) + pad(b, 3, 7), pad(a, 0, 5) + pad(b, 2, 5), pad(a, 1, 7) + pad(b, 4, 7)):
        assert simplify([kept]) == (kept,)
    program, _ = map_reduce([FUNCTIONS["ComplexMult"].build(z, variable("w", 6, Domain.J))], "Sum")
    (gradient,) = program.vjp([0])
    assert {node.op.name for node in _nodes(gradient.program.values[0])} & {"pad"} == set()


def _nodes(f: Any) -> list[Any]:
    from clreduce.ir.expr import topological

    return topological([f])
