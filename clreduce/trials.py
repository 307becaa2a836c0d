"""Tiny programs with known results, which test a driver before its first use (see `clreduce.runtime.selftest`).

Each check runs kernels of the default schedule, so it tests what calls would use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import numpy as np

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.schedule import LOCAL, Schedule, choose_schedule
from clreduce.domain import Domain
from clreduce.errors import CompileError, DeviceError
from clreduce.ir.op import position, variable
from clreduce.ops.compare import less, where
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp, log
from clreduce.ops.hardware import NATIVE, NativeFunction
from clreduce.ops.trigonometry import sin
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.bindings import without_caches
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature
from clreduce.runtime.selftest import NATIVE_FUNCTIONS
from clreduce.runtime.survey import survey

Report = Callable[[dict[str, Any]], None]
_ROWS, _COLUMNS = 37, 301
"""The sizes of the data: not multiples of any block of a schedule, and with more columns than a tile."""
_MANTISSAS = 200
_SMALLEST, _LARGEST = 2.0**-126, 2.0**127
_ROUNDINGS = 100
"""The largest error of a right result, in units of the rounding error of its dtype."""


@dataclass(frozen=True)
class TrialCheck:
    """A program on one path through the library, whose results are compared with NumPy's."""

    name: str
    program: MapReduce
    dtype: str
    changes: dict[str, Any]
    """Changed fields of the default schedule."""
    facts: dict[str, Any]
    """Facts that are switched off in this check, because later checks are about them."""


def checks_for(facts: DeviceFacts) -> Iterator[TrialCheck]:
    """The checks of a device, the simplest one first. A check relies on the earlier ones.

    >>> [check.name for check in checks_for(DeviceFacts(has_double=False))]
    ['float32', 'float32 nearest', 'mapped arrays', 'local memory']
    """
    copies = {"maps_memory": False, "shares_addresses": False}
    yield TrialCheck("float32", _sum(), "float32", {"split": 3}, copies)
    yield TrialCheck("float32 nearest", _nearest(), "float32", {}, copies)
    if facts.has_double:
        yield TrialCheck("float64", _sum(), "float64", {"split": 3}, copies)
        yield TrialCheck("float64 nearest", _nearest(), "float64", {}, copies)
    if facts.shares_host_memory and facts.maps_memory:
        yield TrialCheck("mapped arrays", _sum(), "float32", {"split": 3}, {"shares_addresses": False})
    if facts.shares_addresses:
        yield TrialCheck("arrays by address", _sum(), "float32", {"split": 3}, {})
    if facts.local_tiles:
        group = min(32, facts.max_group)
        tiled = {"shape": LOCAL, "lanes": 1, "rows": 2, "cols": 2, "group": group, "tile": 64}
        yield TrialCheck("local memory", _sum(), "float32", tiled, copies)


def _sum() -> MapReduce:
    """A sum with an exponential, a stored logarithm, and a mask of indices.

    The sine has a branch that runs if any lane needs it, as sorted lists have, but with the many lanes of sums.
    """
    x, y, b = variable("x", 3, Domain.I), variable("y", 3, Domain.J), variable("b", 1, Domain.J)
    distance = squared_distance(x, y)
    terms = where(less(position(Domain.I), position(Domain.J)), exp(-distance) * log(b), sin(distance))
    return map_reduce([terms], "Sum")[0]


def _nearest() -> MapReduce:
    """The nearest terms with their indices. It uses masks, integers, and loops whose ends differ between lanes."""
    x, y = variable("x", 2, Domain.I), variable("y", 2, Domain.J)
    return map_reduce([squared_distance(x, y)], "KMin_ArgKMin", 8)[0]


def run(device: Device, facts: DeviceFacts, passed: list[str], report: Report) -> None:
    """Run the checks that are not in ``passed``, up to the first failure.

    It reports ``{"check": name}`` before each check, and afterwards adds ``"passed"`` or ``"error"`` to it. For a GPU,
    it finally reports ``{"facts": {"native_functions": names}}``.
    """
    before = device.facts
    try:
        for check in checks_for(facts):
            if check.name in passed:
                continue
            report({"check": check.name})
            device.facts = replace(facts, **check.facts)
            try:
                error = _error_of(check, device)
            except (AssertionError, AttributeError, ImportError, NameError, SyntaxError, TypeError):
                raise  # a bug in clreduce
            except Exception as exception:  # a driver may raise anything else
                error = f"{type(exception).__name__}: {exception}"
            if error:
                report({"check": check.name, "error": error[:500]})
                return
            report({"check": check.name, "passed": True})
        if facts.kind == "gpu" and NATIVE_FUNCTIONS not in passed:
            report({"check": NATIVE_FUNCTIONS})
            device.facts = facts
            report({"facts": {"native_functions": within_bounds(device)}})
            report({"check": NATIVE_FUNCTIONS, "passed": True})
    finally:
        device.facts = before


