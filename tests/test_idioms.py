"""What users of NumPy write: each idiom gives NumPy's numbers, or one error that says what to write instead.

An idiom is a line of Python, evaluated twice: where the names stand for symbolic tensors, and for dense arrays.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from clreduce.errors import ClreduceError
from clreduce.numpy import Genred, KernelSolve, LazyTensor, Pm, Vi, Vj

pytestmark = pytest.mark.usefixtures("plain_kernels")

rng = np.random.default_rng(0)
M, N, D = 5, 7, 3
x, y, b, w, u = (rng.normal(size=shape) for shape in ((M, D), (N, D), (N, 2), N, M))
X, Y = x[:, None], y[None]
ARRAYS = {"np": np, "M": M, "N": N, "x": x, "y": y, "b": b, "w": w, "u": u, "mask": u > 0, "eye": np.eye(M, N)}
SYMBOLIC: dict[str, Any] = {
    "K": Vi(x).sqdist(Vj(y)), "S": Vi(x).sqdist(Vj(x)), "V": Vi(x) - Vj(y), "I": Vi(x), "J": Vj(y),
    "D1": Vi(x[:, :1]) - Vj(y[:, :1]), "B": LazyTensor(np.stack([x, 2 * x])[:, :, None]).sqdist(Vj(y)),
    "BV": LazyTensor(np.stack([x, 2 * x])[:, :, None]) - Vj(y),
    "H": Vi(x.astype(np.float32)).sqdist(Vj(y.astype(np.float32))),
    "L": LazyTensor, "Genred": Genred, "G": Genred("x - y", ["x = Vi(3)", "y = Vj(3)"], axis=1),
    "KernelSolve": KernelSolve, "Vi": Vi, "Vj": Vj, "Pm": Pm,
}  # fmt: skip
DENSE: dict[str, Any] = {
    "K": ((X - Y) ** 2).sum(-1), "S": ((X - x) ** 2).sum(-1), "V": X - Y, "I": X, "J": Y, "D1": X[..., :1] - Y[..., :1],
    "B": ((np.stack([x, 2 * x])[:, :, None] - y) ** 2).sum(-1), "H": ((X - Y) ** 2).sum(-1),
    "BV": np.stack([x, 2 * x])[:, :, None] - y,
}  # fmt: skip

SAME = """
K.sum()                         K.mean()                        K.max()                         K.min()
K.argmin()                      K.argmax()                      K.var()                         K.std()
K.prod(axis=0)                  (K > 1).any()                   (K > 1).all()                   K.sum(axis=None)
K.sum(axis=(0, 1))              K.sum(-1)                       K.sum(axis=-1)                  K.sum(axis=-2)
K.sum(1)                        K.sum(axis=0)                   K.argmin(axis=1)                K.argmax(-2)
K.std(axis=1)                   K.mean(-1)                      K.sum(axis=1, keepdims=True)    np.sum(K, axis=1)
np.sum(K)                       np.sum(K, keepdims=True)        np.mean(K, axis=0)              np.std(K)
np.var(K, axis=1)               np.min(K, axis=1)               np.max(K)                       np.argmin(K)
np.argmax(K, axis=0)            np.amax(K, axis=(0, 1))         np.sum(K, 0, keepdims=True)     np.linalg.norm(K)
np.add.reduce(K)                np.maximum.reduce(K, axis=1)    np.count_nonzero(K > 1)
np.count_nonzero(K > 1, axis=0)
np.any(K > 5, axis=1)           np.all(K > 0, axis=0)           np.trace(S)                     np.nanmin(K)
np.linalg.norm(V, axis=-1)      V.sum(-1)                       V.sum(-1).sum(-1)               V.max(-1)
V.sum(axis=1)                   V.sum(axis=(0, 1))              V.sum(axis=None)                V.mean(axis=(1, 2))
V.sum(-1, keepdims=True)        np.sum(V, axis=2)               np.min(V)                       np.max(V, axis=(0, -1))
D1.sum(-1)                      (D1 ** 2).sum(-1).sum()         D1.sum(axis=(0, 1, 2))          B.sum()
B.sum(-1)                       B.sum(-2)                       B.mean(axis=(0, 2))             B.argmax()
B.sum(axis=0)                   B.max(axis=0)                   B.argmin(axis=0)                B.std(axis=0)
np.var(B, axis=0, ddof=1)       np.min(B, axis=0)               np.sum(B, axis=0, keepdims=True)
B.prod(axis=-3)                 (B > 2).any(axis=0)
BV.sum(axis=0)                  BV.sum(axis=(0, 3))             BV.max(axis=0)                  BV.argmax(axis=None)
V.argmin(axis=None)             V.argmax(axis=None)             np.argmin(V)                    np.argmax(V)
K.std(ddof=1)                   K.var(axis=1, ddof=2)           np.std(K, ddof=1)               V.var(-1, ddof=1)
K[:3]                           K[::2]                          K[3]                            K[-1]
K[..., 0]                       K[[0, 1]]                       K[mask]                         K[2:4, 1:]
K[3, 5]                         K[:, 2]                         K[1, ::2]                       K[[0, 1], [2, 3]]
K[np.ix_([0, 2], [1, 4, 4])]    K[...]                          K[:, ::-1]                      V[..., 0]
V[2, :]                         V[:, :, 1:]                     V[[0, 1]]                       V[1, 2, 0]
J[:, 0:4]                       B[0]                            B[1, 2]                         B[..., 3]
K.T                             K.T[2]                          K.shape                         K.ndim
V.shape                         D1.shape                        len(K)                          np.shape(B)
np.size(K)                      np.ndim(K)                      np.asarray(K)                   np.exp(-K)
(K > 2) | (K < 1)               (K > 1) & (K < 2)               (K > 1) ^ (K < 2)               ~(K > 1)
np.logical_or(K > 2, K < 1)     np.logical_and(K > 1, K < 2)    np.logical_xor(K > 1, K < 2)    np.logical_not(K > 1)
np.where(K > 1, K, 0)           np.where(K > 1, 1, K)           np.clip(K, 1, 2)                np.sqrt(K) / (1 + K)
(K > 1).sum()                   (K > 1).mean()                  ((K > 1) | (K < 0.5)).dtype     K.dtype
((K > 1) + 0.0).dtype           ((K > 1) - 0.0).dtype           ((K > 1) / 1).dtype             (0.0 + (K > 1)).dtype
(K > 1) * 1.0                   K / K.sum()                     K - K.mean()                    2 ** K
1 / (1 + K)                     K // 1                          K % 2                           abs(V)
K @ w                           K @ b                           K.T @ u                         u @ K
np.dot(K, w)                    np.matmul(K, b)                 K * np.array([2.0])             K * np.array([[2.0]])
V * np.array([1.0, 2.0, 3.0])   sum([K, K])                     x[np.any(K > 5, axis=1)]
np.stack([K, 2 * K], axis=-1)   np.concatenate([V, V], axis=-1)
np.allclose(K @ w, w @ K.T)     K[:, :M].diagonal()             V[0, :, 1]
"""
"""The same line for both."""

PAIRS = {
    "(I | J)": "(I * J).sum(-1)",
    "K.count()": "np.count_nonzero(K)",
    "(K > 1).count(axis=1)": "(K > 1).sum(1)",
    "K.logsumexp()": "np.log(np.exp(K).sum())",
    "K.logsumexp(axis=1)": "np.log(np.exp(K).sum(1))",
    "V.logsumexp(-1)": "np.log(np.exp(V).sum(-1))",
    "K.sum(axis=1, keepdims=False)": "K.sum(1)",
    "K.argKmin(3, axis=1)": "np.argsort(K, axis=1)[:, :3]",
    "K.Kmin(3, axis=1)": "np.sort(K, axis=1)[:, :3]",
    "I[0]": "I[..., 0]",
    "V[1:]": "V[..., 1:]",
    "K * Vj(w[:, None])": "K * w",
    "(K * Vj(w[:, None])).sum()": "(K * w).sum()",
    "(K * Vj(w[:, None])).sum(1)": "(K * w).sum(1)",
    "(K * Vj(w[:, None])).sum(-1)": "K * w",
    "(K * Vj(w[:, None])).sum(-1).sum(-1)": "(K * w).sum(-1)",
    "(2 - K * Vj(w[:, None])).sum(2)": "2 - K * w",
    "(K * Vj(w[:, None]))[2]": "(K * w)[2]",
    "np.sum(K * Vj(w[:, None]), axis=-1)": "(K * w).sum(-1)",
    "(Vj(w[:, None]) - K).max()": "(w - K).max()",
    "(Pm(w[:1]) * K).sum(-1).shape": "(K * w[:1]).shape",
    "(V * Vj(w[:, None])).sum(-1)": "(V * w[:, None]).sum(-1)",
    "D1 * Vj(w[:, None])": "D1 * w[:, None]",
    "K * L(w[None, None, :1])": "K * w[:1]",
    "K * Pm(w[:1])": "K * w[:1]",
    "K + 0.5 * (K.i == K.j)": "K + 0.5 * eye",
    "K.where(K.i < K.j)": "np.triu(K, 1)",
    "(B + B.i - 2 * B.j).mean(axis=0)": "(B + np.arange(M)[:, None] - 2 * np.arange(N)).mean(0)",
    "I.difference_matrix(J)": "(I[..., :, None] - J[..., None, :]).reshape(M, N, -1)",
}
"""A line for symbolic tensors, and NumPy's."""

