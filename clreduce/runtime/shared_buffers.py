"""`SharedBuffers`: buffers that stay on a device from one leaf of a cut call to the next.

Without them, a device with its own memory would receive the same columns for each block of rows, and states would be
copied to the host and back after each block of columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clreduce.runtime.bindings import KernelBuffer


class SharedBuffers:
    """Buffers of arrays that consecutive calls have in common, for one thread and one device.

    Each call first lists its arrays (`keep_only`). The buffers of all other arrays are freed before new ones are made,
    so a leaf takes no more memory than it would alone.
    """

    def __init__(self) -> None:
        self._inputs: dict[int, tuple[object, KernelBuffer | None]] = {}
        """Arrays and buffers by the `id` of the array. The reference to the array keeps its `id` unique."""
        self._states: dict[int, tuple[object, KernelBuffer | None]] = {}
        self.keeps_states = False
        """Whether states stay on the device, so that the host's arrays do not contain them."""

    def keep_only(self, arrays: Sequence[object]) -> None:
        """Keep the buffers of these arrays only. The arrays must not change until the next call of this method."""
        self._inputs = {id(array): self._inputs.get(id(array), (array, None)) for array in arrays}

    def begin_states(self, states: Sequence[object]) -> None:
        """Start with the states of other rows, which are in these arrays."""
        if self.keeps_states:
            self._states = {id(array): self._states.get(id(array), (array, None)) for array in states}

    def input(self, array: object, make: Callable[[], KernelBuffer]) -> KernelBuffer | None:
        """The buffer of a shared array, made by ``make`` if necessary; None if the array is not shared."""
        for shared in (self._states, self._inputs):
            known = shared.get(id(array))
            if known is not None:
                if known[1] is None:
                    known = shared[id(array)] = (array, make())
                return known[1]
        return None

    def state(self, array: object, make: Callable[[], KernelBuffer]) -> KernelBuffer | None:
        """The buffer of a state that stays on the device, made by ``make`` if necessary; None for another array."""
        known = self._states.get(id(array))
        if known is not None and known[1] is None:
            known = self._states[id(array)] = (array, make())
        return None if known is None else known[1]
