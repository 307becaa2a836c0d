"""Types of the reports of health: dictionaries of plain values, as the command prints them with ``--json``.

`docs/command.md` describes the keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class DriverFileEntry(TypedDict):
    """A driver that is part of this Python environment."""

    path: str
    origin: str


class FactsEntry(TypedDict):
    """The fields of `DeviceFacts` that the package reads again; the reports hold all fields."""

    compute_units: int
    has_double: bool


class DeviceEntry(TypedDict):
    """A usable device."""

    index: int
    name: str
    platform: str
    platform_version: str
    vendor: str
    driver: str
    driver_version: str
    kind: str
    preference: str
    tried: bool
    learned: list[str]
    changed_facts: dict[str, Any]
    facts: FactsEntry
    identity: str
    twin: int
    title: str


class ChoiceEntry(TypedDict):
    """The device in use, by its index, and the reason."""

    index: int | None
    reason: str


class Listing(TypedDict):
    """The OpenCL devices that a process sees."""

    devices: list[DeviceEntry]
    passed_over: list[str]
    chosen: ChoiceEntry
    driver_files: list[DriverFileEntry]
    text: str
    """The report of `explain_devices`."""
    selected: int | None
    """The index of the device that a selector names."""
    selection_error: str
    """The reason why a selector names no device, or ""."""
    crash: str
    """The end of a process that failed to list the devices, or ""."""


class MachineEntry(TypedDict):
    """A machine and its Python."""

    system: str
    architecture: str
    processor: str
    cores: int
    memory_bytes: int | None
    python: str
    python_executable: str


class CacheEntry(TypedDict):
    """A folder with built kernels; ``path`` is None if nothing is stored."""

    owner: str
    path: str | None
    writable: bool
    files: int
    bytes: int


class ProblemEntry(TypedDict):
    """A problem of this machine, and its cure."""

    name: str
    severity: str
    what: str
    cure: str


class MachineReport(TypedDict):
    """The report of ``clreduce info``."""

    schema: int
    versions: dict[str, str | None]
    machine: MachineEntry
    driver_files: list[DriverFileEntry]
    devices: list[DeviceEntry]
    passed_over: list[str]
    chosen: ChoiceEntry
    caches: list[CacheEntry]
    environment: dict[str, str]
    problems: list[ProblemEntry]
    text: str
    """The report of `explain_devices`, which ``--json`` leaves out."""


class OutcomeEntry(TypedDict):
    """The result of one check of a device."""

    check: str
    dtype: str
    state: str
    error: float | None
    bound: float | None
    message: str
    seconds: float


class DeviceResult(TypedDict):
    """The results of all checks of a device."""

    index: int
    name: str
    platform: str
    driver: str
    driver_version: str
    kind: str
    learned: list[str]
    changed_facts: dict[str, Any]
    passed: bool
    seconds: float
    checks: list[OutcomeEntry]


class SelftestReport(TypedDict):
    """The report of ``clreduce selftest``."""

    schema: int
    passed: bool
    devices: list[DeviceResult]
    passed_over: list[str]
    crash: NotRequired[str]
    """The end of a process that failed to list the devices; missing if it succeeded."""


class TestedDevice(TypedDict):
    """The device, the module of checks and the checks (names with dtypes) of a child process."""

    identity: str
    twin: int
    changed_facts: dict[str, Any]
    module: str
    planned: list[tuple[str, str]]


class PeakEntry(TypedDict):
    """The highest rate of a device for numbers of one dtype."""

    dtype: str
    multiply_adds: float
    share: float


class SpeedEntry(TypedDict):
    """The speed of one workload."""

    workload: str
    dtype: str
    rows: int
    columns: int
    milliseconds: float
    """The median time of a call."""
    pairs: float
    """The number of pairs per second."""
    operations: int
    """The number of operations for each pair."""
    roofline: float
    """``pairs``, relative to the highest possible number."""
    share: float
    """The part of the processor's time that the calls got."""
    verdict: str
    """``"as expected"``, or ``"slow: ..."`` with the likely cause and what to try."""


class MeasuredDevice(TypedDict):
    """The device of a measurement."""

    name: str
    identity: str
    kind: str


class SpeedReport(TypedDict):
    """The report of ``clreduce bench``."""

    schema: int
    device: MeasuredDevice
    peaks: list[PeakEntry]
    bytes_per_second: float
    small_call_microseconds: float
    workloads: list[SpeedEntry]
    remarks: list[str]