MISTAKES = {
    "K * w": "write Vj(w[:, None])",
    "K * u": "write Vi(w[:, None])",
    "K + eye": "K + alpha * (K.i == K.j)",
    "K * w[None, :]": "write Vj(w.T)",
    "K * w[:, None]": "write Vj(w)",
    "K - list(w)": "write Vj(w[:, None])",
    "V * u": "write Vi(w[:, None])",
    "V + x": "write Vi(w)",
    "K.sum(axis=2)": "0 is i, 1 is j; its vector axis is reduced already",
    "BV.var(axis=(0, 3))": "reduce one of them first",
    "Vi(0, 3).sum(-1).var(axis=1, ddof=1)": "gets its data later",
    "K.sum(axs=1)": "did you mean 'axis'?",
    "K.sum(axis=1, keepdim_=True)": "did you mean 'keepdims'?",
    "K.sum(axis=1, dtype_ac='float64')": "did you mean 'dtype_acc'?",
    "K.sum(axis='i')": "whole number",
    "K.Kmin(3)": "the argument axis is missing; 0 is i, 1 is j",
    "J[0:10]": "write x[:, 0:10]",
    "I[4]": "write x[4, :]",
    "K[9]": "out of bounds",
    "K[K > 1]": "K.where(condition)",
    "K[np.ones((M, N), bool)]": "K.dense()[mask]",
    "K[[0, 1], [0, 1, 2]]": "np.ix_(rows, columns)",
    "K[None]": "with None",
    "K[1, 2, 3]": "indexed by i, j",
    "np.einsum('ij,j->i', K, w)": "np.asarray(K)",
    "np.sort(K, axis=1)": "np.asarray(K)",
    "np.rint(K)": "np.asarray(K)",
    "np.concatenate([K, K], axis=-1)": "np.stack",
    "np.sum(K, where=K > 1)": "not where",
    "bool(K > 1)": ".any(",
    "list(K)": "K.dense()",
    "K.argKmin(10**9, axis=1)": "K may be up to about",
    "Genred('x', ['x = Vi(3)'], axs=1)": "did you mean 'axis'?",
    "Genred('x', ['x = Vi(3)'], 'KMin', k=3)": "did you mean 'opt_arg'?",
    "KernelSolve('b', ['b = Vj(1)'], 'b', sum_schema='auto')": "did you mean 'sum_scheme'?",
    "G(x, y, otu=None)": "a call has no option 'otu'; did you mean 'out'?",
    "G(x, y, device=0)": "did you mean 'backend'?",
    "G.vjp(x, y, cotangent=x, outputs=x)": "did you mean 'output'?",
    "G.grad('x')(x, y, x, rangse=None)": "did you mean 'ranges'?",
    "K.reduction('logsumexp', axis=1)": "did you mean 'LogSumExp'?",
    "K.reduction('Summ', axis=1)": "did you mean 'Sum'?",
    "K.reshape(-1)": "K.dense() makes an array",
    "K.astype('float32')": "convert the data",
    "K.dot(w)": "write K @ v",
    "K.sort(axis=1)": "K.Kmin(k, axis=1)",
    "K.toarray()": "K.dense()",
}  # fmt: skip
"""A line, and words of the one error that it raises."""


