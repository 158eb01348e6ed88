"""The compiled part of the package. Import from ``nearfield``."""

from os import PathLike
from typing import Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nearfield._result import Found

__version__: str

_Metric = Literal[
    "cosine", "cos", "dot", "ip", "inner_product", "dot_product", "euclid", "euclidean", "l2", "l2sq", "manhattan", "l1"
]
_Quantization = Literal["auto", "rotated", "scalar", "none"]
_Path = str | PathLike[str]

@final
class Index:
    def __new__(
        cls,
        dim: int,
        metric: _Metric = "cosine",
        m: int = 16,
        ef_construction: int = 100,
        quantization: _Quantization = "auto",
        *,
        seed: int = 42,
    ) -> Index: ...
    @staticmethod
    def load(path: _Path) -> Index: ...
    @staticmethod
    def view(path: _Path) -> Index: ...
    def add(self, ids: ArrayLike | None, vectors: ArrayLike, threads: int = 0) -> None: ...
    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        ef: int | None = None,
        recall: float | None = None,
        threads: int = 1,
        *,
        exact: bool = False,
    ) -> Found: ...
    def remove(self, ids: ArrayLike) -> int: ...
    def contains(self, id: object) -> bool: ...
    def get(self, id: int) -> NDArray[np.float32]: ...
    def save(self, path: _Path) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    @property
    def dim(self) -> int: ...
    @property
    def metric(self) -> str: ...
    def __len__(self) -> int: ...
    def __contains__(self, id: object, /) -> bool: ...
