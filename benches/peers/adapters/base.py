"""What an engine must say to be measured."""

import os
from collections.abc import Sequence

import numpy as np
from dataset import Dataset

M = 16
EF_CONSTRUCTION = 200


class Peer:
    """One engine in one configuration. Ids are row numbers; all rows and queries have length 1.

    To add an engine: set the names, write build, persist, open and search, and list an instance in `adapters.PEERS`.
    """

    name: str = "?"
    package: str = "?"  # as pip calls it
    modules: tuple[str, ...] = ()  # imported before memory and opening are measured
    sweep: Sequence[float] = (10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512)
    stop_recall = 0.993  # a sweep ends at the first value that reaches it
    raw_files: tuple[str, ...] = ()  # parts of names of files that hold the raw vectors, apart from codes and graph
    is_database = False  # keeps payloads, takes durable writes
    filter_sweep: Sequence[int] = (64, 256)
    search_batch = None  # (table, threads) -> ids, one row a query
    prepare_filter = None  # (filter, name) -> the filter as its users write it; the engine reads it anew in every call
    delete = None  # (ids)

    def __init__(self, name: str | None = None, **options: object) -> None:
        self.name = name or self.name
        for key, value in options.items():
            if not hasattr(type(self), key):
                raise AttributeError(f"{type(self).__name__} has no option {key}")
            setattr(self, key, value)

    def setup(self, data: Dataset, folder: str) -> None:
        self.data, self.folder, self.dim = data, folder, data.dim
        self.path = os.path.join(folder, "index")

    def build(self, base: np.ndarray, threads: int) -> str | None:
        """Builds from the rows; may return a note for the record."""
        raise NotImplementedError

    def persist(self) -> None:
        """Writes what was built below `self.folder`."""
        raise NotImplementedError

    def open(self) -> None:
        """Opens it in a fresh process."""
        raise NotImplementedError

    def set(self, value: float) -> None:
        """Sets the swept parameter."""
        self.value = value

    def set_threads(self, count: int) -> None:
        """Tells an engine that keeps its own pool; nothing to do for most."""

    def prepare(self, queries: np.ndarray) -> Sequence:
        """The queries as `search` takes them; not timed."""
        return list(queries)

    def search(self, query: object) -> Sequence:
        """The ids of one query."""
        raise NotImplementedError

    def search_filtered(self, query: object, filter: object) -> Sequence:
        raise NotImplementedError

    def create_empty(self) -> None:
        """A new, empty store, for databases."""
        raise NotImplementedError

    def upsert(self, ids: Sequence[int], vectors: np.ndarray, payloads: Sequence[dict]) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """Ends what an engine does in the background after writes, or what its users call after them; nothing to do for most."""

    def close(self) -> None:
        """Lets go of what is open; nothing to do for most."""