def value(result: Any) -> Any:
    """A result as NumPy has it: symbolic tensors by their dense array."""
    return result.dense() if isinstance(result, LazyTensor) else result


def idioms() -> list[str]:
    """The entries of the table, which two blanks or a new line end."""
    return re.split(r"\s{2,}|\n", SAME.strip())


@pytest.mark.parametrize("idiom", [*idioms(), *PAIRS])
def test_idiom(idiom: str) -> None:
    found = value(eval(idiom, ARRAYS | SYMBOLIC))
    expected = eval(PAIRS.get(idiom, idiom), ARRAYS | DENSE)
    if np.shape(found) == (*np.shape(expected), 1):  # an axis that methods keep over i and j
        found = found[..., 0]
    assert np.shape(found) == np.shape(expected)
    if isinstance(expected, (np.dtype, tuple)):
        assert found == expected
    else:
        assert np.asarray(found).dtype.kind == np.asarray(expected).dtype.kind or "sum" in idiom
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:ArgKMin keeps")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake: str) -> None:
    with pytest.raises((ClreduceError, TypeError, AttributeError)) as caught:
        eval(mistake, ARRAYS | SYMBOLIC)
    told = str(caught.value)
    assert MISTAKES[mistake] in told
    assert len(told) < 600
    assert not re.search(r"\b(lanes|work-item|cols)\b", told)


def test_more_terms_than_there_are() -> None:
    with pytest.warns(
        UserWarning, match=r"K = 9 terms, and there are only N = 7: the last 2 places hold the value.*index -1"
    ):
        nearest = SYMBOLIC["K"].argKmin(9, axis=1)
    assert (nearest[:, 7:] == -1).all()
    with pytest.warns(UserWarning, match=r"K = 6 terms, and there are only M = 5: the last 1 places hold the value"):
        SYMBOLIC["K"].argKmin(6, axis=0)
    with pytest.warns(UserWarning, match=r"K = 2 terms, and there are only N = 0: the 2 places hold the value inf"):
        assert (SYMBOLIC["K"][:, :0].Kmin(2, axis=1) == np.inf).all()
