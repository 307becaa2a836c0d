"""Random expressions of `LazyTensor` give what NumPy gives for the same expression on dense arrays.

The strategies draw a pair at each step: the tensor, and the array (or a smaller one that broadcasts to it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clreduce.errors import ShapeError
from clreduce.numpy import LazyTensor

pytestmark = pytest.mark.usefixtures("plain_kernels")


@dataclass
class Pair:
    """A tensor and what NumPy has in its place, with an axis of vectors always; whether the tensor has that axis."""

    tensor: Any
    array: Any
    has_vectors: bool = True


@dataclass
class Sizes:
    batch: tuple[int, ...]
    rows: int
    columns: int
    dim: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.batch, self.rows, self.columns)


sizes = st.builds(
    Sizes, st.lists(st.integers(1, 2), max_size=3).map(tuple), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)
)  # fmt: skip
ROUNDED = st.integers(-8, 8).map(lambda n: n / 4)
"""Numbers whose sums and products are exact, so that ties and comparisons are the same in NumPy and in kernels."""


@st.composite
def arrays(draw, shape, is_complex=False):
    def some():
        count = int(np.prod(shape))
        return np.array(draw(st.lists(ROUNDED, min_size=count, max_size=count)), float).reshape(shape)

    return some() + 1j * some() if is_complex else some()


@st.composite
def leaves(draw, size, is_complex=False):
    """Data of i, of j or a parameter, in a batch or not, of one component or of all; a number, or a list."""
    kind = draw(st.sampled_from("iijjpnlf"))
    dim = draw(st.sampled_from([1, size.dim]))
    if kind == "n":
        value = draw(st.integers(-3, 3))
        return Pair(value, value, False)
    if kind == "f":
        value = draw(ROUNDED) + (1j if is_complex else 0)
        return Pair(value, value, False)
    if kind == "l":
        value = draw(arrays((dim,), is_complex))
        return Pair(value.tolist(), value, dim > 1)
    rank = draw(st.integers(0, len(size.batch)))
    batch = tuple(draw(st.sampled_from([1, n])) for n in size.batch[len(size.batch) - rank :])
    shape = (*batch, size.rows if kind == "i" else 1, size.columns if kind == "j" else 1, dim)
    array = draw(arrays(shape, is_complex))
    return Pair(LazyTensor(array), array)


def lazy(pair: Pair) -> Pair:
    if isinstance(pair.tensor, LazyTensor):
        return pair
    return Pair(LazyTensor(pair.tensor), pair.array, isinstance(pair.tensor, list))


def vectors(pair: Pair) -> Any:
    """The array with an axis of vectors."""
    return np.asarray(pair.array).reshape(np.shape(pair.array) or (1,))


def have_vectors(f: Pair, g: Pair) -> bool:
    """Whether what is computed from both has a vector axis; one of length 1 is gone where it meets a matrix."""
    if max(vectors(pair).shape[-1] for pair in (f, g)) > 1:
        return True
    tensors = [(pair, lazy(pair).tensor) for pair in (f, g)]
    if any(not pair.has_vectors and (t.ni is not None or t.nj is not None) for pair, t in tensors):
        return False
    return f.has_vectors or g.has_vectors


BINARY = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}  # fmt: skip
COMPLEX_BINARY = ("+", "-", "*", "==", "!=")


@st.composite
def expressions(draw, size, depth=3, is_complex=False):
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        return draw(leaves(size, is_complex))
    step = draw(st.sampled_from(["binary"] * 4 + ["divide", "where", "vector", "component", "concat", "one"]))
    f = draw(expressions(size, depth - 1, is_complex))
    if step == "one":
        f = lazy(f)
        functions = [lambda t: -t, abs, lambda t: t**2, lambda t: t * 0.5]
        function = draw(st.sampled_from(functions))
        return Pair(function(f.tensor), function(np.asarray(f.array)), f.has_vectors)
    if step == "vector":
        f = lazy(f)
        if not f.has_vectors:
            return f
        keepdims = draw(st.booleans())
        if draw(st.booleans()) or is_complex:
            return Pair(f.tensor.sum(-1, keepdims=keepdims), vectors(f).sum(-1, keepdims=True), keepdims)
        return Pair(f.tensor.max(keepdims=keepdims), vectors(f).max(-1, keepdims=True), keepdims)
    if step == "component":
        f = lazy(f)
        k = draw(st.integers(-f.tensor._count, f.tensor._count - 1))
        return Pair(f.tensor.elem(k), vectors(f)[..., [k]], False)
    g = draw(expressions(size, depth - 1, is_complex))
    if not isinstance(f.tensor, LazyTensor) and not isinstance(g.tensor, LazyTensor):
        f = lazy(f)
    # Beside a matrix, a list might be numbers for each i or j: it is refused there.
    f = lazy(f) if isinstance(f.tensor, list) and not g.has_vectors else f
    g = lazy(g) if isinstance(g.tensor, list) and not f.has_vectors else g
    if step == "concat":
        f, g = lazy(f), lazy(g)
        both = np.broadcast_shapes(vectors(f).shape[:-1], vectors(g).shape[:-1])
        wide = [np.broadcast_to(vectors(one), (*both, vectors(one).shape[-1])) for one in (f, g)]
        # Cut to the common length, so that the vector meets others further up.
        length = min(size.dim, sum(array.shape[-1] for array in wide))
        return Pair(f.tensor.concat(g.tensor)[:length], np.concatenate(wide, -1)[..., :length])
    lengths = {np.shape(vectors(one))[-1] for one in (f, g)} - {1}
    if len(lengths) > 1:
        f = lazy(f)
        f = Pair(f.tensor.sum(-1), vectors(f).sum(-1, keepdims=True), False)
    if step == "divide":
        g = lazy(g)
        quotient = f.array / (abs(np.asarray(g.array)) + 1)
        return Pair(f.tensor / (abs(g.tensor) + 1), quotient, have_vectors(f, g))
    if step == "where":
        f, g = lazy(f), lazy(g)
        mask = draw(st.sampled_from(["<", "=="]))
        compared = BINARY["==" if is_complex else mask]
        chosen = np.where(compared(vectors(f), vectors(g)), vectors(f), vectors(g) + 1)
        return Pair(f.tensor.where(compared(f.tensor, g.tensor), g.tensor + 1), chosen, have_vectors(f, g))
    name = draw(st.sampled_from(COMPLEX_BINARY if is_complex else tuple(BINARY)))
    array = BINARY[name](vectors(f), vectors(g))
    tensor = BINARY[name](f.tensor, g.tensor)
    assert tensor.is_condition == (array.dtype == bool)
    return Pair(tensor, array * 1.0 if array.dtype == bool else array, have_vectors(f, g))


@st.composite
def parts(draw, pair, size):
    """The pair's transpose, a part of it, or the pair itself; and the dense array in full, as NumPy has it."""
    pair = lazy(pair)
    tensor = pair.tensor
    rank = len(tensor._batch) + 2
    array = vectors(pair)
    array = np.broadcast_to(array, (*tensor._shape[:-1], array.shape[-1]))
    if not pair.has_vectors:
        array = array[..., 0]
    kind = draw(st.sampled_from(["all", "T", "part", "part", "number"]))
    if kind == "T":
        return Pair(tensor.T, array.swapaxes(rank - 2, rank - 1))
    if kind == "part":
        keys: list[Any] = []
        for length in array.shape[:rank]:
            start = draw(st.integers(0, length - 1))
            choices = [slice(None), slice(start, length), slice(None, None, -1), slice(0, start + 1)]
            whole = length == 1
            keys.append(slice(None) if whole else draw(st.sampled_from([*choices, [start, 0], np.arange(length) != 1])))
        for axis, key in enumerate(keys):
            array = array[(slice(None),) * axis + (key,)]
            tensor = tensor[(*(slice(None),) * axis, key, *(slice(None),) * (rank - 1 - axis))]
        return Pair(tensor, array)
    if kind == "number" and rank > 2:  # one index of the batch
        number = draw(st.integers(-array.shape[0], array.shape[0] - 1))
        return Pair(tensor[number, ...], array[number])
    return Pair(tensor, array)


