"""`LazyTensor`: a formula over all pairs (i, j), recorded as NumPy would compute it, and never stored."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr, substitute
from clreduce.ir.op import variable
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.functions import FunctionMethods
from clreduce.lazy.leaves import DOMAINS, Leaf, from_symbol, operand, with_array, with_numbers
from clreduce.lazy.protocols import Protocols
from clreduce.lazy.show import Shown
from clreduce.lazy.solving import SolveMethods
from clreduce.lazy.tables import TableMethods

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from clreduce.call.pruning.index import Index
    from clreduce.lazy.types import Value

_NOT_HERE = {
    # names of NumPy and PyTorch that a tensor which is never stored does not have
    **dict.fromkeys(
        ("flatten", "ravel", "reshape", "view", "squeeze", "unsqueeze", "tolist", "cumsum", "nonzero", "take"),
        "values are not stored; K.dense() makes an array of them, K[:100, :100] of a part",
    ),
    **dict.fromkeys(("numpy", "toarray", "todense", "to_numpy", "evaluate", "compute"), "K.dense() makes an array"),
    **dict.fromkeys(("median", "quantile", "percentile"), "write K.Kmin(k, axis=1) for the k smallest of each row"),
    **dict.fromkeys(("astype", "float", "double", "half", "to", "cpu", "cuda"), "convert the data that it is made of"),
    **dict.fromkeys(("item",), "K.sum() and the like give numbers; a tensor has one for each pair"),
    "sort": "write K.Kmin(k, axis=1) for the k smallest of each row, in order",
    "dot": "write K @ v", "mm": "write K @ v", "mv": "write K @ v", "softmax": "write K.sumsoftmaxweight(v, axis=1)",
    "trace": "write K.diagonal().sum()", "mT": "write K.T", "size": "write K.shape",
    "transpose": "write K.T",
}  # fmt: skip


class LazyTensor(Shown[Array], Protocols[Array], SolveMethods[Array], TableMethods[Array], FunctionMethods[Array]):
    """A symbolic tensor of shape (batch.., M, N, D): a vector for each pair (i, j), computed when it is needed.

    Operators and methods record a formula. A reduction over i or j evaluates it in a kernel, in memory linear in M + N.

    Parameters
    ----------
    x : array, number, list of numbers or tuple of three int
        An array of shape (.., M, 1, D) holds vectors of i, (.., 1, N, D) vectors of j, (.., 1, 1, D) or (D,) a
        parameter; with ``axis`` it has shape (M, D). A tuple (position, length, category) is a symbolic variable, whose
        data come when the reduction is called. Complex numbers give a `ComplexLazyTensor`.
    axis : int or None, optional
        0 if an array of shape (M, D) holds the vectors of i, 1 if those of j; 2 or None for a parameter.
    is_complex : bool, optional
        Whether real data are pairs of the real and imaginary parts of complex numbers, side by side in each vector.

    Raises
    ------
    ShapeError
        The shape does not tell what the array is, or shapes that meet do not fit.
    DtypeError
        The value is of another kind.

    See Also
    --------
    Vi, Vj, Pm : Make tensors of arrays of shape (M, D), (N, D) and (D,).
    Genred : Makes a reduction of a formula in text.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.numpy import LazyTensor
    >>> x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0], [4.0]])
    >>> x_i, y_j = LazyTensor(x[:, None, :]), LazyTensor(y[None, :, :])
    >>> D = ((x_i - y_j) ** 2).sum(-1)  # a symbolic matrix of squared distances
    >>> D.shape
    (2, 3)
    >>> D.argmin(axis=1)
    array([[0],
           [0]])
    """

    __slots__ = ()
    __array_priority__ = 1000
    __pandas_priority__ = 5000  # data frames, whose own is 4000, leave operators to it
    __GenericLazyTensor__ = True
    """By this name clients of KeOps tell a LazyTensor, whatever its array library."""

    def __new__(cls, x: Value | Index | None = None, axis: int | None = None, is_complex: bool = False) -> Self:
        if x is None:
            raise ShapeError("LazyTensor(x): x must be an array, a number or a list of numbers; got None")
        if isinstance(x, Recorded):
            made = cls._from(x)._like(x.expr, x._leaves)
        else:
            made = cls._adopted(operand(x, cls.library, axis))
        if made.is_complex:
            return made
        if is_complex:
            if made.expr.dim % 2:
                raise ShapeError(f"a complex vector must have an even number of reals; got {made.expr.dim}")
            return made._record(made._real_expr, is_complex=True)
        return made.real2complex() if cls.is_complex else made

    @property
    def variables(self) -> tuple[Array | tuple[float, ...], ...]:
        """The data in order.

        arrays as they were passed, and tuples for plain numbers. Symbolic variables are left out.
        """
        data = (each for each in self._leaves.values() if each.source is not None)
        return tuple(each.source.value for each in data if each.source is not None)

    @property
    def symbolic_variables(self) -> tuple[tuple[int, int, int], ...]:
        """Position, length and category (0 for i, 1 for j, 2 for a parameter) of each variable without data."""
        symbols = (leaf for leaf, data in self._leaves.items() if data.array is None)
        return tuple((leaf.params[0][1], leaf.dim, DOMAINS.index(leaf.domain)) for leaf in symbols)

    def new_variable_index(self) -> int:
        """The position of a further symbolic variable: ``Vi(K.new_variable_index(), 3)``.

        Returns
        -------
        int
            The lowest position above those in use.

        Examples
        --------
        >>> from clreduce.numpy import Vi, Vj
        >>> Vi(0, 3).sqdist(Vj(1, 3)).new_variable_index()
        2
        """
        return max((position for position, _, _ in self.symbolic_variables), default=-1) + 1

    @property
    def axis(self) -> int | None:
        """0, 1 or 2 if this is just the data of i, of j, or of a parameter; else None."""
        if self.expr.op.name != "variable":
            return None
        return {Domain.I: 0, Domain.J: 1, Domain.P: 2}[self.expr.domain]

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in _NOT_HERE]

    def __len__(self) -> int:
        return self.shape[0]

    def __bool__(self) -> bool:
        raise ShapeError("a LazyTensor has no truth value; use a reduction such as .any(axis=1) or .all(axis=1)")

    def __iter__(self) -> NoReturn:
        raise TypeError("a LazyTensor cannot be iterated over; K.dense() makes an array of it")

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        # Variables are named after data of this process: elsewhere they get names anew.
        places = {leaf: variable(("place", n), *leaf.params[1:]) for n, leaf in enumerate(self._leaves)}
        (expr,) = substitute([self.expr], places)
        data = [(leaf.params, leaf_data.array, leaf_data.batch) for leaf, leaf_data in self._leaves.items()]
        facts = (self._batch, self.ni, self.nj, self.ranges, self.backend, self._vectors, self.is_condition)
        return _rebuilt, (type(self), expr, data, facts)

    def __copy__(self) -> Self:
        return self._like(self.expr, self._leaves)


class _NotHere:
    """A missing attribute, with advice. A ``__getattr__`` would slow down all others."""

    def __init__(self, name: str, advice: str) -> None:
        self._name, self._advice = name, advice

    def __get__(self, instance: Any, owner: type) -> Any:
        told = f"{owner.__name__!r} object has no attribute {self._name!r}: {self._advice}"
        raise AttributeError(told, name=self._name, obj=instance)


for _name, _advice in _NOT_HERE.items():
    setattr(LazyTensor, _name, _NotHere(_name, _advice))


for _kind in LazyTensor.__mro__:
    for _method in vars(_kind).values() if _kind.__module__.startswith("clreduce.lazy.") else ():
        if isinstance(_method, FunctionType):  # Python's errors name a function by this name
            _method.__qualname__ = f"LazyTensor.{_method.__name__}"


def _rebuilt(kind: type[LazyTensor[Any]], expr: Expr, data: list[tuple[Any, Any, Any]], facts: tuple[Any, ...]) -> Any:
    """The tensor that was pickled, or copied with its data."""
    leaves: dict[Expr, Leaf] = {}
    renamed = {}
    for n, (params, array, batch) in enumerate(data):
        place = variable(("place", n), *params[1:])
        if array is None:
            leaf, leaf_data = variable(*params), Leaf(None, batch, None)
        elif isinstance(array, tuple):
            leaf, leaf_data = with_numbers(array)
        else:
            leaf, leaf_data = with_array(array, array, batch, *params[1:])
        renamed[place], leaves[leaf] = leaf, leaf_data
    made: Any = object.__new__(kind)
    made._set(substitute([expr], renamed)[0], leaves, *facts)
    return made


Tensor = TypeVar("Tensor", bound="LazyTensor[Any]")


def variables_of(cls: type[Tensor], x: Value | Index, dim: int | None, axis: int) -> Tensor:
    """``Vi(x)``, ``Vj(x)``, ``Pm(x)``; or ``Vi(position, length)`` and so on, for a symbolic variable."""
    made: Tensor = cls(x, axis=axis) if dim is None else cls._adopted(from_symbol(x, dim, axis))
    return made
