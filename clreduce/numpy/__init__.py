"""The front end for NumPy arrays.

>>> import numpy as np
>>> from clreduce.numpy import Genred
>>> x, y = np.zeros((2, 3)), np.ones((4, 3))
>>> Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)(x, y)
array([[12.],
       [12.]])
"""

from types import ModuleType
from typing import ClassVar

from clreduce.frontends.adapters import numpy as _adapter
from clreduce.frontends.genred import Genred as _Genred
from clreduce.numpy import cluster


class Genred(_Genred):
    __doc__ = _Genred.__doc__
    library: ClassVar[ModuleType] = _adapter


__all__ = ["Genred", "cluster"]
