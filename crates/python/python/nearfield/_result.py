"""What a search returns."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Found(NamedTuple):
    """The nearest points, the nearest first: ``ids, distances = index.search(query)``.

    One query gives arrays of one axis, cut to what was found. A table of queries gives tables of ``k`` columns, in which the
    id ``2**64 - 1`` with the distance infinity stands where nothing was found.
    """

    ids: "NDArray[np.uint64]"
    distances: "NDArray[np.float32]"
