"""A program as a user with a type checker writes it: `cargo xtask python` checks it and does not run it."""

import pathlib

import nearfield
import numpy as np
from numpy.typing import NDArray


def nearest(index: nearfield.Index, query: NDArray[np.float32]) -> list[int]:
    ids, distances = index.search(query, k=3, recall=0.95)
    shown: NDArray[np.float32] = distances
    assert shown.ndim == 1
    return [int(id) for id in ids]


def main() -> None:
    index = nearfield.Index(dim=4, metric="euclid", quantization="scalar")
    index.add([1, 2], [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    index.add(None, np.zeros((2, 4), np.float32), threads=2)
    found: nearfield.Found = index.search(np.zeros((2, 4)), ef=64)
    removed: int = index.remove(found.ids[:, 0])
    index.save(pathlib.Path("index"))
    viewed = nearfield.Index.view("index")
    print(removed, len(viewed), 2 in viewed, viewed.get(1).dtype, viewed.stats()["points"], viewed.metric, viewed.dim)
