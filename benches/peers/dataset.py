"""A set on disk: base.npy, queries.npy, gt.npy; payloads and filters where it has them."""

import json
import os
from functools import cached_property

import numpy as np

# What every database gets with a row, so that all store the same.
FIELDS = ("pos", "category", "words", "first_letter", "offset", "bucket")

TRUTH = 100  # neighbours known of each query


def first_rows(folder: str, count: int, out: str) -> str:
    """A set of the first rows of another one, with the exact neighbours among them and without filters; returns its folder."""
    os.makedirs(out, exist_ok=True)
    base = np.load(os.path.join(folder, "base.npy"), mmap_mode="r")[:count]
    queries = np.load(os.path.join(folder, "queries.npy"))
    nearest = np.argsort(-(queries @ base.T), axis=1, kind="stable")[:, :TRUTH]
    for name, rows in {"base": base, "queries": queries, "gt": nearest}.items():
        np.save(os.path.join(out, name + ".npy"), rows)
    with open(os.path.join(folder, "payload.jsonl"), encoding="utf-8") as lines:
        kept = [line for _, line in zip(range(count), lines)]
    with open(os.path.join(out, "payload.jsonl"), "w", encoding="utf-8") as file:
        file.writelines(kept)
    return out


class Dataset:
    def __init__(self, folder: str, with_base: bool) -> None:
        self.folder = folder
        self.queries = np.ascontiguousarray(np.load(self.path("queries.npy")), dtype=np.float32)
        self.truth = np.load(self.path("gt.npy"))
        mapped = np.load(self.path("base.npy"), mmap_mode="r")
        self.count, self.dim = mapped.shape
        self.base = np.load(self.path("base.npy")) if with_base else None

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    @cached_property
    def payload(self) -> list[dict]:
        """One object a row; a generated set, which has none, gets numbers."""
        if not os.path.exists(self.path("payload.jsonl")):
            return [dict.fromkeys(FIELDS, "x") | {"words": row % 7, "offset": row, "bucket": row % 1000} for row in range(self.count)]
        with open(self.path("payload.jsonl"), encoding="utf-8") as lines:
            return [{key: row[key] for key in FIELDS} for row in map(json.loads, lines)]

    @cached_property
    def filters(self) -> dict[str, dict]:
        """The filters of the set, by name; a generated set has none."""
        if not os.path.exists(self.path("filters.json")):
            return {}
        with open(self.path("filters.json"), encoding="utf-8") as file:
            return json.load(file)

    def filtered_truth(self, name: str) -> np.ndarray:
        return np.load(self.path(f"gt_{name}.npy"))

    def mask(self, name: str) -> np.ndarray:
        """Which rows a filter admits."""
        filter = self.filters[name]
        column = np.array([row[filter["field"]] for row in self.payload])
        value = filter["value"]
        return {"eq": lambda: column == value, "lt": lambda: column < value, "ge": lambda: column >= value}[filter["op"]]()
