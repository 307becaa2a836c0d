"""The start of every kernel: own mathematics within its stated bounds, lanes loaded and stored, masks, indices."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import pytest
from mako.lookup import TemplateLookup

from clreduce.codegen.render import template_directory
from clreduce.runtime.compiler import OPTIONS

# Ulp; the templates state the same ones. (1 / sqrt(x): each of the two may err on a GPU.)
BOUNDS = {
    ("exp", "float"): 2.0, ("exp", "double"): 1.0,
    ("log", "float"): 1.5, ("log", "double"): 1.0,
    ("rsqrt0", "float"): 1.5, ("rsqrt0", "double"): 1.5,
    ("sin", "float"): 2.5, ("sin", "double"): 2.5,
    ("cos", "float"): 2.5, ("cos", "double"): 2.5,
}  # fmt: skip
FUNCTIONS = sorted({name for name, _ in BOUNDS})
TYPES = {"float": np.float32, "double": np.float64}
INDEX = {"float": np.int32, "double": np.int64}
FINER = {"float": np.float64, "double": np.longdouble}
EXP_FLUSH = {"float": 2.0**-125.5, "double": 2.0**-1021.5}  # exp is 0 below
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


def any_floats(dtype: str, count: int) -> Any:
    """Numbers of every magnitude: random bits, hence also subnormals, infinities and nans."""
    bits = np.random.default_rng(1).integers(0, 2 ** (32 if dtype == "float" else 64), count, dtype=np.uint64)
    return bits.astype(np.uint32 if dtype == "float" else np.uint64).view(TYPES[dtype])


def around(values: list[float], dtype: str) -> Any:
    """Each value, the next number below and the next above."""
    v = np.array(values, TYPES[dtype])
    with np.errstate(over="ignore"):
        return np.concatenate([v, np.nextafter(v, -np.inf, dtype=v.dtype), np.nextafter(v, np.inf, dtype=v.dtype)])


@cache
def sample(name: str, dtype: str) -> Any:
    """Arguments: all magnitudes, the interesting interval densely, edges. Not a multiple of any number of lanes."""
    info = np.finfo(TYPES[dtype])
    rng = np.random.default_rng(2)
    count = 2**20 if (name, dtype) == ("exp", "float") else 2**18 if dtype == "float" else 2**16
    edges = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, float(info.tiny), float(info.smallest_subnormal), float(info.max)]
    if name == "exp":
        top, bottom = np.log(float(info.max)), np.log(EXP_FLUSH[dtype])
        dense = [rng.uniform(bottom * 1.2, top * 1.01, count), rng.uniform(-3, 3, count)]
        edges += [top, bottom, float(np.log(info.smallest_subnormal)), -1e30, 1e30]
        edges += [k * np.log(2) / 2 for k in range(-300, 257)]
    elif name == "log":
        dense = [rng.uniform(0.3, 3, count), 1 + rng.uniform(-0.01, 0.01, count)]
        dense += [float(info.tiny) * rng.uniform(0, 2, count)]
        edges += [2.0**0.5, 0.5**0.5]
    elif name == "rsqrt0":
        dense = [rng.uniform(0.25, 4, count)]
    else:
        limit = SIN_LIMIT[dtype]
        dense = [rng.uniform(-limit, limit, count), rng.uniform(-7, 7, count)]
        edges += [limit, -limit, *(k * np.pi / 2 for k in range(-2000, 2000)), 1e5, 1e15, 3e38]
    with np.errstate(invalid="ignore"):  # signalling nans among the random bits
        x = np.concatenate([any_floats(dtype, count), *dense, around(edges, dtype)]).astype(TYPES[dtype])
    return x if len(x) % 2 else x[:-1]


@cache
def reference(name: str, dtype: str) -> Any:
    with np.errstate(all="ignore"):
        x = sample(name, dtype).astype(FINER[dtype])
        if name == "rsqrt0":
            return np.where(x == 0, 0, 1 / np.sqrt(x))
        return getattr(np, name)(x)


def ulp_errors(got: Any, wanted: Any, dtype: str) -> Any:
    """Errors in ulp. Infinity counts as the number that would follow the largest one; nan only equals nan."""
    finer = FINER[dtype]
    last_power = finer(2.0) ** (np.finfo(TYPES[dtype]).maxexp - 1)
    with np.errstate(invalid="ignore"):
        value = np.clip(got.astype(finer), -2 * last_power, 2 * last_power)
        wanted = np.clip(wanted, -2 * last_power, 2 * last_power)
        unit = np.spacing(np.minimum(np.abs(wanted), last_power).astype(TYPES[dtype]))
        errors = np.abs(value - wanted) / unit
    errors[np.isnan(got) & np.isnan(wanted)] = 0
    errors[np.isnan(got) != np.isnan(wanted)] = np.inf
    return errors


def apply(device: Any, name: str, dtype: str, lanes: int, x: Any) -> Any:
    """``name`` of every x, in lanes."""
    body = f"store_lanes(out, 1, {name}_v(load_lanes(in, 1, count)), count);"
    source = prelude(dtype, lanes, name) + (
        "__kernel void f(__global const real *in, __global real *out, long size) {\n"
        f"    long start = (long)get_global_id(0) * {lanes};\n"
        f"    int count = (int)min((long){lanes}, size - start);\n"
        "    in += start;\n"
        "    out += start;\n"
        f"    if (count > 0) {body}\n"
        "}\n"
    )
    out = np.full_like(x, -7)
    launch(device, source, -(-len(x) // lanes), x, out, np.int64(len(x)), group=16)
    return out


@pytest.mark.parametrize("width", ["scalar", "native", "widest"])
@EVERY_DTYPE
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulp(device: Any, name: str, dtype: str, width: str) -> None:
    needs(device, dtype)
    if dtype == "double" and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("no longer floating-point type here to compare double with")
    lanes = {"scalar": 1, "native": 8 if dtype == "float" else 4, "widest": 16}[width]
    x, wanted, bound = sample(name, dtype), reference(name, dtype), BOUNDS[name, dtype]
    got = apply(device, name, dtype, lanes, x)
    if name == "rsqrt0" and device.facts.kind != "cpu":
        bound = 5.0 if dtype == "float" else 2.0
    bounds = np.full(len(x), bound)
    if name in ("sin", "cos"):
        bounds[~(np.abs(x) <= SIN_LIMIT[dtype])] = 4  # what OpenCL grants the built-in
    errors = ulp_errors(got, wanted, dtype)
    if name == "exp":  # documented: too small results are 0
        margin = 1e-4 if dtype == "float" else 1e-12
        assert (got[wanted < EXP_FLUSH[dtype] * (1 - margin)] == 0).all()
        errors[(wanted < EXP_FLUSH[dtype] * (1 + margin)) & (got == 0)] = 0
    worst = int(np.argmax(errors - bounds))
    assert errors[worst] <= bounds[worst], f"{name}({x[worst]!r}) = {got[worst]!r} is {errors[worst]:.3g} ulp off"


@EVERY_DTYPE
@pytest.mark.parametrize("lanes", [1, 16])
@pytest.mark.parametrize(
    ("name", "x", "wanted"),
    [
        ("exp", [0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30], [1, 1, np.inf, 0, np.nan, np.inf, 0]),
        ("log", [1, 0, -0.0, np.inf, -np.inf, np.nan, -1], [0, -np.inf, -np.inf, np.inf, np.nan, np.nan, np.nan]),
        ("rsqrt0", [0, -0.0, 4, np.inf, -1, -np.inf, np.nan], [0, 0, 0.5, 0, np.nan, np.nan, np.nan]),
        ("sin", [0, -0.0, np.inf, -np.inf, np.nan], [0, 0, np.nan, np.nan, np.nan]),
        ("cos", [0, -0.0, np.inf, -np.inf, np.nan], [1, 1, np.nan, np.nan, np.nan]),
    ],
)
def test_edge_values(device: Any, name: str, x: list[float], wanted: list[float], lanes: int, dtype: str) -> None:
    """Exactly; and a lane is the same whatever its neighbours are."""
    needs(device, dtype)
    values = np.array(x, TYPES[dtype])
    np.testing.assert_array_equal(apply(device, name, dtype, lanes, values), np.array(wanted, TYPES[dtype]))
    if name == "exp" and dtype == "double":  # nans that carry a payload (R's NA does) stay nans
        payload = np.array([0x7FF00000000007A2, 0xFFF8000000000801], np.uint64).view(np.float64)
        assert np.isnan(apply(device, name, dtype, lanes, payload)).all()


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
    assert not [call for call in ("fma(", "mad(", "rint(", "ldexp(", "round(", "native_", "convert_") if call in text]
