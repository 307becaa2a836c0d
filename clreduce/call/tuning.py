"""`tune`: a timed search for the schedules of a routine, on the caller's arrays."""

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
    routine: Genred[Any], *arrays: Any, seconds: float = 20.0, derivatives: bool = False, progress: bool | None = None
) -> Tuned:
    """Search, by timing, for the schedule with which ``routine`` is fastest on the current device and on such arrays.

    The choice is kept on disk, for this device (and version of its driver), the arrays' dtype and the structure of the
    formula; calls of this and of later processes use it, for any names of variables and any sizes. But calls with 1,
    with 2, with up to 4, 8, 16 or 32 and with more rows in the result have choices of their own: tune on arrays of the
    kind that you are going to have. `clreduce.clear_caches` forgets all choices.

    Parameters
    ----------
    routine, arrays:
        What would be called as ``routine(*arrays)``. Of large arrays, a part is timed.
    seconds:
        The time for the whole search. A kernel that is being built when it ends is still finished.
    derivatives:
        Whether to tune the gradients with respect to all arguments as well, as ``routine.vjp`` computes them. They
        share the time.
    progress:
        Whether to show on stderr how far the search is. None: as `set_progress` says, by default on terminals. There it
        is one line that is redrawn, elsewhere a line for each schedule tried.

    Returns
    -------
    Tuned
        The schedule chosen, the default one, the seconds that a call takes with each, and how many were tried.
        A schedule is chosen only if it is clearly faster (3 %) than the default and gives the same numbers.
        Ctrl-C ends the search early, and keeps the best schedule so far.

    Raises
    ------
    ShapeError, DtypeError
        Arrays that the routine would refuse.
    NotDifferentiableError
        ``derivatives=True`` for a reduction that has none.
    ScheduleError
        ``seconds`` is not a positive number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float, np.number)) or not seconds > 0:
        raise ScheduleError(f"seconds is a positive number; got {seconds!r}")
    if not isinstance(routine, Genred):
        raise TypeError(f"tune takes a routine such as a Genred, and its arrays; got {type(routine).__name__}")
    device = current_device()
    arguments = check_arguments(routine.variables, arrays, routine.library).on_host(routine.library)
    calls = [_timed_call(routine, routine.program, routine.feeds(arguments.arrays), arguments, device)]
    if derivatives:
        calls += _gradient_calls(routine, arguments, device)
    bar = _Bar(float(seconds), len(calls), progress)
    found: list[Tuned] = []
    try:
        for n, call in enumerate(calls):
            search = Search(call, (seconds - bar.elapsed) / (len(calls) - n), bar.show)
            try:
                search.run()
            except KeyboardInterrupt:
                found.append(search.finish())
                break
            found.append(search.finish())
            bar.finished += 1
    finally:
        bar.close()
    return replace(found[0], derivatives=tuple(found[1:]))


def _timed_call(
    routine: Genred[Any], program: MapReduce, feeds: Sequence[Array], arguments: Arguments, device: Device
) -> TimedCall:
    """A call of the routine's program, or of a derivative's with ``feeds`` in its slots."""
    rows, columns = routine.sizes(arguments)
    moderate = arrangement_of(program, routine.options).holds(feeds)
    plan = routine.plan_of(program, arguments.dtype, device, bool(arguments.batch), moderate=moderate)
    direct_sum = routine.options.sum_scheme == "direct_sum"
    region = Region(rows, columns, arguments.batch)
    return TimedCall(plan.program, plan.signature, device, feeds, region, direct_sum)


def _gradient_calls(routine: Genred[Any], arguments: Arguments, device: Device) -> Iterator[TimedCall]:
    """Calls of the gradient programs for all arguments. Ones stand for cotangents and for results of other programs."""
    own_feeds, own_sizes = routine.feeds(arguments.arrays), routine.sizes(arguments)
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
    """How far the searches of a call of `tune` are."""

    def __init__(self, seconds: float, searches: int, shown: bool | None) -> None:
        self.seconds, self.searches, self.finished = seconds, searches, 0
        self._line = StatusLine("tune", shown)

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return self._line.elapsed

    def show(self, tried: int, gain: float) -> None:
        """Draw the line: of the present search, schedules tried and how many times as fast the best is."""
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
