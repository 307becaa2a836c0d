"""What all tests share: a PoCL cache of their own, Hypothesis profiles, one run per OpenCL device and its count.

Environment variables that the tests read: ``CLREDUCE_TEST_DEVICES`` is ``turns`` (the default: what concerns devices
runs on every device, each other test on one of them in turn, and of a few large tables of cases a part),
``all`` (every test on every device) or ``first`` (the preferred device only); ``POCL_CACHE_DIR`` keeps PoCL's compiled
kernels for the next run; ``CI`` makes Hypothesis repeatable.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import re
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest

collect_ignore = ["clients.py"]  # it needs torch, and a process of its own: it puts a stand-in in place of pykeops


def _own_cache(variable: str) -> None:
    """A cache folder per process, named by ``variable``, so that no test depends on what an earlier run left.

    Several processes that start on one cold folder of PoCL's can crash, too. It reads ``POCL_CACHE_DIR`` at the first
    OpenCL call. The workers of pytest-xdist inherit the variable from the process that starts them, which makes the
    folder and removes it at its end.
    """
    if variable not in os.environ:
        folder = tempfile.mkdtemp(prefix="clreduce-test-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[variable] = folder
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        shared, own = Path(os.environ[variable]), Path(os.environ[variable], worker)
        own.mkdir(parents=True, exist_ok=True)
        if (shared / "devices").is_dir():  # what trials of devices have shown: they take seconds
            shutil.copytree(shared / "devices", own / "devices", dirs_exist_ok=True)
        os.environ[variable] = str(own)


_own_cache("POCL_CACHE_DIR")
_own_cache("CLREDUCE_CACHE_FOLDER")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or PyTorch's threads spin on the cores that compile kernels

# The fixture `device` may be shared by the examples of a property: it holds nothing that an example could change.
_suppressed = [hypothesis.HealthCheck.function_scoped_fixture]
hypothesis.settings.register_profile("dev", deadline=None, suppress_health_check=_suppressed)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("dev"), derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--laws", action="store_true", help="print how many tests of each law ran, for each operation")


def pytest_configure(config: pytest.Config) -> None:
    """No doctests from modules named after an array library that is not installed: they cannot be imported."""
    libraries = ("cupy", "dask", "jax", "sklearn", "torch")
    missing = [library for library in libraries if importlib.util.find_spec(library) is None]
    files = [*(config.rootpath / "clreduce").rglob("*"), *(config.rootpath / "tests").glob("*.py")]
    paths = [str(path) for path in files if path.stem.split("_")[0] in missing]
    config.option.ignore = [*(config.option.ignore or ()), *paths]
    from clreduce.codegen import render

    render.always_check = True
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _devices_under_test()  # devices are tried once, before there are workers
        os.environ["CLREDUCE_SELFTEST"] = "off"  # and not again by each process that a test starts
    config.addinivalue_line("markers", "law(title, of): the test is of a law of each operation that it is named after")


# ----------------------------------------------------------------------------------------- a run on every device


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The test runs on every OpenCL device present, or on one in turn, which is the current device meanwhile."""
    from clreduce.runtime.devices import use_device

    if isinstance(request.param, Exception):
        raise request.param  # an error, never a skip: without a device nothing has been tested
    with use_device(request.param) as chosen:
        yield chosen


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[Any]:
    """On a device without float64, a test that needs it is skipped, and counted as that."""
    from clreduce.errors import DeviceError

    try:
        return (yield)
    except DeviceError as error:
        device = pyfuncitem.funcargs.get("device")
        if device is None or device.facts.has_double or "no float64" not in str(error):
            raise
        pytest.skip("this device has no float64")


