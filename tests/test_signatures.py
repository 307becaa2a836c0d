"""Methods of a `LazyTensor` take what those of pykeops take, by position and by keyword, and tell editors so."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import clreduce.numpy as of_numpy
import clreduce.torch as of_torch
from clreduce.errors import BackendError

pytestmark = pytest.mark.usefixtures("plain_kernels")

PARAMETERS = {
    "axis dim": "argmax argmax_reduction argmin argmin_reduction max max_argmax max_reduction min min_argmin "
    "min_reduction sum sum_reduction mean var std prod any all count",
    "other": "atan2 concat factorize grad_matrix matvecmult power round sqdist tensorprod vecmatmult weightedsqnorm",
    "K axis dim": "Kmin Kmin_argKmin argKmin Kmax argKmax", "other1 other2": "clamp ifelse", "i": "elem",
    "i d": "extract",
    "other diffin": "diff", "other gradin": "grad", "other dimfself dimfother": "keops_kron", "x k": "bspline",
    "other dimfa dimfb contfa contfb": "keops_tensordot", "axis dim weight": "logsumexp", "modulus offset": "mod",
    "var": "divergence laplacian trace_operator", "dim": "norm", "D": "one_hot", "other gamma": "softdtw_sqdist",
    "reduction_op other opt_arg axis dim call is_complex": "reduction", "other var call": "solve",
    "g s": "weightedsqdist",
    "weight axis dim": "sumsoftmaxweight", "tuple_of_lt axis": "concatenate", "tuple_of_lt dim": "cat",
    "v": "__matmul__ matvec rmatvec",
}  # fmt: skip
"""What follows the tensor, and in which methods of pykeops 2.3 (or of its like)."""


@pytest.mark.parametrize("library", [of_numpy, of_torch])
@pytest.mark.parametrize("kind", ["LazyTensor", "ComplexLazyTensor"])
def test_parameters(library: ModuleType, kind: str) -> None:
    cls = getattr(library, kind)
    for names, methods in PARAMETERS.items():
        for method in methods.split():
            found = [name for name in inspect.signature(getattr(cls, method)).parameters if name != "self"]
            assert found[: len(names.split())] == names.split(), method
            assert "given" not in found, method
    for function in (library.Vi, library.Vj, library.Pm):
        assert list(inspect.signature(function).parameters) == ["x_or_ind", "dim"]


def test_calls_by_keyword() -> None:
    x, y, b = (np.random.default_rng(0).normal(size=shape) for shape in ((4, 3), (5, 3), (5, 1)))
    i, j = of_numpy.Vi(x_or_ind=x), of_numpy.Vj(y)
    K, dense = i.sqdist(other=j), ((x[:, None] - y) ** 2).sum(-1)
    made = K.clamp(other1=1, other2=5) + i.elem(i=1) * j.mod(modulus=2, offset=0).extract(i=0, d=1).sum(-1)
    np.testing.assert_allclose(made.dense(), dense.clip(1, 5) + x[:, 1:2] * (y[:, 0] % 2))
    np.testing.assert_allclose(
        (-K).exp().grad(other=i, gradin=1).sum(axis=1), (-2 * np.exp(-dense)[..., None] * (x[:, None] - y)).sum(1)
    )
    logarithm = np.log((np.exp(dense) * abs(b.T)).sum(1))
    for name in ("weight", "other"):
        np.testing.assert_allclose(K.logsumexp(axis=1, **{name: of_numpy.Vj(abs(b))})[:, 0], logarithm)
    out = np.empty(4)
    options: dict[str, Any] = {
        "backend": "auto",
        "device_id": -1,
        "sum_scheme": "direct_sum",
        "ranges": None,
        "out": out,
    }
    assert K.__matmul__(b[:, 0], **options) is out
    np.testing.assert_allclose(out, dense @ b[:, 0])
    single = of_numpy.Vi(x.astype("f4")).sqdist(of_numpy.Vj(y.astype("f4")))
    np.testing.assert_allclose(single.__matmul__(b.astype("f4"), dtype_acc="float64"), dense @ b, rtol=1e-4)
    with pytest.raises(BackendError, match="unknown backend 'TPU'") as caught:
        K.__matmul__(b, backend="TPU")
    assert isinstance(caught.value, ValueError)


def test_variables() -> None:
    x, y = np.ones((4, 3)), np.ones((5, 3))
    K = of_numpy.Vi(x) - of_numpy.Vj(y) * 2.5
    assert [K.variables[0] is x, K.variables[1] is y, K.variables[2]] == [True, True, (2.5,)]
    assert (K.symbolic_variables, K.new_variable_index()) == ((), 0)
    assert K.__GenericLazyTensor__
    made = of_numpy.Vi(0, 3) - of_numpy.Vj(1, 3)
    assert made.symbolic_variables == ((0, 3, 0), (1, 3, 1))
    scaled = made * of_numpy.Pm(made.new_variable_index(), 1)
    np.testing.assert_array_equal(scaled.sum(axis=1)(x, 2 * y, np.array([2.0])), np.full((4, 3), -10.0))
