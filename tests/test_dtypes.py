"""The dtypes of arguments: NumPy's promotion, integers, complex numbers as pairs, float16 as a storage format."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from oracle import Array

from clreduce.errors import DtypeError, ShapeError
from clreduce.numpy import Genred
from clreduce.runtime.device import Device

pytestmark = pytest.mark.usefixtures("plain_kernels")

M, N = 23, 31
GAUSSIAN = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"], "Sum", axis=1)
EPS = {"float16": 1e-3, "float32": 2e-6, "float64": 1e-13}
NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
           "float16", "float32", "float64")  # fmt: skip


def data(*dtypes: str, seed: int = 0) -> list[Array]:
    """Points x and y and weights b, of these dtypes; integers are 0, 1 and 2."""
    rng = np.random.default_rng(seed)
    arrays = []
    for dtype, shape in zip(dtypes, ((M, 3), (N, 3), (N, 2)), strict=True):
        floats = np.dtype(dtype).kind == "f"
        arrays.append((rng.uniform(-1, 1, shape) if floats else rng.integers(0, 3, shape)).astype(dtype))
    return arrays


def gaussian(*arrays: Array) -> Array:
    x, y, b = (array.astype(np.float64) for array in arrays)
    result: Array = np.exp(-((x[:, None] - y) ** 2).sum(-1)) @ b
    return result


def promoted(*dtypes: str) -> str:
    found = np.result_type(*dtypes)
    return found.name if found.kind == "f" else "float64"


def usable(device: Device, *dtypes: str) -> None:
    if promoted(*dtypes) == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")


def close(found: Any, expected: Array, rtol: float) -> None:
    assert found.shape == expected.shape
    assert np.max(np.abs(found - expected)) <= rtol * max(1.0, np.max(np.abs(expected)))


# --- promotion


@pytest.mark.parametrize("dtype", NUMBERS)
def test_one_dtype(dtype: str, device: Device) -> None:
    usable(device, dtype)
    arrays = data(dtype, dtype, dtype)
    found = GAUSSIAN(*arrays)
    assert found.dtype == promoted(dtype)
    close(found, gaussian(*arrays), EPS[found.dtype.name])


@pytest.mark.parametrize("pair", [pair for pair in product(NUMBERS, NUMBERS[-3:]) if pair[0] != pair[1]])
def test_mixed_dtypes_are_promoted_as_numpy_does(pair: tuple[str, str], device: Device) -> None:
    usable(device, *pair)
    for dtypes in ((*pair, pair[1]), (pair[1], *pair)):
        arrays = data(*dtypes)
        found = GAUSSIAN(*arrays)
        assert found.dtype == promoted(*pair)
        close(found, gaussian(*arrays), EPS[found.dtype.name])


def test_known_promotions(device: Device) -> None:
    usable(device, "float64")
    for dtypes, expected in {
        ("float32", "float64", "float32"): "float64",
        ("int16", "float32", "uint8"): "float32",
        ("int32", "float32", "float32"): "float64",
        ("int64", "int8", "bool"): "float64",
        ("bool", "float16", "int8"): "float16",
        ("int16", "float16", "float16"): "float32",
    }.items():
        assert GAUSSIAN(*data(*dtypes)).dtype == expected


def test_conversion_is_exact(device: Device) -> None:
    usable(device, "float64")
    largest = 2**53 - 1
    total = Genred("x - y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
    found = total(np.array([[largest]]), np.array([[1]], np.uint8))
    assert found.tolist() == [[float(largest - 1)]]


def test_plain_numbers_have_no_dtype(device: Device) -> None:
    scaled = Genred("x * p", ["x = Vi(2)", "p = Pm(2)"], "Sum", axis=1)
    for dtype in ("float16", "float32"):
        x = np.ones((3, 2), dtype)
        for p in ((2, 0.5), [2, 0.5], (np.float64(2), np.float32(0.5))):
            found = scaled(x, p)
            assert found.dtype == dtype
            assert found.tolist() == [[2, 0.5]] * 3
    usable(device, "float64")
    assert scaled(np.ones((3, 2), "float32"), np.array([2, 0.5])).dtype == "float64"
    assert scaled(np.ones((3, 2), "int32"), (2, 0.5)).dtype == "float64"
    assert Genred("p", ["p = Pm(1)"], "Sum", axis=1)(3).tolist() == [[3]]


@pytest.mark.parametrize("dtypes", [("float32", "float64", "float32"), ("int32", "float64", "bool")])
def test_gradients_of_mixed_dtypes(dtypes: tuple[str, str, str], device: Device) -> None:
    usable(device, *dtypes)
    mixed = data(*dtypes)
    exact = [array.astype("float64") for array in mixed]
    rng = np.random.default_rng(1)
    e = rng.uniform(-1, 1, (M, 2))
    moves = {name: rng.uniform(-1, 1, array.shape) for name, array in zip("xyb", exact, strict=True)}
    for found, expected in zip(GAUSSIAN.vjp(*mixed, cotangent=e), GAUSSIAN.vjp(*exact, cotangent=e), strict=True):
        assert found.dtype == "float64"
        close(found, expected, 1e-13)
    close(GAUSSIAN.jvp(*mixed, tangents=moves), GAUSSIAN.jvp(*exact, tangents=moves), 1e-13)
    # What comes beside the arguments may be narrower than they are, but not wider.
    narrow = GAUSSIAN.vjp(*mixed, cotangent=e.astype("float32"), wrt="b")[0]
    close(narrow, GAUSSIAN.vjp(*exact, cotangent=e.astype("float32").astype("float64"), wrt="b")[0], 1e-13)
    with pytest.raises(DtypeError, match="cotangent must be float32"):
        GAUSSIAN.vjp(*data("float32", "float32", "float32"), cotangent=e)


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.zeros((M, 3), object), "object"),
        (np.zeros((M, 3), "datetime64[s]"), "datetime64"),
        (np.full((M, 3), "a"), "str"),
        (np.zeros((M, 3), [("f", "f4")]), "void"),
        (np.zeros((M, 3), np.longdouble), np.dtype(np.longdouble).name),
    ],
)
def test_other_dtypes_are_refused(array: Array, named: str) -> None:
    if array.dtype == np.float64:
        pytest.skip("here long double is double")
    x, y, b = data("float64", "float64", "float64")
    with pytest.raises(DtypeError, match=rf"x = Vi\(3\) must be an array of booleans.* got {named}"):
        GAUSSIAN(array, y, b)
    with pytest.raises(DtypeError, match=rf"y = Vj\(3\) must be .* got {named}"):
        GAUSSIAN(x, np.resize(array, (N, 3)), b)


# --- complex numbers

PRODUCT = Genred("ComplexMult(z, w)", ["z = Vi(4)", "w = Vj(4)"], "Sum", axis=1)


def complex_data(dtype: str = "complex128", seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(n, 2)) + 1j * rng.normal(size=(n, 2))).astype(dtype) for n in (M, N)]


@pytest.mark.parametrize(("dtype", "real"), [("complex64", "float32"), ("complex128", "float64")])
def test_complex_arrays_are_pairs_of_reals(dtype: str, real: str, device: Device) -> None:
    usable(device, real)
    z, w = complex_data(dtype)
    found = PRODUCT(z, w)
    assert found.dtype == real
    close(found.view(dtype), z * w.sum(0), EPS[real])
    np.testing.assert_array_equal(PRODUCT(z.view(real), w), found)
    np.testing.assert_array_equal(PRODUCT(z.view(real), w.view(real)), found)
    for strided in (
        np.asfortranarray(z),
        np.repeat(z, 2, axis=0)[::2],
        z[::-1][::-1],
        z.astype(z.dtype.newbyteorder()),
    ):
        np.testing.assert_array_equal(PRODUCT(strided, w), found)


def test_complex_and_real_dtypes_are_promoted_together(device: Device) -> None:
    usable(device, "float64")
    z, w = complex_data("complex64")
    exact = (z.astype("complex128") * w.astype("complex128").sum(0)).view("float64")
    for other in (w.astype("complex128"), w.view("float32").astype("float64")):
        found = PRODUCT(z, other)
        assert found.dtype == "float64"
        close(found, exact, 1e-13)
    assert PRODUCT(z, np.ones((N, 4), "int8")).dtype == "float32"
    assert PRODUCT(z, np.ones((N, 4), "int32")).dtype == "float64"
    assert PRODUCT(z, np.ones((N, 4), "float16")).dtype == "float32"


def test_complex_parameters(device: Device) -> None:
    turned = Genred("ComplexMult(z, p)", ["z = Vi(4)", "p = Pm(2)"], "Sum", axis=1)
    z, _ = complex_data("complex64")
    expected = z * (2 - 1j)
    for p in (2 - 1j, np.complex128(2 - 1j), (2, -1), np.array([2 - 1j], "complex64"), np.array(2 - 1j, "complex64")):
        found = turned(z, p)
        assert found.dtype == "float32"
        close(found.view("complex64"), expected, EPS["float32"])


def test_complex_batches(device: Device) -> None:
    z, w = complex_data("complex64")
    batch = np.stack([z, 2 * z, z.conj()])
    found = PRODUCT(batch, w)
    assert found.shape == (3, M, 4)
    close(found.view("complex64"), batch * w.sum(0), EPS["float32"])


def test_gradients_in_complex_arguments_are_complex(device: Device) -> None:
    """Of the shape of the argument: derivatives in re and im, as one complex number."""
    z, w = complex_data("complex64")
    e = complex_data("complex64", seed=1)[0]
    in_z, in_w = PRODUCT.vjp(z, w, cotangent=e)
    assert (in_z.dtype, in_z.shape, in_w.shape) == (np.complex64, z.shape, w.shape)
    close(in_z, e * np.conj(w.sum(0)), EPS["float32"])
    close(in_w, np.tile((e * np.conj(z)).sum(0), (N, 1)), EPS["float32"])
    as_reals = PRODUCT.vjp(z.view("float32"), w, cotangent=e.view("float32"))
    np.testing.assert_array_equal(as_reals[0].view("complex64"), in_z)
    np.testing.assert_array_equal(as_reals[1], in_w)
    dz = complex_data("complex64", seed=2)[0]
    close(PRODUCT.jvp(z, w, tangents={"z": dz}).view("complex64"), dz * w.sum(0), EPS["float32"])
    (second,) = PRODUCT.hvp(z, w, cotangent=e, tangents={"z": dz}, wrt="w")
    close(second, np.tile((e * np.conj(dz)).sum(0), (N, 1)), EPS["float32"])
    turned = Genred("ComplexMult(z, p)", ["z = Vi(4)", "p = Pm(2)"], "Sum", axis=1)
    (in_p,) = turned.vjp(z, 2 - 1j, cotangent=e, wrt="p")
    assert in_p.shape == ()
    close(in_p, np.asarray((e * np.conj(z)).sum()), EPS["float32"])


def test_complex_columns_that_do_not_fit() -> None:
    z, w = complex_data()
    with pytest.raises(
        ShapeError, match=r"takes 4 real numbers; got a complex array of shape \(23, 4\), .*: declare Vi\(8\)"
    ):
        PRODUCT(np.concatenate([z, z], 1), w)
    with pytest.raises(ShapeError, match=r"4 columns; got an array of shape \(23, 2\)"):
        PRODUCT(z.real, w)
    with pytest.raises(ShapeError, match=r"takes 3 real numbers; got a complex array .*: declare Vi\(4\)"):
        GAUSSIAN(z, *data("float64", "float64", "float64")[1:])
    with pytest.raises(ShapeError, match=r"cotangent must have shape \(23, 4\)"):
        PRODUCT.vjp(z, w, cotangent=z.real)
    with pytest.raises(DtypeError, match="cotangent must be float32"):
        PRODUCT.vjp(z.astype("complex64"), w.astype("complex64"), cotangent=z)


# --- float16

HALF = ("float16",) * 3


def test_float16_is_computed_in_float32(device: Device) -> None:
    """The result is that of float32, rounded once: a sum of many terms loses no digits on the way."""
    arrays = data(*HALF)
    found = GAUSSIAN(*arrays)
    wide = GAUSSIAN(*(array.astype("float32") for array in arrays))
    np.testing.assert_array_equal(found, wide.astype("float16"))
    many = Genred("y + x", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
    x, y = np.zeros((1, 1), "float16"), np.full((20_000, 1), 0.1, "float16")
    assert many(x, y)[0, 0] == np.float16(20_000 * float(y[0, 0]))


def test_float16_overflows_to_infinity(device: Device) -> None:
    x = np.full((2, 1), 300, "float16")
    squares = Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
    assert squares(x, x).tolist() == [[np.inf]] * 2
    assert squares(x, -x).tolist() == [[-np.inf]] * 2
    # A sum whose terms are too large for float16 and whose result is not.
    assert squares(x[:1], np.array([[300], [-299]], "float16")).tolist() == [[300]]
    assert squares.grad("x")(x, x, x).tolist() == [[np.inf]] * 2


@pytest.mark.parametrize("reduction", ["LogSumExp", "Min", "ArgMin", "KMin_ArgKMin"])
def test_float16_in_all_reductions(reduction: str, device: Device) -> None:
    options = {"opt_arg": 3} if reduction.startswith("K") else {}
    routine = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], reduction, axis=1, **options)
    x, y, _ = data(*HALF)
    found, wide = routine(x, y), routine(x.astype("float32"), y.astype("float32"))
    pairs = zip(found, wide, strict=True) if isinstance(found, tuple) else [(found, wide)]
    for one, other in pairs:
        assert one.dtype == ("int64" if other.dtype == np.int64 else "float16")
        np.testing.assert_array_equal(one, other if other.dtype == np.int64 else other.astype("float16"))


def test_float16_gradients(device: Device) -> None:
    arrays = data(*HALF)
    wide = [array.astype("float32") for array in arrays]
    e = np.random.default_rng(1).uniform(-1, 1, (M, 2)).astype("float16")
    for found, expected in zip(GAUSSIAN.vjp(*arrays, cotangent=e), GAUSSIAN.vjp(*wide, cotangent=e), strict=True):
        assert found.dtype == "float16"
        np.testing.assert_array_equal(found, expected.astype("float16"))
    move = np.ones((M, 3), "float16")
    found = GAUSSIAN.jvp(*arrays, tangents={"x": move})
    assert found.dtype == "float16"
    np.testing.assert_array_equal(found, GAUSSIAN.jvp(*wide, tangents={"x": move}).astype("float16"))


def test_float16_derivatives_of_log_sum_exp_do_not_start_from_a_rounded_result(device: Device) -> None:
    routine = Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], "LogSumExp", axis=1)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(5, 9, (M, 1)).astype("float16"), rng.uniform(5, 9, (N, 1)).astype("float16")
    dense = x.astype(float) * y.astype(float).T
    weights = np.exp(dense - dense.max(1, keepdims=True))
    expected = (weights @ y.astype(float)) / weights.sum(1, keepdims=True)
    ones = np.ones((M, 1), "float16")
    for options in ({}, {"output": routine(x, y)}):
        close(routine.grad("x")(x, y, ones, **options), expected, EPS["float16"])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_out(dtype: str, device: Device) -> None:
    arrays = data(dtype, dtype, dtype)
    for out in (np.empty((M, 2), dtype), np.empty((M, 4), dtype)[:, ::2]):
        assert GAUSSIAN(*arrays, out=out) is out
        np.testing.assert_array_equal(out, GAUSSIAN(*arrays))
    for other in ("float64", "float16" if dtype == "float32" else "float32"):
        with pytest.raises(DtypeError, match=f"out must be {dtype}, the dtype of the result; got {other}"):
            GAUSSIAN(*arrays, out=np.empty((M, 2), other))


def test_out_of_mixed_dtypes(device: Device) -> None:
    usable(device, "float64")
    arrays = data("float32", "float64", "float32")
    out = np.empty((M, 2))
    assert GAUSSIAN(*arrays, out=out) is out
    close(out, gaussian(*arrays), 1e-13)
