"""Nearfield's index, by its Python package."""

import numpy as np

from .base import EF_CONSTRUCTION, M, Peer


class NearfieldIndex(Peer):
    name, package, modules = "nearfield-index", "nearfield", ("nearfield",)
    ef_construction = EF_CONSTRUCTION
    quantization = "auto"
    sweep = (0.8, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.975, 0.98, 0.985, 0.99, 0.995, 0.999)  # recalls wished for, not breadths
    stop_recall = 0.9995
    raw_files = ("vectors",)

    def build(self, base: np.ndarray, threads: int) -> None:
        import nearfield

        self.index = nearfield.Index(self.dim, "cosine", M, self.ef_construction, self.quantization)
        self.index.add(None, base, threads=threads)

    def persist(self) -> None:
        self.index.save(self.path)

    def open(self) -> None:
        import nearfield

        self.index = nearfield.Index.view(self.path)

    def search(self, query: np.ndarray) -> np.ndarray:
        return self.index.search(query, 10, recall=self.value).ids

    def search_batch(self, queries: np.ndarray, threads: int) -> np.ndarray:
        return self.index.search(queries, 10, recall=self.value, threads=threads).ids

    def delete(self, ids: np.ndarray) -> None:
        import nearfield

        self.index = nearfield.Index.load(self.path)
        self.index.remove(ids)
