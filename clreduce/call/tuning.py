"""`tune`: a timed search for the fastest schedule of a routine on the caller's arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clreduce.call.arguments import Arguments, check_arguments
from clreduce.call.derivative import gradients_of
from clreduce.call.genred import Genred
from clreduce.call.work import arrangement_of
from clreduce.domain import Domain
from clreduce.errors import ScheduleError
from clreduce.ir.expr import REAL, Expr
from clreduce.program import MapReduce
from clreduce.runtime.device import Device
from clreduce.runtime.devices import current_device
from clreduce.runtime.progress import StatusLine
from clreduce.runtime.region import Region
from clreduce.runtime.tuning import Search, TimedCall, Tuned
from clreduce.typing import Array


def tune(
    routine: Genred[object],
    *arrays: object,
    seconds: float = 20.0,
    derivatives: bool = False,
    progress: bool | None = None,
) -> Tuned:
    """Measure schedules of ``routine`` on the current device and on such arrays, and keep the fastest.

    The choice is stored on disk for the device, the version of its driver, the dtype of the arrays and the structure of
    the formula. Calls in this process and in later ones use it, for any names of variables and any sizes. Results with
    1, 2, up to 4, 8, 16, 32 and more rows have separate choices, so tune with arrays of realistic size.
    `clreduce.clear_caches` removes all choices.

    Parameters
    ----------
    routine : Genred
        The routine.
    *arrays : array
        The arrays of a call ``routine(*arrays)``. Only a part of large arrays is timed.
    seconds : float, optional
        The time for the whole search. It may take longer if a kernel is still being built at the end.
    derivatives : bool, optional
        Whether to tune the gradients of ``routine.vjp`` in all arguments too, within the same time.
    progress : bool or None, optional
        Whether to show progress on stderr. None follows `set_progress`, which by default shows it on terminals. A
        terminal shows one line that is redrawn; other files get a line for each schedule tried.

    Returns
    -------
    Tuned
        The chosen schedule, the default schedule, the seconds of a call with each, and the number of schedules tried.
        The choice differs from the default only if it is at least 3 % faster and gives the same numbers. Ctrl-C ends
        the search early and keeps the best schedule so far.

    Raises
    ------
    ShapeError, DtypeError
        The routine does not accept the arrays.
    NotDifferentiableError
        ``derivatives=True``, and the reduction has no derivatives.
    ScheduleError
        ``seconds`` is not a positive number.

    Examples
    --------
    >>> import numpy as np
    >>> import clreduce
    >>> from clreduce.numpy import Genred
    >>> nearest = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Min", axis=1)
    >>> x, y = np.random.rand(10000, 3), np.random.rand(10000, 3)
    >>> tuned = clreduce.tune(nearest, x, y, seconds=20)  # doctest: +SKIP
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float, np.number)) or not seconds > 0:
        raise ScheduleError(f"seconds must be a positive number; got {seconds!r}")
    if not isinstance(routine, Genred):
        raise TypeError(f"tune needs a routine such as a Genred, and then its arrays; got {type(routine).__name__}")
    device = current_device()
    arguments = check_arguments(routine.variables, arrays, routine.library).on_host(routine.library)
    calls = [_timed_call(routine, routine.program, routine._in_slots(arguments.arrays), arguments, device)]
    if derivatives:
        calls += _gradient_calls(routine, arguments, device)
    bar = _Bar(float(seconds), len(calls), progress)
    results: list[Tuned] = []
    try:
        for n, call in enumerate(calls):
            search = Search(call, (seconds - bar.elapsed) / (len(calls) - n), bar.show)
            try:
                search.run()
            except KeyboardInterrupt:
                results.append(search.finish())
                break
            results.append(search.finish())
            bar.finished += 1
    finally:
        bar.close()
    return replace(results[0], derivatives=tuple(results[1:]))


def _timed_call(
    routine: Genred[Any], program: MapReduce, feeds: Sequence[Array], arguments: Arguments, device: Device
) -> TimedCall:
    """A call of ``program`` (the routine's, or a derivative's) with the arrays ``feeds`` in its slots."""
    rows, columns = routine._sizes_of(arguments)
    moderate = arrangement_of(program, routine.options).holds(feeds)
    plan = routine._plan_of(program, arguments.dtype, device, bool(arguments.batch), moderate=moderate)
    direct_sum = routine.options.sum_scheme == "direct_sum"
    region = Region(rows, columns, arguments.batch)
    return TimedCall(plan.program, plan.signature, device, feeds, region, direct_sum)


def _gradient_calls(routine: Genred[Any], arguments: Arguments, device: Device) -> Iterator[TimedCall]:
    """Calls of the gradient programs for all arguments. Cotangents and residuals are arrays of ones."""
    own_feeds, own_sizes = routine._in_slots(arguments.arrays), routine._sizes_of(arguments)
    for gradient in gradients_of(routine.program, tuple(range(len(routine.program.slots)))):
        rows, columns = reversed(own_sizes) if gradient.flipped else own_sizes

        def ones(slot: Expr, rows: int = rows, columns: int = columns) -> Array:
            size = {Domain.I: (rows,), Domain.J: (columns,)}.get(slot.domain, ())
            return np.ones((*arguments.batch, *size, slot.dim), arguments.dtype if slot.kind == REAL else np.int64)

        feeds = [
            own_feeds[source.number] if source.role == "input" else ones(slot)
            for slot, source in zip(gradient.program.slots, gradient.sources, strict=True)
        ]
        call = _timed_call(routine, gradient.program, feeds, arguments, device)
        yield replace(call, region=Region(rows, columns, arguments.batch))


class _Bar:
    """The progress line of the searches of one call of `tune`."""

    def __init__(self, seconds: float, searches: int, shown: bool | None) -> None:
        self.seconds, self.searches, self.finished = seconds, searches, 0
        self._line = StatusLine("tune", shown)

    @property
    def elapsed(self) -> float:
        """Seconds since the line was made."""
        return self._line.elapsed

    def show(self, tried: int, gain: float) -> None:
        """Draw the line: the schedules that this search has tried, and the gain of the best one."""
        if self.searches > 1:
            self._line.title = f"tune ({self.finished + 1} of {self.searches})"
        self._line.show(
            self.elapsed / self.seconds,
            f"{self.elapsed:.0f}/{self.seconds:.0f} s, {tried} schedule{'' if tried == 1 else 's'} tried, the best "
            f"{gain:.2f} times as fast as the default",
        )

    def close(self) -> None:
        """End the line."""
        self._line.close()
