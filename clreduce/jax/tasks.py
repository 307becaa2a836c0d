"""Computations of the host as one primitive of JAX: a `HostTask` computes results and their derivatives.

In a compiled function a task is one call back to the host; outside of one it runs at once. It is a primitive rather
than a `jax.pure_callback` in a custom rule, because a task has derivatives in both modes, of any order, and serves
whole batches. And as no function of JAX runs inside the call back, none can wait there for a thread that waits for it.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from clreduce.adapters.jax import JAX, spread_over_devices
from clreduce.typing import Array

Form = tuple[tuple[int, ...], str]
"""Shape and dtype of a result."""


class HostTask(ABC):
    """A computation of the host, without its arrays. Equal tasks give equal results."""

    @abstractmethod
    def computed(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """The results, as NumPy arrays; indices of arguments and of results are int64."""

    @abstractmethod
    def forms(self) -> Sequence[Form]:
        """Shapes and dtypes of the results."""

    @abstractmethod
    def wider(self, size: int) -> HostTask:
        """This task for a batch: arrays get a leading dimension of ``size`` or 1, and results one of ``size``."""

    @abstractmethod
    def differential(
        self, arrays: Sequence[jax.Array], moves: Mapping[int, jax.Array]
    ) -> tuple[Sequence[jax.Array], Mapping[int, jax.Array]]:
        """The results, and their tangents by number, for the tangents ``moves`` of some arrays, by number."""

    def transposed(
        self, cotangents: Mapping[int, jax.Array], arrays: Sequence[jax.Array], linear: Sequence[int]
    ) -> Sequence[jax.Array]:
        """The cotangents of arrays on which the results depend linearly, for cotangents of results, by number.

        ``linear`` has the numbers of these arrays; in their places, ``arrays`` holds only shapes and dtypes.
        """
        raise NotImplementedError(f"{type(self).__name__} is not linear in its arrays")


def run(task: HostTask, arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """The results of a task, which JAX follows."""
    results: list[jax.Array] = _task.bind(*arrays, task=task)
    return results


_task = Primitive("clreduce")
_task.multiple_results = True


def _on_host(task: HostTask, arrays: Sequence[Array]) -> tuple[Array, ...]:
    wide = [array.astype(np.int64) if array.dtype == np.int32 else array for array in arrays]
    return tuple(map(JAX.narrowed, task.computed(wide)))


def _compute(*arrays: jax.Array, task: HostTask) -> list[jax.Array]:
    results = _on_host(task, [JAX.to_host(array) for array in arrays])
    committed = next((array for array in arrays if getattr(array, "committed", False)), None)
    return [JAX.from_host(result, committed) for result in results]


def _abstract(*_: Any, task: HostTask) -> list[Any]:
    return [jax.core.ShapedArray(shape, JAX.dtype(dtype)) for shape, dtype in task.forms()]


_task.def_impl(_compute)
_task.def_abstract_eval(_abstract)


def _known_to(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """The options that a function has in this version of JAX."""
    parameters = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in parameters}


def _devices_of(axes: Any) -> int:
    """The number of JAX devices that run a computation: of its sharding, of its mesh, or replicas of an older pmap."""
    counts = (
        getattr(axes, "num_devices", None),
        getattr(getattr(axes, "mesh", None), "size", None),
        getattr(getattr(axes, "axis_env", None), "nreps", None),
    )
    return max(count or 1 for count in counts)


def _lower(context: Any, *arrays: Any, task: HostTask) -> Any:
    if _devices_of(context.module_context.axis_context) > 1:
        raise spread_over_devices()

    def call(*values: Any) -> tuple[Array, ...]:
        return _on_host(task, [np.asarray(value) for value in values])

    results, _, _ = mlir.emit_python_callback(
        context, call, None, list(arrays), context.avals_in, context.avals_out, has_side_effect=False,
        **_known_to(mlir.emit_python_callback, returns_token=False),
    )  # fmt: skip
    return results


# A lowering holds a call back, so it serves one compiled function alone. JAX before 0.7 keeps none for another one.
mlir.register_lowering(_task, _lower, **_known_to(mlir.register_lowering, cacheable=False))


def _differentiate(arrays: Sequence[jax.Array], tangents: Sequence[Any], task: HostTask) -> tuple[list[Any], list[Any]]:
    moves = {n: tangent for n, tangent in enumerate(tangents) if type(tangent) is not ad.Zero}
    results, found = task.differential(arrays, moves)
    return list(results), [found[n] if n in found else _zero_beside(one) for n, one in enumerate(results)]


ad.primitive_jvps[_task] = _differentiate


def _zero_beside(result: Any) -> Any:
    """The tangent of a constant result; for an index, it has the dtype float0."""
    return ad.Zero(jax.core.ShapedArray(result.shape, result.dtype).to_tangent_aval())


def _transpose(cotangents: Sequence[Any], *arrays: Any, task: HostTask) -> list[Any]:
    linear = [n for n, array in enumerate(arrays) if ad.is_undefined_primal(array)]
    incoming = {n: one for n, one in enumerate(cotangents) if type(one) is not ad.Zero}
    formed = [array.aval if ad.is_undefined_primal(array) else array for array in arrays]
    found = dict(zip(linear, task.transposed(incoming, formed, linear), strict=True)) if incoming else {}
    return [found.get(n) for n in range(len(arrays))]


ad.primitive_transposes[_task] = _transpose


def _batch(arrays: Sequence[jax.Array], axes: Sequence[Any], task: HostTask) -> tuple[list[Any], list[int]]:
    sizes = {array.shape[axis] for array, axis in zip(arrays, axes, strict=True) if axis is not None}
    (size,) = sizes
    moved = [
        jnp.expand_dims(array, 0) if axis is None else jnp.moveaxis(array, axis, 0)
        for array, axis in zip(arrays, axes, strict=True)
    ]
    results = run(task.wider(size), moved)
    return results, [0] * len(results)


batching.primitive_batchers[_task] = _batch