def within_bounds(device: Device) -> list[str]:
    """The names of the functions of the hardware that the device computes within their stated bounds."""
    names = []
    for name, function in NATIVE.items():
        try:
            if excess(function, device) <= 1:
                names.append(name)
        except (CompileError, DeviceError):
            continue  # the driver lacks the function
    return names


def excess(function: NativeFunction, device: Device) -> float:
    """The largest error of a native function on a device, in units of its bound; infinite if a special value is
    wrong."""
    x, y = variable("x", 1, Domain.I), variable("y", 1, Domain.J)
    program = map_reduce([function.op(x + y)], "Sum")[0]
    special = np.array([argument for argument, _ in function.exact], np.float32)
    ordinary = _arguments(function)
    arguments = np.concatenate([special, ordinary])[:, None]
    # x + -0 is x even if x is -0.
    (result,) = Plan(program, Signature("float32"), device)(
        [arguments, np.full((1, 1), -0.0, np.float32)], len(arguments), 1
    )
    values = result[:, 0].astype(float)
    right = np.array([value for _, value in function.exact])
    if not np.array_equal(values[: len(special)], right, equal_nan=True):
        return float("inf")
    with np.errstate(all="ignore"):
        exact = np.asarray(function.op.numpy(ordinary.astype(float)))
        errors = np.abs(values[len(special) :] - exact) / np.abs(exact) / function.bound
    normal = (np.abs(exact) >= _SMALLEST) & (np.abs(exact) <= _LARGEST)
    worst = errors[normal].max()
    return float("inf") if np.isnan(worst) else float(worst)


def _arguments(function: NativeFunction) -> np.ndarray[Any, Any]:
    """Numbers of all magnitudes for which the bound holds. They are the same in each trial."""
    low, high = function.exponents
    mantissas = np.random.default_rng(0).uniform(1, 2, (high - low + 1, _MANTISSAS))
    values = np.ldexp(mantissas, np.arange(low, high + 1)[:, None]).ravel().astype(np.float32)
    return np.concatenate([values, -values]) if function.signed else values


def _error_of(check: TrialCheck, device: Device) -> str:
    """A description of the error in the results of a check; "" if they are right."""
    rng = np.random.default_rng(0)
    shapes = {Domain.I: _ROWS, Domain.J: _COLUMNS}
    arrays = [
        rng.uniform(0.5, 1.5, (shapes[slot.domain], slot.dim)).astype(check.dtype) for slot in check.program.slots
    ]
    plan = Plan(check.program, Signature(check.dtype), device, _schedule_of(check, device.facts))
    exact = check.program.reference([array.astype(float) for array in arrays], _ROWS, _COLUMNS)
    for _ in range(2):  # the second call reuses all objects
        for result, right in zip(plan(arrays, _ROWS, _COLUMNS), exact, strict=True):
            error = float(np.abs(result - right).max() / np.abs(right).max())
            if not error <= _ROUNDINGS * np.finfo(check.dtype).eps:
                return f"wrong numbers, with a relative error of {error:.0e}"
    return ""


def _schedule_of(check: TrialCheck, facts: DeviceFacts) -> Schedule:
    real = Signature(check.dtype).real
    return replace(choose_schedule(check.program, real, facts), **check.changes)


class TrialTask(TypedDict):
    """The arguments of a trial, as JSON."""

    identity: str
    facts: dict[str, Any]
    """The fields of `DeviceFacts`; tuples are lists."""
    passed: list[str]
    """The names of checks that are not repeated."""


def main(argument: TrialTask, report: Report) -> None:
    """Run the checks of a device, given by its identity, in a separate process.

    It reports ``{"missing": True}`` if there is no such device.
    """
    with without_caches():
        import pyopencl as cl

    facts = dict(argument["facts"])
    facts |= {name: tuple(facts[name]) for name in ("driver_version", "native_functions")}
    for device in survey(cl).devices:
        if device.identity == argument["identity"]:
            run(device, DeviceFacts(**facts), argument["passed"], report)
            return
    report({"missing": True})
