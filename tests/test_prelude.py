"""The start of every kernel: own mathematics within its stated bounds, lanes loaded and stored, masks, indices."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
from mako.lookup import TemplateLookup
from scipy import special

from clreduce.codegen.render import template_directory
from clreduce.runtime.compiler import OPTIONS

# Ulp; the templates state the same ones. (1 / sqrt(x): each of the two may err on a GPU.)
BOUNDS = {
    ("exp", "float"): 2.0, ("exp", "double"): 1.1,
    ("exp_never_above_1", "float"): 2.0, ("exp_never_above_1", "double"): 1.1,
    ("exp2", "float"): 2.0, ("exp2", "double"): 1.1,
    ("cosh", "float"): 2.5, ("cosh", "double"): 1.5,
    ("expm1", "float"): 2.0, ("expm1", "double"): 2.5,
    ("tanh", "float"): 3.0, ("tanh", "double"): 3.0,
    ("sinh", "float"): 3.0, ("sinh", "double"): 3.0,
    ("log", "float"): 1.5, ("log", "double"): 1.0,
    ("log1p", "float"): 1.5, ("log1p", "double"): 1.0,
    ("log2", "float"): 2.5, ("log2", "double"): 2.5,
    ("log10", "float"): 2.5, ("log10", "double"): 2.5,
    ("softplus", "float"): 3.5, ("softplus", "double"): 2.5,
    ("logaddexp", "float"): 3.5, ("logaddexp", "double"): 2.5,
    ("asinh", "float"): 3.0, ("asinh", "double"): 3.0,
    ("acosh", "float"): 3.0, ("acosh", "double"): 3.0,
    ("atanh", "float"): 3.0, ("atanh", "double"): 3.0,
    ("pow", "float"): 1.5, ("pow", "double"): 2.0,
    ("rsqrt0", "float"): 1.5, ("rsqrt0", "double"): 1.5,
    ("abs", "float"): 0.0, ("abs", "double"): 0.0,
    ("floor", "float"): 0.0, ("floor", "double"): 0.0,
    ("round", "float"): 0.0, ("round", "double"): 0.0,
    ("sin", "float"): 2.5, ("sin", "double"): 2.5,
    ("cos", "float"): 2.5, ("cos", "double"): 2.5,
    ("asin", "float"): 2.5, ("asin", "double"): 2.5,
    ("acos", "float"): 1.5, ("acos", "double"): 1.5,
    ("atan", "float"): 2.0, ("atan", "double"): 2.0,
    ("atan2", "float"): 2.0, ("atan2", "double"): 2.0,
    ("reciprocal_scale", "float"): 0.0, ("reciprocal_scale", "double"): 0.0,
    ("pi_cot", "float"): 4.5, ("pi_cot", "double"): 4.5,
    ("pi_csc", "float"): 3.0, ("pi_csc", "double"): 3.0,
    ("gauss", "float"): 1.5, ("gauss", "double"): 1.5,
    ("erf", "float"): 1.5, ("erf", "double"): 1.5,
    ("erfc", "float"): 4.0, ("erfc", "double"): 4.0,
    ("lgamma", "float"): 4.0, ("lgamma", "double"): 4.0,
    ("digamma", "float"): 8.0, ("digamma", "double"): 8.0,
}  # fmt: skip
FUNCTIONS = sorted({name for name, _ in BOUNDS})
TYPES = {"float": np.float32, "double": np.float64}
INDEX = {"float": np.int32, "double": np.int64}
FINER = {"float": np.float64, "double": np.longdouble}
OF_TWO = ("pow", "atan2", "logaddexp")
EXACTLY = {  # what NumPy has in no finer precision
    "erf": (special.erf, mpmath.erf), "erfc": (special.erfc, mpmath.erfc),
    "lgamma": (lambda x: np.where(x == -np.inf, np.inf, special.gammaln(x)), lambda x: mpmath.loggamma(x).real),
    "digamma": (special.psi, mpmath.digamma),
}  # fmt: skip
FLUSH = {"float": 2.0**-125.5, "double": 2.0**-1021.5}  # exp and what is made of it is 0 below
MAY_FLUSH = {"float": 2.0**-125, "double": 2.0**-1021}  # and with registers as tables here already
SIN_LIMIT = {"float": 1e4, "double": 1e6}  # sin and cos are the built-in ones beyond
EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float", "double"])
EVERY_LANES = pytest.mark.parametrize("lanes", [1, 4, 16])


@cache
def lookup() -> TemplateLookup:
    return TemplateLookup([str(template_directory())], strict_undefined=True)


def prelude(dtype: str, lanes: int, *functions: str) -> str:
    template = lookup().get_template("prelude.cl.mako")
    return str(template.render(dtype=dtype, lanes=lanes, functions=frozenset(functions)))


@cache
def built(device: Any, source: str) -> Any:
    """The kernel ``f`` of ``source``, which compiles without a warning."""
    import pyopencl as cl

    program = cl.Program(device.context, source).build(list(OPTIONS))
    log = program.get_build_info(device.context.devices[0], cl.program_build_info.LOG)
    assert "warning" not in log.lower(), log
    return cl.Kernel(program, "f")


def launch(device: Any, source: str, items: int, *arguments: Any, group: int = 1) -> None:
    """Runs the kernel ``f`` of ``source``; the arrays among its arguments are changed in place."""
    import pyopencl as cl

    flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    buffers = [cl.Buffer(device.context, flags, hostbuf=a) for a in arrays]
    passed = iter(buffers)
    kernel = built(device, source)
    kernel.set_args(*[next(passed) if isinstance(a, np.ndarray) else a for a in arguments])
    cl.enqueue_nd_range_kernel(device.queue, kernel, (-(-items // group) * group,), (group,))
    for array, buffer in zip(arrays, buffers, strict=True):
        cl.enqueue_copy(device.queue, array, buffer)


def needs(device: Any, dtype: str) -> None:
    if dtype == "double" and not device.facts.has_double:
        pytest.skip("this device has no double precision")


# ---------------------------------------------------------------------------------------------------- mathematics


def any_floats(dtype: str, count: int, seed: int = 1) -> Any:
    """Numbers of every magnitude: random bits, hence also subnormals, infinities and nans."""
    bits = np.random.default_rng(seed).integers(0, 2 ** (32 if dtype == "float" else 64), count, dtype=np.uint64)
    return bits.astype(np.uint32 if dtype == "float" else np.uint64).view(TYPES[dtype])


def around(values: list[float], dtype: str) -> Any:
    """Each value, the next number below and the next above."""
    v = np.array(values, TYPES[dtype])
    with np.errstate(over="ignore"):
        return np.concatenate([v, np.nextafter(v, -np.inf, dtype=v.dtype), np.nextafter(v, np.inf, dtype=v.dtype)])


@cache
def sample(name: str, dtype: str) -> tuple[Any, ...]:
    """Arguments: all magnitudes, the interesting intervals densely, edges. Not a multiple of any number of lanes."""
    count = 2**20 if (name, dtype) == ("exp", "float") else 2**18 if dtype == "float" else 2**16
    if name in EXACTLY and dtype == "double":
        count = 2**10
    seeds = range(1, 3 if name in OF_TWO else 2)
    parts = [[any_floats(dtype, count, seed) for seed in seeds]]
    parts += dense_pairs(name, dtype, count) if name in OF_TWO else [[x] for x in dense(name, dtype, count)]
    with np.errstate(invalid="ignore", over="ignore"):  # signalling nans among the random bits
        columns = [np.concatenate(column).astype(TYPES[dtype]) for column in zip(*parts, strict=True)]
    if name == "exp_never_above_1":
        columns = [np.where(column > 0, -column, column) for column in columns]
    odd = len(columns[0]) - (1 - len(columns[0]) % 2)
    return tuple(column[:odd] for column in columns)


def dense(name: str, dtype: str, count: int) -> list[Any]:
    """Where a function of one argument changes its rule, and where most of its error is made."""
    info = np.finfo(TYPES[dtype])
    rng = np.random.default_rng(2)
    edges = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, float(info.tiny), float(info.smallest_subnormal), float(info.max)]
    top, bottom = np.log(float(info.max)), np.log(FLUSH[dtype])
    if name in ("exp", "exp_never_above_1"):
        intervals = [(bottom * 1.2, top * 1.01), (-3, 3)]
        edges += [top, bottom, float(np.log(info.smallest_subnormal)), -1e30, 1e30]
        edges += [k * np.log(2) / 2 for k in range(-300, 257)]
    elif name == "expm1":
        intervals = [(-40, top * 1.01), (-1.1, 1.1), (-0.01, 0.01)]
        edges += [top, -20, -40, -1e30, 1e30, *(k * np.log(2) / 2 for k in range(-80, 257))]
    elif name == "exp2":
        intervals = [(info.minexp * 1.01, info.maxexp * 1.01), (-3, 3)]
        edges += [info.minexp - 0.5, info.maxexp, -1e30, 1e30, *(k / 2 for k in range(-300, 257))]
    elif name in ("sinh", "cosh"):
        intervals = [(-top * 1.01, top * 1.01), (-1.1, 1.1), (-0.01, 0.01)]
        edges += [top, top + np.log(2), -1e30, 1e30, *(k * np.log(2) / 2 for k in range(-257, 257))]
    elif name == "softplus":
        intervals = [(bottom * 1.1, 100), (-3, 3)]
        edges += [bottom, -1e30, 1e30]
    elif name == "gauss":
        limit = np.sqrt(-bottom)
        intervals = [(-limit * 1.05, limit * 1.05), (-2, 2)]
        edges += [limit, 1e30, *(np.sqrt(k * np.log(2) / 2) for k in range(257))]
    elif name in ("erf", "erfc"):
        limit = np.sqrt(-bottom)
        intervals = [(-4, 4), (-1.1, 1.1), (0.9, limit * 1.05), (-0.01, 0.01)]
        edges += [limit, -limit, -1e30, 1e30]
    elif name == "lgamma":
        intervals = [(-0.6, 9), (-6, 0), (0.9, 2.1), (-100, 1000)]
        edges += [k / 2 for k in range(-40, 40)]
    elif name == "digamma":
        intervals = [(-0.1, 10), (-6, 0), (1.4, 1.5), (-100, 1000)]
        edges += [k / 2 for k in range(-40, 40)]
    elif name in ("pi_cot", "pi_csc"):
        intervals = [(-1, 1), (-100, 100), (0.4, 0.6), (-0.01, 0.01)]
        edges += [k / 4 for k in range(-40, 40)]
    elif name == "asinh":
        intervals = [(-3, 3), (-0.1, 0.1), (-100, 100)]
        edges += [2.0**k for k in range(-70, 70)]
    elif name == "acosh":
        intervals = [(1, 3), (1, 1.01), (1, 100)]
        edges += [2.0**k for k in range(70)]
    elif name == "atanh":
        intervals = [(-1, 1), (-0.01, 0.01), (0.9, 1), (0.45, 0.55)]
        edges += [0.5, -0.5]
    elif name == "tanh":
        intervals = [(-22, 22), (-1, 1), (-0.1, 0.1)]
        edges += [10, 20, -1e30, 1e30, *(k * np.log(2) / 4 for k in range(-80, 80))]
    elif name in ("log", "log2", "log10"):
        intervals = [(0.3, 3), (0.99, 1.01), (0, 2 * float(info.tiny))]
        edges += [2.0**0.5, 0.5**0.5, *(2.0**k for k in range(-60, 60)), *(10.0**k for k in range(-30, 30))]
    elif name == "log1p":
        intervals = [(-1, 3), (-0.3, 0.42), (-0.01, 0.01)]
        edges += [2.0**0.5 - 1, 0.5**0.5 - 1, *(2.0**k for k in range(-60, 60))]
    elif name in ("abs", "floor", "round"):
        last = 2.0 ** (info.nmant + 1)
        intervals = [(-10, 10), (-last, last), (-last / 4, last / 4)]
        edges += [k / 2 for k in range(-20, 20)] + [last / k for k in (1, 2, 4, -1, -2, -4)]
    elif name in ("asin", "acos"):
        intervals = [(-1, 1), (0.49, 0.51), (0.99, 1), (-1, -0.99), (0.83, 0.85)]
        edges += [0.5, -0.5]
    elif name == "atan":
        intervals = [(-3, 3), (0.9, 1.1), (-100, 100)]
    elif name in ("rsqrt0", "reciprocal_scale"):
        intervals = [(0.25, 4)]
        edges += [2.0**k for k in range(info.minexp, info.maxexp)]
    else:
        limit = SIN_LIMIT[dtype]
        intervals = [(-limit, limit), (-7, 7)]
        edges += [limit, -limit, *(k * np.pi / 2 for k in range(-2000, 2000)), 1e5, 1e15, 3e38]
    return [*(rng.uniform(low, high, count) for low, high in intervals), around(edges, dtype)]


def dense_pairs(name: str, dtype: str, count: int) -> list[Any]:
    """The same for a function of two arguments."""
    info = np.finfo(TYPES[dtype])
    rng = np.random.default_rng(3)
    corners = [0.0, 1.0, 0.5, 2.0, 3.0, 2.5, np.inf, float(info.max), float(info.tiny), float(info.smallest_subnormal)]
    corners += [2.0 ** (info.nmant + k) + odd for k in (-1, 0, 1, 2) for odd in (-1, 0, 1)]
    near = around([*corners, *(-x for x in corners), np.nan], dtype)
    pairs = [[v.ravel() for v in np.meshgrid(near, near)]]
    if name == "atan2":
        pairs += [[rng.uniform(-3, 3, count), rng.uniform(-3, 3, count)]]
        magnitudes = [np.exp(rng.uniform(-40, 40, count)) * rng.choice([-1, 1], count) for _ in range(2)]
        return [*pairs, magnitudes]
    if name == "logaddexp":
        for width in (2, 30, 300):
            x = rng.uniform(-width, width, count)
            pairs += [[x, rng.uniform(-width, width, count)], [x, x + rng.uniform(-1, 1, count)]]
        return pairs
    for low, high in ((0, 5), (0.5, 2), (0.7, 0.72), (1.4, 1.42), (0.999, 1.001)):  # results of every magnitude
        x = rng.uniform(low, high, count).astype(TYPES[dtype]).astype(float)
        with np.errstate(all="ignore"):
            pairs += [[x, rng.uniform(-1.01, 1.01, count) * info.maxexp / np.log2(x)]]
    pairs += [[np.exp(rng.uniform(-40, 40, count)), rng.uniform(-1.3, 1.3, count)]]
    return [*pairs, [rng.integers(-30, 30, count).astype(float), rng.integers(-20, 20, count).astype(float)]]


@cache
def reference(name: str, dtype: str) -> Any:
    with np.errstate(all="ignore"):
        x, *others = (column.astype(FINER[dtype]) for column in sample(name, dtype))
        if name in EXACTLY:
            return exactly(name, x, dtype)
        if name == "rsqrt0":
            return np.where(x == 0, 0, 1 / np.sqrt(x))
        if name == "reciprocal_scale":
            info = np.finfo(TYPES[dtype])
            _, exponent = np.frexp(np.where(np.isfinite(x), x, info.max))
            exponent = np.where(x == 0, info.minexp, exponent)
            scale = np.ldexp(np.ones_like(x), np.clip(1 - exponent, info.minexp, info.maxexp - 1))
            return np.where(np.isfinite(x), scale, info.tiny)
        if name == "gauss":
            return np.exp(-x * x)
        if name == "softplus":
            return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
        if name in ("pi_cot", "pi_csc"):
            pi = FINER[dtype]("3.14159265358979323846264338327950288")
            f = x - np.round(x)
            sine = np.sin(pi * np.abs(f))
            return pi / sine if name == "pi_csc" else np.copysign(pi * np.sin(pi * (0.5 - np.abs(f))) / sine, f)
        if name == "round":
            return np.where(np.abs(x - np.trunc(x)) >= 0.5, np.trunc(x) + np.sign(x), np.trunc(x))
        inverse = {f"a{f}": f"arc{f}" for f in ("sin", "cos", "tan", "tan2", "sinh", "cosh", "tanh")}
        return getattr(np, {"pow": "power", "exp_never_above_1": "exp", **inverse}.get(name, name))(x, *others)


def exactly(name: str, x: Any, dtype: str) -> Any:
    """What NumPy has in no finer precision: by SciPy, whose double precision is finer than float, or digit by digit."""
    by_scipy, by_mpmath = EXACTLY[name]
    result = by_scipy(x.astype(np.float64)).astype(x.dtype)
    if dtype == "float":
        return result
    with mpmath.workdps(40):
        # Where erf is 1, erfc 0 or 2, and at poles, SciPy's value is exact.
        ordinary = np.abs(x) < 100 if "erf" in name else np.isfinite(x) & ((x > 0) | (x != np.floor(x)))
        for k in np.flatnonzero(ordinary & (x != 0)):
            result[k] = x.dtype.type(mpmath.nstr(by_mpmath(mpmath.mpf(float(x[k]))), 25))
    return result


def compared_with(name: str, columns: tuple[Any, ...]) -> Any:
    """Near a zero of the result: the size of what it is the difference of. Errors are relative to the larger."""
    x = columns[0].astype(np.float64)
    with np.errstate(all="ignore"):
        if name == "logaddexp":
            larger = np.maximum(x, columns[1])
            return np.nan_to_num(np.maximum(np.abs(larger), np.logaddexp(x, columns[1]) - larger))
        if name == "lgamma":
            return np.where(x < -0.5, np.fmax(special.gammaln(-x), 1), 1)
        if name == "digamma":
            return np.where(x < 0, np.fmax(special.psi(1 - x), 1), 1)
    return 0.0


def ulp_errors(got: Any, wanted: Any, dtype: str, at_least: Any = 0.0) -> Any:
    """Errors in ulp of ``wanted``, or of ``at_least`` if that is larger.

    Infinity counts as the number that would follow the largest one; nan only equals nan.
    """
    finer = FINER[dtype]
    last_power = finer(2.0) ** (np.finfo(TYPES[dtype]).maxexp - 1)
    with np.errstate(invalid="ignore"):
        value = np.clip(got.astype(finer), -2 * last_power, 2 * last_power)
        wanted = np.clip(wanted, -2 * last_power, 2 * last_power)
        unit = np.spacing(np.minimum(np.maximum(np.abs(wanted), np.abs(at_least)), last_power).astype(TYPES[dtype]))
        errors = np.abs(value - wanted) / unit
    errors[np.isnan(got) & np.isnan(wanted)] = 0
    errors[np.isnan(got) != np.isnan(wanted)] = np.inf
    return errors


def apply(device: Any, name: str, dtype: str, lanes: int, *columns: Any, before: str = "") -> Any:
    """``name`` of every number, or pair of numbers, in lanes; ``before``: text before that of the kernel."""
    loads = ", ".join(f"load_lanes(in{k} + start, 1, count)" for k in range(len(columns)))
    source = (
        before
        + prelude(dtype, lanes, name)
        + (
            f"__kernel void f({''.join(f'__global const real *in{k}, ' for k in range(len(columns)))}"
            "__global real *out, long size) {\n"
            f"    long start = (long)get_global_id(0) * {lanes};\n"
            f"    int count = (int)min((long){lanes}, size - start);\n"
            f"    if (count > 0) store_lanes(out + start, 1, {name}_v({loads}), count);\n"
            "}\n"
        )
    )
    out = np.full_like(columns[0], -7)
    launch(device, source, -(-len(out) // lanes), *columns, out, np.int64(len(out)), group=16)
    return out


EDGES = {
    "exp": ([0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30], [1, 1, np.inf, 0, np.nan, np.inf, 0]),
    "exp_never_above_1": ([0, -0.0, -np.inf, np.nan, -1e30], [1, 1, 0, np.nan, 0]),
    "log": ([1, 0, -0.0, np.inf, -np.inf, np.nan, -1], [0, -np.inf, -np.inf, np.inf, np.nan, np.nan, np.nan]),
    "rsqrt0": ([0, -0.0, 4, np.inf, -1, -np.inf, np.nan], [0, 0, 0.5, 0, np.nan, np.nan, np.nan]),
    "expm1": ([0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30], [0, 0, np.inf, -1, np.nan, np.inf, -1]),
    "tanh": ([0, -0.0, np.inf, -np.inf, np.nan, 20, -20], [0, 0, 1, -1, np.nan, 1, -1]),
    "log1p": ([0, -0.0, -1, np.inf, -np.inf, np.nan, -1.5], [0, 0, -np.inf, np.inf, np.nan, np.nan, np.nan]),
    "exp2": ([0, 1, -3, 10, np.inf, -np.inf, np.nan, 1e30, -1e30], [1, 2, 0.125, 1024, np.inf, 0, np.nan, np.inf, 0]),
    "log2": ([1, 0.25, 1024, 0, np.inf, np.nan, -1], [0, -2, 10, -np.inf, np.inf, np.nan, np.nan]),
    "log10": ([1, 0, -0.0, np.inf, np.nan, -1], [0, -np.inf, -np.inf, np.inf, np.nan, np.nan]),
    "softplus": ([np.inf, -np.inf, np.nan, 1e30, -1e30], [np.inf, 0, np.nan, 1e30, 0]),
    "sinh": ([0, -0.0, np.inf, -np.inf, np.nan, 1e30], [0, 0, np.inf, -np.inf, np.nan, np.inf]),
    "cosh": ([0, -0.0, np.inf, -np.inf, np.nan, -1e30], [1, 1, np.inf, np.inf, np.nan, np.inf]),
    "asinh": ([0, -0.0, np.inf, -np.inf, np.nan], [0, 0, np.inf, -np.inf, np.nan]),
    "acosh": ([1, 0.5, -2, np.inf, -np.inf, np.nan], [0, np.nan, np.nan, np.inf, np.nan, np.nan]),
    "atanh": ([0, 1, -1, 1.5, np.inf, np.nan], [0, np.inf, -np.inf, np.nan, np.nan, np.nan]),
    "gauss": ([0, np.inf, -np.inf, np.nan, 1e30], [1, 0, 0, np.nan, 0]),
    "erf": ([0, -0.0, np.inf, -np.inf, np.nan, 10, -30], [0, 0, 1, -1, np.nan, 1, -1]),
    "erfc": ([0, -0.0, np.inf, -np.inf, np.nan, -10, 30], [1, 1, 0, 2, np.nan, 2, 0]),
    "lgamma": ([1, 2, 0, -0.0, -3, np.inf, -np.inf, np.nan], [0, 0, *[np.inf] * 5, np.nan]),
    "digamma": ([0, -0.0, -3, np.inf, -np.inf, np.nan], [-np.inf, np.inf, np.nan, np.inf, np.nan, np.nan]),
    "pi_cot": ([0, -7, 0.5, np.inf, np.nan], [np.inf, np.inf, 0, np.nan, np.nan]),
    "pi_csc": ([0, -7, np.inf, np.nan], [np.inf, np.inf, np.nan, np.nan]),
    "asin": ([0, -0.0, 1.5, -np.inf, np.inf, np.nan], [0, 0, np.nan, np.nan, np.nan, np.nan]),
    "acos": ([1, -2, -np.inf, np.inf, np.nan], [0, np.nan, np.nan, np.nan, np.nan]),
    "atan": ([0, -0.0, np.inf, -np.inf, np.nan], [0, 0, np.pi / 2, -np.pi / 2, np.nan]),
    "floor": ([0, -0.0, -0.5, 2.5, np.inf, -np.inf, np.nan, -1e30], [0, 0, -1, 2, np.inf, -np.inf, np.nan, -1e30]),
    "round": ([0.5, -0.5, 2.5, -1.5, np.inf, -np.inf, np.nan, 1e30], [1, -1, 3, -2, np.inf, -np.inf, np.nan, 1e30]),
    "sin": ([0, -0.0, np.inf, -np.inf, np.nan], [0, 0, np.nan, np.nan, np.nan]),
    "cos": ([0, -0.0, np.inf, -np.inf, np.nan], [1, 1, np.nan, np.nan, np.nan]),
}
"""Arguments and values, to be found exactly."""


def check_edges(device: Any, name: str, dtype: str, lanes: int, before: str = "") -> None:
    """Exactly; and a lane is the same whatever its neighbours are."""
    if name in EDGES:
        x, wanted = (np.array(values, TYPES[dtype]) for values in EDGES[name])
        np.testing.assert_array_equal(apply(device, name, dtype, lanes, x, before=before), wanted)
    if name == "exp" and dtype == "double":  # nans that carry a payload (R's NA does) stay nans
        payload = np.array([0x7FF00000000007A2, 0xFFF8000000000801], np.uint64).view(np.float64)
        assert np.isnan(apply(device, name, dtype, lanes, payload, before=before)).all()


@pytest.mark.parametrize("width", ["scalar", "native", "widest"])
@EVERY_DTYPE
@pytest.mark.parametrize("name", FUNCTIONS)
def test_edges_and_errors_in_ulp(device: Any, name: str, dtype: str, width: str) -> None:
    check(device, name, dtype, {"scalar": 1, "native": 8 if dtype == "float" else 4, "widest": 16}[width])


@pytest.mark.parametrize("without", [("__AVX512F__",), ("__AVX512F__", "__AVX2__")], ids=" ".join)
@EVERY_DTYPE
@pytest.mark.parametrize("name", ["exp", "exp_never_above_1", "exp2"])
def test_exponentials_of_smaller_processors(device: Any, name: str, dtype: str, without: tuple[str, ...]) -> None:
    check(device, name, dtype, 16, before="".join(f"#undef {feature}\n" for feature in without))


def test_a_register_of_doubles_is_a_table(device: Any) -> None:
    check(device, "exp", "double", 8)


def check(device: Any, name: str, dtype: str, lanes: int, before: str = "") -> None:
    """Edges, and errors in ulp."""
    needs(device, dtype)
    check_edges(device, name, dtype, lanes, before)
    if dtype == "double" and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("no longer floating-point type here to compare double with")
    columns, wanted, bound = sample(name, dtype), reference(name, dtype), BOUNDS[name, dtype]
    got = apply(device, name, dtype, lanes, *columns, before=before)
    if device.facts.kind != "cpu" and dtype == "float":  # there a division may err by 2.5 ulp, a root by 3
        more = {"rsqrt0": 3.5, "tanh": 2.5, "asin": 3, "acos": 3, "atan": 2.5, "atan2": 2.5, "sinh": 1.5, "cosh": 1.5}
        more |= {"asinh": 2.5, "acosh": 3, "atanh": 2.5, "erf": 1, "erfc": 2.5, "pi_cot": 2.5, "pi_csc": 2.5}
        bound += (more | {"lgamma": 2.5, "digamma": 4}).get(name, 0)
    bounds = np.full(len(got), bound)
    if name in ("sin", "cos"):
        bounds[~(np.abs(columns[0]) <= SIN_LIMIT[dtype])] = 4  # what OpenCL grants the built-in
    errors = ulp_errors(got, wanted, dtype, compared_with(name, columns))
    if name in ("exp", "exp_never_above_1", "pow", "exp2", "gauss", "softplus", "erfc"):  # too small results are 0
        margin = 1e-4 if dtype == "float" else 1e-12
        assert name == "erfc" or (got[np.abs(wanted) < FLUSH[dtype] * (1 - margin)] == 0).all()
        limit = FLUSH[dtype] * (1 + margin) if name in ("pow", "gauss", "erfc") else MAY_FLUSH[dtype]
        errors[(np.abs(wanted) < limit) & (got == 0)] = 0
    if name == "logaddexp":  # an addend that is too small is 0
        errors[np.isfinite(got) & (np.abs(np.nan_to_num(got) - wanted) < MAY_FLUSH[dtype])] = 0
    worst = int(np.argmax(errors - bounds))
    given = ", ".join(repr(column[worst]) for column in columns)
    assert errors[worst] <= bounds[worst], f"{name}({given}) = {got[worst]!r} is {errors[worst]:.3g} ulp off"
    if name in ("sinh", "tanh", "abs", "floor", "round", "asin", "atan", "atan2", "pow", "asinh", "atanh", "erf"):
        assert (np.signbit(got) == np.signbit(wanted))[~np.isnan(wanted)].all(), "signs of zeros"


# --------------------------------------------------------------------------------------------- lanes, masks, indices


@EVERY_DTYPE
@EVERY_LANES
def test_lanes_past_the_end_repeat_the_last_and_are_not_stored(device: Any, lanes: int, dtype: str) -> None:
    needs(device, dtype)
    source = prelude(dtype, lanes)
    source += """
        __kernel void f(__global real *in, __global real *part, __global real *whole, long stride, int count) {
            realv v = load_lanes(in, stride, count);
            store_lanes(part, stride, v, count);
            store_lanes(whole, 1, v, COUNT);
        }""".replace("COUNT", str(lanes))
    for stride in (1, 3):
        # An index beyond these arrays would be a write out of bounds, which memory checkers see.
        for count in {1, max(1, lanes - 1), lanes, lanes + 5}:
            stored = min(count, lanes)
            data = np.arange(1, 1 + (stored - 1) * stride + 1).astype(TYPES[dtype])
            part = np.full(lanes * stride, -7, TYPES[dtype])
            whole = np.full(lanes, -7, TYPES[dtype])
            launch(device, source, 1, data, part, whole, np.int64(stride), np.int32(count))
            lane = data[::stride]
            wanted = np.full(lanes * stride, -7, TYPES[dtype])
            wanted[: stored * stride : stride] = lane
            np.testing.assert_array_equal(part, wanted)
            np.testing.assert_array_equal(whole, lane[np.minimum(np.arange(lanes), stored - 1)])


@EVERY_DTYPE
@EVERY_LANES
def test_indices_are_saturated_and_none_is_minus_one(device: Any, lanes: int, dtype: str) -> None:
    needs(device, dtype)
    store = "raw[0] = v;" if lanes == 1 else f"vstore{lanes}(v, 0, raw);"
    source = prelude(dtype, lanes)
    source += f"""
        __kernel void f(__global long *in, __global inum *raw, __global long *out, long stride, int count, long base) {{
            inumv v = load_index(in, stride, count, base);
            {store}
            store_index(out, stride, v, count, base);
        }}"""
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    indices = [5, 2**31 + 7, 2**32 + 1, -1, -(2**33), high, low, 107, 2**40, 0, 99, 100, 101, 2**31 + 99, 42, 2**62]
    limits = np.iinfo(INDEX[dtype])
    for base in (0, 100):
        for stride in (1, 2):
            for start in range(0, len(indices), lanes):
                for count in {1, lanes}:
                    chosen = indices[start : start + count]
                    data = np.repeat(np.array(chosen, np.int64), stride)
                    raw = np.full(lanes, -7, INDEX[dtype])
                    out = np.full(lanes * stride, -7, np.int64)
                    launch(device, source, 1, data, raw, out, np.int64(stride), np.int32(count), np.int64(base))
                    lane = [min(max(k - base, int(limits.min)), int(limits.max)) for k in chosen]
                    assert raw.tolist() == [lane[min(k, count - 1)] for k in range(lanes)]
                    wanted = np.full(lanes * stride, -7, np.int64)
                    wanted[: count * stride : stride] = [-1 if k < 0 else k + base for k in lane]
                    assert out.tolist() == wanted.tolist()


@EVERY_DTYPE
@EVERY_LANES
def test_masks(device: Any, lanes: int, dtype: str) -> None:
    """MASKV turns a scalar comparison into a lane mask; ANY sees one lane among many."""
    needs(device, dtype)
    source = prelude(dtype, lanes)
    source += """
        __kernel void f(__global real *x, __global real *y, __global int *any_lane) {
            real a = x[0];
            realv v = load_lanes(x, 1, COUNT);
            realv of_scalar = MASKV(a < 0) ? (realv)(1) : (realv)(2);
            realv of_both = (MASKV(a < 0) | (v < 3)) ? (realv)(1) : (realv)(2);
            store_lanes(y, 1, of_scalar, COUNT);
            store_lanes(y + COUNT, 1, of_both, COUNT);
            any_lane[0] = ANY(MASKV(a < 0)) ? 1 : 0;
            any_lane[1] = ANY(v < 0) ? 1 : 0;
        }""".replace("COUNT", str(lanes))
    for where in (None, 0, lanes - 1):
        x = np.arange(1, lanes + 1).astype(TYPES[dtype])
        if where is not None:
            x[where] = -1
        y, any_lane = np.zeros(2 * lanes, TYPES[dtype]), np.zeros(2, np.int32)
        launch(device, source, 1, x, y, any_lane)
        assert y[:lanes].tolist() == [1 if x[0] < 0 else 2] * lanes
        assert y[lanes:].tolist() == [1 if x[0] < 0 or k < 3 else 2 for k in x]
        assert any_lane.tolist() == [int(x[0] < 0), int((x < 0).any())]


# ------------------------------------------------------------------------------------------------------------- text


@EVERY_DTYPE
def test_only_the_functions_named_are_written_and_always_alike(dtype: str) -> None:
    assert "exp" not in prelude(dtype, 4)
    text = prelude(dtype, 4, "exp", "log")
    assert text == prelude(dtype, 4, "log", "exp")
    assert [f"{name}_{form}(" in text for name in ("exp", "log", "sin") for form in "vs"] == [True] * 4 + [False] * 2
    assert ("cl_khr_fp64" in text) == (dtype == "double")


@EVERY_DTYPE
def test_a_function_is_written_after_those_that_it_calls(dtype: str) -> None:
    text = prelude(dtype, 4, "digamma", "log")
    definitions = [text.index(f"{dtype}4 {name}_v({dtype}4 x) {{") for name in ("log", "round", "pi_cot", "digamma")]
    assert definitions == sorted(definitions)
    assert text.count(f"{dtype}4 log_v(") == 1


@EVERY_DTYPE
def test_scalars_and_lanes_share_one_text(dtype: str) -> None:
    """So what holds for lanes == 1 above holds for the scalar form beside any lanes."""
    alone, beside = prelude(dtype, 1, "exp"), prelude(dtype, 16, "exp")
    scalar = beside[beside.index(f"{dtype} exp_s(") :]
    assert scalar in alone
    assert scalar.replace("exp_s(", "exp_v(") in alone


@EVERY_DTYPE
@EVERY_LANES
def test_functions_have_no_call_that_would_cost_registers(dtype: str, lanes: int) -> None:
    text = re.sub("//.*", "", prelude(dtype, lanes, *FUNCTIONS))
    # Of masks, to test them: instructions that move bits, and no call. Of indices, to store them: after all loops.
    text = re.sub("convert_u?char|convert_long", "", text)
    calls = ("fma(", "mad(", "rint(", "ldexp(", "round(", "floor(", "fabs(", "native_", "convert_")
    assert not [call for call in calls if call in text]