def closely(found: Any, expected: Any) -> None:
    assert np.shape(found) == np.shape(expected)
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11 * scale)


@pytest.mark.usefixtures("device")
@settings(max_examples=100)
@given(st.data())
def test_random_expressions(data):
    """The rule of axes: NumPy's idiom on the dense array, and the same on the tensor, give the same numbers."""
    size = data.draw(sizes)
    pair = data.draw(parts(data.draw(expressions(size)), size))
    tensor, array = pair.tensor, pair.array
    batch, rank = len(tensor._batch), array.ndim
    assert tensor.shape == array.shape
    name = data.draw(
        st.sampled_from(["sum", "mean", "var", "min", "max", "argmin", "argmax", "logsumexp", "dense", "entries"])
    )
    if name == "dense":
        closely(tensor.dense(), array)
        return
    i = data.draw(st.integers(0, array.shape[batch] - 1))
    j = data.draw(st.integers(-array.shape[batch + 1], array.shape[batch + 1] - 1))
    if name == "entries":
        whole = (slice(None),) * batch
        key = data.draw(st.sampled_from([(*whole, i), (*whole, slice(None), j), (*whole, i, j)]))
        closely(tensor[(*key, Ellipsis)], array[key])
        return
    axis = data.draw(st.sampled_from([batch, batch + 1, batch - rank, batch + 1 - rank]))
    if tensor._vectors is None and axis == -1:  # the vectors of a part that met a matrix
        closely(tensor.sum(axis=-1).dense(), array)
        axis = batch + 1
    if name == "logsumexp":
        closely(tensor.logsumexp(axis=axis, keepdims=False), np.log(np.exp(array).sum(axis)))
        return
    if not name.startswith("arg") and data.draw(st.booleans()):
        last = batch + 1 if name == "var" else rank - 1
        others = data.draw(st.lists(st.integers(0, last), max_size=2, unique=True))
        axis = (axis % rank, *(one for one in others if one != axis % rank))
    elif not tensor._vectors and data.draw(st.booleans()):
        axis = None
    closely(getattr(tensor, name)(axis=axis, keepdims=False), getattr(array, name)(axis))
    if axis is None:
        closely(getattr(tensor, name)(), getattr(array, name)())
    found = getattr(np, name)(tensor, axis=axis, keepdims=True)
    closely(found, getattr(np, name)(array, axis=axis, keepdims=True))


