"""`SharedBuffers`: what stays on a device from one leaf of a cut call to the next.

On a device with memory of its own, blocks of rows would send their columns there again and again, and states of rows
would travel to the host and back after each block of columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clreduce.typing import Array


class SharedBuffers:
    """Buffers of arrays that calls in a row have in common, for one thread and one device.

    A call names its arrays first (`keep_only`): buffers of all others are freed before new ones are made, so a leaf
    takes no more memory than it would alone.
    """

    def __init__(self) -> None:
        self._inputs: dict[int, tuple[Array, Any]] = {}
        """By `id`, with the array: one that is gone might leave its number to another."""
        self._states: dict[int, tuple[Array, Any]] = {}
        self.keeps_states = False
        """Whether states stay on the device, and the host does not see them."""

    def keep_only(self, arrays: Sequence[Array]) -> None:
        """Announce the arrays that are read next; they do not change while they are named here."""
        self._inputs = {id(array): self._inputs.get(id(array), (array, None)) for array in arrays}

    def begin_states(self, states: Sequence[Array]) -> None:
        """States of other rows begin, in these arrays."""
        if self.keeps_states:
            self._states = {id(array): self._states.get(id(array), (array, None)) for array in states}

    def input(self, array: Array, make: Callable[[], Any]) -> Any:
        """The buffer that has the numbers of an array, made if need be; None for an array that is not shared."""
        for shared in (self._states, self._inputs):
            known = shared.get(id(array))
            if known is not None:
                if known[1] is None:
                    known = shared[id(array)] = (array, make())
                return known[1]
        return None

    def state(self, array: Array, make: Callable[[], Any]) -> Any:
        """The buffer of a state that stays, made if need be; None for another array."""
        known = self._states.get(id(array))
        if known is not None and known[1] is None:
            known = self._states[id(array)] = (array, make())
        return None if known is None else known[1]
