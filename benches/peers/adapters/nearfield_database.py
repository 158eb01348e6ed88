"""Nearfield's database, by its Python package."""

import shutil
import time
from collections.abc import Sequence

import numpy as np
from measure import K

from .base import EF_CONSTRUCTION, M
from .databases import BATCH, Database, as_mongo


class NearfieldDatabase(Database):
    """Indexes of payload fields make themselves: the first search with a filter asks for one."""

    name, package, modules = "nearfield", "nearfield", ("nearfield",)
    sweep = (10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384)
    filter_sweep = (10, 16, 32, 64, 128)
    durability = "process"

    def create_empty(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.open()

    def build(self, base: np.ndarray, threads: int) -> str:
        self.create_empty()
        began = time.perf_counter()
        self.fill(base)
        filled = time.perf_counter()
        self.db.wait_indexed()
        return f"written in {filled - began:.1f} s, linked and settled {time.perf_counter() - filled:.1f} s later"

    def persist(self) -> None:
        self.db.save()
        self.db.wait_indexed()
        self.close()

    def open(self) -> None:
        import nearfield

        self.db = nearfield.Database(self.path, self.dim, "cosine", M, EF_CONSTRUCTION, durability=self.durability)

    def search(self, query: np.ndarray) -> Sequence:
        return [int(found.id) for found in self.db.search(query, K, self.value)]

    def prepare_filter(self, filter: dict, name: str) -> dict:
        asked = as_mongo(filter)
        # The first one asks for the index of the field.
        self.db.search(self.data.queries[0], K, where_filter=asked)
        self.db.wait_indexed()
        return asked

    def search_filtered(self, query: np.ndarray, filter: dict) -> Sequence:
        return [int(found.id) for found in self.db.search(query, K, self.value, filter)]

    def upsert(self, ids: Sequence[int], vectors: np.ndarray, payloads: Sequence[dict]) -> None:
        if len(ids) == 1:
            self.db.upsert(str(ids[0]), vectors[0], payloads[0])
        else:
            self.db.upsert_many([str(id) for id in ids], vectors, payloads)

    def delete(self, ids: np.ndarray) -> None:
        for start in range(0, len(ids), BATCH):
            self.db.delete_many([str(id) for id in ids[start : start + BATCH]])

    def settle(self) -> None:
        self.db.wait_indexed()

    def close(self) -> None:
        self.db.close()
