"""`Runner`: how a front end runs evaluations. A library that records computations has its own subclass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeAlias

from clreduce.call.backend import executor_for
from clreduce.call.derivative import Works
from clreduce.call.evaluation import Evaluation, together
from clreduce.call.executor import Executor
from clreduce.typing import Array, SomeArray


class Runner(Generic[SomeArray]):
    """Runs evaluations on arrays of a library."""

    def executor(
        self, backend: str, device_id: int, max_memory: int | str | None, deterministic: bool | None
    ) -> Executor:
        """The executor of a call with these options."""
        return executor_for(backend, device_id, max_memory, deterministic)

    def tracks(self, arrays: Sequence[SomeArray]) -> bool:
        """Whether the library records computations with ``arrays``. Their results must then come from `run`."""
        return False

    def run(
        self, evaluation: Evaluation, arrays: Sequence[SomeArray], like: SomeArray | None = None
    ) -> tuple[SomeArray, ...]:
        """The results of ``evaluation``; without ``arrays`` they are placed on the device of ``like``."""
        raise NotImplementedError

    def run_all(self, works: Works[SomeArray]) -> Sequence[tuple[SomeArray, ...]]:
        """The results of independent evaluations, each with its arrays."""
        raise NotImplementedError


class HostRunner(Runner[Array]):
    """Runs evaluations on NumPy arrays immediately."""

    def run(self, evaluation: Evaluation, arrays: Sequence[Array], like: Array | None = None) -> tuple[Array, ...]:
        return evaluation(arrays)

    def run_all(self, works: Works[Array]) -> Sequence[tuple[Array, ...]]:
        return together(works)


AnyRunner: TypeAlias = Runner[Any]
"""The runner of a library that only the caller knows."""
HOST = HostRunner()