@pytest.mark.usefixtures("device")
@settings(max_examples=40)
@given(st.data())
def test_random_complex_expressions(data):
    size = data.draw(sizes)
    pair = data.draw(parts(data.draw(expressions(size, 2, True)), size))
    axis = len(pair.tensor._batch) + data.draw(st.integers(0, 1))
    if data.draw(st.booleans()):
        closely(pair.tensor.sum(axis=axis, keepdims=False), pair.array.sum(axis))
    else:
        closely(pair.tensor.dense(), pair.array)


@st.composite
def loose_arrays(draw):
    """An array of i, of j or of neither, whose sizes may not fit those of another."""
    m, n = draw(st.sampled_from([(3, 1), (2, 1), (1, 3), (1, 4), (1, 1)]))
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    return np.zeros((*batch, m, n, draw(st.integers(1, 3))))


@settings(max_examples=300)
@given(loose_arrays(), loose_arrays(), loose_arrays())
def test_shapes_meet_as_in_numpy_or_not_at_all(a, b, c):
    try:
        expected = np.broadcast_shapes(a.shape, b.shape, c.shape)
    except ValueError:
        with pytest.raises(ShapeError) as caught:
            _ = LazyTensor(a) + LazyTensor(b) * c
        told = str(caught.value)
        assert "shapes" in told
        assert len(told) < 300
    else:
        assert (LazyTensor(a) + LazyTensor(b) * c)._shape == expected


@settings(max_examples=200)
@given(st.integers(-6, 6), st.integers(0, 2))
def test_every_axis_is_reduced(axis, rank):
    tensor = LazyTensor(np.ones((2,) * rank + (1, 1, 2)))
    reduced = axis % (rank + 3) if -(rank + 3) <= axis < rank + 3 else None
    if reduced == rank + 2:
        if axis in (-1, rank + 2):
            assert isinstance(tensor.sum(axis=axis), LazyTensor)
    elif reduced is None:
        with pytest.raises(ShapeError, match="axis"):
            tensor.sum(axis=axis)
    elif reduced < rank:
        assert tensor.sum(axis=axis).shape == (2,) * (rank - 1) + (1, 1, 2)
    else:
        assert tensor.sum(axis=axis).shape == (2,) * rank + (1, 2)
