"""Nearfield: a vector index for Python. Vectors go in and results come out as numpy arrays.

>>> import numpy as np, nearfield
>>> rng = np.random.default_rng(1)
>>> rows = rng.standard_normal((1000, 32), dtype=np.float32)
>>> index = nearfield.Index(dim=32, metric="cosine")
>>> index.add(None, rows)                     # numbered on: 0 to 999
>>> ids, distances = index.search(rows[7], k=3)
>>> int(ids[0]), len(index)
(7, 1000)
"""

from nearfield._nearfield import Index, __version__
from nearfield._result import Found

__all__ = ["Found", "Index", "__version__"]