@pytest.fixture
def plain_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kernels without lanes or blocks of columns, by default: drivers compile them in half the time.

    For tests of what runs rather than of how: that any legal schedule gives the same numbers is shown elsewhere.
    """
    from clreduce.codegen.schedule import choose_schedule
    from clreduce.runtime import choices
    from clreduce.runtime.plan_cache import PLANS

    def plain(*case: Any) -> Any:
        return replace(choose_schedule(*case), lanes=1, rows=1, cols=1, queue=0, prefilter=0)

    monkeypatch.setattr(choices, "choose_schedule", plain)
    PLANS.clear()
    yield
    PLANS.clear()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen_by_test = any("device" in str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize"))
    if "device" in metafunc.fixturenames and not chosen_by_test:
        named = _devices_under_test()
        metafunc.parametrize("device", list(named.values()), indirect=True, ids=list(named))


_left_out: list[str] = []


@functools.cache
def _devices_under_test() -> dict[str, Any]:
    """The devices by short names such as ``pocl3.1``; if there is none, the error that says so."""
    from clreduce.errors import DeviceError
    from clreduce.runtime.devices import devices, select

    try:
        select(None)  # which a trial may change
        present = []
        for listed in devices():
            try:
                if select(listed).facts.most_lanes < 16:
                    _left_out.append(f"{listed!r} handles only {listed.facts.most_lanes} lanes")
                else:
                    present.append(listed)
            except DeviceError as error:  # it fails its trial: tests of trials are about such devices
                _left_out.append(str(error))
    except DeviceError as error:
        return {"none": error}
    named: dict[str, Any] = {}
    for found in present[:1] if _only_the_first() else present:
        facts = found.facts
        driver = facts.driver if facts.driver != "other" else re.sub(r"\W+", "_", found.platform_name.lower())
        stem = name = driver + ".".join(map(str, facts.driver_version[:2]))
        number = 1
        while name in named:
            number += 1
            name = f"{stem}#{number}"
        named[name] = found
    return named


def _only_the_first() -> bool:
    return _wanted_devices() == "first"


def _wanted_devices() -> str:
    wanted = os.environ.get("CLREDUCE_TEST_DEVICES", "turns")
    if wanted not in ("turns", "all", "first"):
        raise pytest.UsageError(f"CLREDUCE_TEST_DEVICES={wanted!r}: give 'turns', 'all' or 'first'")
    return wanted


def _has_its_turn(item: pytest.Item) -> bool:
    """Whether this is the device on which a test that runs on one of them runs: equal in all processes."""
    named = list(_devices_under_test())
    own = item.callspec.id.split("-") if hasattr(item, "callspec") else []
    found = [name for name in named if name in own]
    if item.path.stem in _ON_EVERY_DEVICE or not found:
        return True
    test = item.nodeid.split("[")[0]
    precision = next((word for word in own if word in _PRECISIONS), "")
    parts, part = next((_PARTS[table] for table in _PARTS if test.endswith(table)), (1, 0))
    case = "-".join(word for word in own if word not in (found[0], precision))
    number = zlib.crc32(case.encode() if precision or parts > 1 else f"{test}-{case}".encode())
    if parts == 3:  # of the four cases of each reduction one or two, and of all each in turn
        cases = _cases.setdefault(test, {})
        number = cases.setdefault(case, len(cases))
    if precision:
        dtype, lanes = precision.split("x")
        if (number + (dtype == "float64") + (lanes == "16")) % 2:
            return False
        number = number // 2 + (dtype == "float64")
    elif parts > 1:
        if number % parts != part:
            return False
        number //= parts
    return named[number % len(named)] == found[0]


# --------------------------------------------------------------------------------- counting what ran on which device

_outcomes: dict[str, dict[str, str]] = {}  # device -> test -> outcome
_cases: dict[str, dict[str, int]] = {}  # test -> case, without its device -> its place
_laws: dict[str, Counter[str]] = {}  # operation -> law -> tests that passed


_ON_EVERY_DEVICE = ("test_device", "test_runtime")
_PARTS = {
    "test_devices_agree_with_numpy": (3, 0), "test_edges_and_errors_in_ulp": (2, 0),
    "test_infinities_and_nothing": (2, 0), "test_second_order": (2, 0), "test_vectors.py::test_values": (2, 0),
    "test_ranges.py::test_every_reduction": (2, 0), "test_kernels_of_long_vectors": (2, 0),
    "test_second_order_through_the_residuals": (2, 0), "test_modes_agree_on_devices": (2, 0),
    "test_every_reduction_that_adds_up": (2, 0), "test_accumulation.py::test_any_schedule": (2, 1),
    "test_torch_autograd.py::test_every_reduction": (2, 0), "test_genred_reductions.py::test_derivatives": (2, 1),
    "test_torch_autograd.py::test_ranges": (2, 1), "test_torch_autograd.py::test_batches_that_broadcast": (2, 0),
    "test_lookup.py::test_any_schedule_gives_the_reference": (2, 0),
}  # fmt: skip
"""Tables of many similar cases, each with kernels of its own; the number of their parts, and which one of them has a
turn: of two tables with the same cases, each may have what the other leaves out."""
_PRECISIONS = ("float32x1", "float32x16", "float64x1", "float64x16")
"""Dtypes and lanes, of which two have a turn: one dtype without lanes, the other with them."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _wanted_devices() == "turns":
        turns = [(item, _has_its_turn(item)) for item in items]
        config.hook.pytest_deselected(items=[item for item, has_turn in turns if not has_turn])
        items[:] = [item for item, has_turn in turns if has_turn]
    # A property travels with the test's reports from a worker of pytest-xdist to the process that counts. It is set
    # here and not by the fixture, so that a test that is skipped before its fixtures run is counted as skipped.
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if "device" in parameters:
            names = [name for name, found in _devices_under_test().items() if found is parameters["device"]]
            item.user_properties += [("opencl_device", name) for name in names]
        if next(item.iter_markers("law"), None):
            from laws import laws_tested

            item.user_properties += [("law", list(tested)) for tested in laws_tested(item.iter_markers(), parameters)]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        for title, name in (value for key, value in report.user_properties if key == "law"):
            _laws.setdefault(name, Counter())[title] += 1
    name = dict(report.user_properties).get("opencl_device")
    if name is None:
        return
    tests = _outcomes.setdefault(str(name), {})
    # A test reports its setup, its call and its teardown: what went wrong in one of them outweighs the others.
    if report.failed:
        tests[report.nodeid] = "failed"
    elif report.skipped:
        tests.setdefault(report.nodeid, "failing as expected" if hasattr(report, "wasxfail") else "skipped")
    elif report.when == "call":
        tests.setdefault(report.nodeid, "passed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _laws:
        terminalreporter.section("laws of operations")
        for line in _law_lines(config.option.laws or config.option.verbose > 0):
            terminalreporter.write_line(line)
    terminalreporter.section("OpenCL devices")
    for name, tests in sorted(_outcomes.items()):
        counts = Counter(tests.values())
        line = f"OpenCL device {name}: {counts['passed']} tests passed, {counts['failed']} failed"
        line += f", {counts['skipped']} skipped"
        if expected := counts["failing as expected"]:
            line += f", {expected} failing as expected"
        terminalreporter.write_line(line)
    if not _outcomes:
        terminalreporter.write_line("OpenCL device: no test ran on any")
    for line in _left_out:
        terminalreporter.write_line(f"left out: {line}")
    if _only_the_first():
        terminalreporter.write_line("CLREDUCE_TEST_DEVICES=first: the other devices were left out")
    if _wanted_devices() == "turns":
        terminalreporter.write_line(
            "most tests ran on one device in turn, large tables in part; CLREDUCE_TEST_DEVICES=all runs all on each"
        )


def _law_lines(every: bool) -> list[str]:
    """How many tests of laws passed, in one line; with ``every`` also a table by operation and law."""
    sums = {name: sum(counts.values()) for name, counts in _laws.items()}
    least, most = min(sums, key=sums.__getitem__), max(sums, key=sums.__getitem__)
    lines = [
        f"{len(sums)} operations, {sum(sums.values())} tests of laws passed: from {sums[least]} of {least} "
        f"to {sums[most]} of {most}"
    ]
    if every:
        titles = sorted({title for counts in _laws.values() for title in counts})
        lines += [f"  {number}: {title}" for number, title in enumerate(titles, 1)]
        lines.append("".join(["operation".ljust(24), *(f"{n:>5}" for n in range(1, len(titles) + 1)), "  all"]))
        for name, counts in sorted(_laws.items()):
            lines.append("".join([name.ljust(24), *(f"{counts[title]:>5}" for title in titles), f"{sums[name]:>5}"]))
    return lines
