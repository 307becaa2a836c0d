"""`Runner`: how a front end has evaluations run. Array libraries that follow their arrays have one of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clreduce.call.backend import executor_for
from clreduce.call.derivative import Works
from clreduce.call.evaluation import Evaluation, together
from clreduce.call.executor import Executor


class Runner:
    """Runs evaluations on NumPy arrays, at once."""

    def executor(
        self, backend: str, device_id: int, max_memory: int | str | None, deterministic: bool | None
    ) -> Executor:
        """The executor of a call with these options."""
        return executor_for(backend, device_id, max_memory, deterministic)

    def tracks(self, arrays: Sequence[Any]) -> bool:
        """Whether what is computed from ``arrays`` is followed, so that it has to come from `run`."""
        return False

    def run(self, evaluation: Evaluation, arrays: Sequence[Any], like: Any = None) -> tuple[Any, ...]:
        """The results of ``evaluation``; beside ``like`` where there are no ``arrays``."""
        return evaluation(arrays)

    def run_all(self, works: Works) -> Sequence[tuple[Any, ...]]:
        """The results of evaluations with their arrays, none of which needs those of another."""
        return together(works)


HOST = Runner()
