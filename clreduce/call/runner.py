"""`Runner`: how a front end runs evaluations. A library that records computations has its own subclass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clreduce.call.backend import executor_for
from clreduce.call.derivative import Works
from clreduce.call.evaluation import Evaluation, together
from clreduce.call.executor import Executor


class Runner:
    """Runs evaluations on NumPy arrays immediately."""

    def executor(
        self, backend: str, device_id: int, max_memory: int | str | None, deterministic: bool | None
    ) -> Executor:
        """The executor of a call with these options."""
        return executor_for(backend, device_id, max_memory, deterministic)

    def tracks(self, arrays: Sequence[Any]) -> bool:
        """Whether the library records computations with ``arrays``. Their results must then come from `run`."""
        return False

    def run(self, evaluation: Evaluation, arrays: Sequence[Any], like: Any = None) -> tuple[Any, ...]:
        """The results of ``evaluation``; without ``arrays`` they are placed on the device of ``like``."""
        return evaluation(arrays)

    def run_all(self, works: Works) -> Sequence[tuple[Any, ...]]:
        """The results of independent evaluations, each with its arrays."""
        return together(works)


HOST = Runner()
