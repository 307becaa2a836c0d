"""`bind`: binds the classes of a front end to its array library."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from clreduce.adapters.adapter import Adapter, Between, Own
from clreduce.call.generic import generic
from clreduce.call.genred import Genred
from clreduce.call.pruning.index import Index
from clreduce.call.routine import Routine
from clreduce.call.runner import HOST, AnyRunner
from clreduce.lazy.complex import ComplexMethods
from clreduce.lazy.tensor import LazyTensor, variables_of
from clreduce.lazy.types import Value
from clreduce.solve.kernel_solve import KernelSolve
from clreduce.solve.solver import Solver

if TYPE_CHECKING:
    from clreduce.call.pruning.index import Index
    from clreduce.lazy.types import Value

Tensor = TypeVar("Tensor", bound=LazyTensor[Any])
Made = TypeVar("Made", bound=LazyTensor[Any], covariant=True)
Reduces = TypeVar("Reduces", bound=Genred[Any])


class Maker(Protocol[Made]):
    """The type of ``Vi``, ``Vj`` and ``Pm`` of a front end."""

    def __call__(self, x_or_ind: Value | Index, dim: int | None = None) -> Made: ...


def bind(
    library: Adapter[Own, Between],
    genred: type[Genred[Own]],
    solve: type[KernelSolve[Any]],
    lazy: type[LazyTensor[Own]],
    complex_lazy: type[LazyTensor[Own]],
    runner: AnyRunner = HOST,
    routine: type[Routine] = Routine,
    solver: type[Solver] = Solver,
) -> None:
    """Bind the classes of a front end to its array library, to the runner of their calls, and to each other.

    The front end defines its classes itself, so that editors and type checkers know them. ``routine`` and ``solver``
    are the bases of the classes that evaluate its tensors.
    """
    module = genred.__module__
    lazy.routine = type("Routine", (routine,), {"__module__": module, "__doc__": Routine.__doc__})
    lazy.solver = type("Solver", (solver,), {"__module__": module, "__doc__": Solver.__doc__})
    for cls in lazy.routine, lazy.solver, genred, solve:
        cls.library, cls.runner = library, runner
    lazy.library = library
    lazy.counterpart, complex_lazy.counterpart = complex_lazy, lazy
    documented: tuple[tuple[type, type], ...] = (
        (genred, Genred), (solve, KernelSolve), (lazy, LazyTensor), (complex_lazy, ComplexMethods),
    )  # fmt: skip
    for cls, base in documented:
        cls.__doc__ = base.__doc__


def variables(lazy: type[Tensor]) -> tuple[Maker[Tensor], Maker[Tensor], Maker[Tensor]]:
    """The functions ``Vi``, ``Vj`` and ``Pm``, which make tensors of class ``lazy``."""

    def Vi(x_or_ind: Value | Index, dim: int | None = None) -> Tensor:
        """Vectors x_i: a `LazyTensor` of an array whose rows belong to i.

        Parameters
        ----------
        x_or_ind : array or int
            An array of shape (M, D), or (batch.., M, 1, D). With ``dim``, the position of a symbolic variable, from 0,
            whose data come when a reduction is called.
        dim : int, optional
            The length D of a symbolic variable.

        Returns
        -------
        LazyTensor
            Of shape (M, 1, D).

        Raises
        ------
        ShapeError
            The array has another shape, such as (M,): write ``x[:, None]``.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> (Vi(np.ones((5, 3))) - Vj(np.ones((4, 3)))).shape
        (5, 4, 3)
        """
        return variables_of(lazy, x_or_ind, dim, 0)

    def Vj(x_or_ind: Value | Index, dim: int | None = None) -> Tensor:
        """Vectors y_j: a `LazyTensor` of an array whose rows belong to j.

        Parameters
        ----------
        x_or_ind : array, Index or int
            An array of shape (N, D), or (batch.., 1, N, D). With ``dim``, the position of a symbolic variable, from 0,
            whose data come when a reduction is called.
        dim : int, optional
            The length D of a symbolic variable.

        Returns
        -------
        LazyTensor
            Of shape (1, N, D).

        Raises
        ------
        ShapeError
            The array has another shape, such as (N,): write ``y[:, None]``.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> nearest = Vi(0, 3).sqdist(Vj(1, 3)).argmin(axis=1)  # symbolic variables: the data come later
        >>> nearest(np.zeros((1, 3)), np.ones((4, 3)))
        array([[0]])
        """
        return variables_of(lazy, x_or_ind, dim, 1)

    def Pm(x_or_ind: Value | Index, dim: int | None = None) -> Tensor:
        """A parameter: a `LazyTensor` of one vector that all pairs share.

        Parameters
        ----------
        x_or_ind : array, number, list of numbers or int
            A vector of shape (D,), or (batch.., 1, 1, D). With ``dim``, the position of a symbolic variable, from 0,
            whose data come when a reduction is called.
        dim : int, optional
            The length D of a symbolic variable.

        Returns
        -------
        LazyTensor
            Of shape (1, 1, D).

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Pm, Vi
        >>> (Vi(np.ones((5, 3))) * Pm([1.0, 2.0, 3.0])).shape
        (5, 1, 3)
        """
        return variables_of(lazy, x_or_ind, dim, 2)

    for function in Vi, Vj, Pm:
        function.__qualname__, function.__module__ = function.__name__, lazy.__module__
    return Vi, Vj, Pm


def generics(
    genred: type[Reduces],
) -> tuple[Callable[..., Reduces], Callable[..., Reduces], Callable[..., Reduces], Callable[..., Reduces]]:
    """``generic_sum``, ``generic_logsumexp``, ``generic_argmin`` and ``generic_argkmin`` for routines of this class."""
    of_sum, of_logsumexp = generic(genred, "generic_sum"), generic(genred, "generic_logsumexp")
    return of_sum, of_logsumexp, generic(genred, "generic_argmin"), generic(genred, "generic_argkmin")
