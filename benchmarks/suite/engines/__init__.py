"""The engines by name. Each is imported only when it is asked for, since it may not be installed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from suite.engines.base import Engine

OWN = "clreduce"
CLASSES = {
    OWN: "formulas.Clreduce",
    "clreduce-dot": "formulas.ClreduceDot",
    "pykeops": "formulas.PyKeops",
    "torch": "dense_torch.Torch",
    "sklearn": "search_sklearn.ScikitLearn",
    "faiss": "search_faiss.Faiss",
    "numba": "loops_numba.Numba",
    "jax": "dense_jax.Jax",
    "torch-cuda": "on_cuda.TorchOnCuda",
    "pykeops-cuda": "on_cuda.PyKeopsOnCuda",
}
ON_CUDA = ("torch-cuda", "pykeops-cuda")
PEERS = tuple(name for name in CLASSES if name != OWN and name not in ON_CUDA)


def load(peers: Sequence[str], threads: int) -> tuple[list[Engine], dict[str, str]]:
    """clreduce and the engines ``peers``, with that many threads each; and why others are left out."""
    found: list[Engine] = []
    left_out = {}
    for name, place in CLASSES.items():
        if name == OWN or name in peers:
            module, kind = place.split(".")
            try:
                found.append(getattr(importlib.import_module(f"suite.engines.{module}"), kind)(threads))
            except Exception as error:  # whatever its set-up may raise, the others go on without it
                if name == OWN:
                    raise
                left_out[name] = f"{type(error).__name__}: {error}"
    return found, left_out
