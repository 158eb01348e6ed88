"""The database against a dict and numpy: the same requests to both, across reopening and sudden ends of the process."""

import json
import pathlib
import sys
import subprocess
import tempfile
from typing import Any

import nearfield
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DIM = 2

ids = st.sampled_from(["a", "b", "c", "d", "e", "", "7"])
# Sums of squares of these are exact in float32, so order and ties are those of the model.
numbers = st.integers(-4, 4)
vectors = st.lists(numbers, min_size=DIM, max_size=DIM)
metadatas = st.none() | st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from([None, 0, 1, True, "t"]), max_size=2)
records = st.tuples(ids, vectors, metadatas)
where_filters = st.none() | st.fixed_dictionaries({"x": st.sampled_from([0, True, "t", {"$ne": 1}, {"$exists": False}])})

requests = st.one_of(
    st.tuples(st.just("add"), records),
    st.tuples(st.just("upsert"), records),
    st.tuples(st.just("add_many"), st.lists(records, max_size=4)),
    st.tuples(st.just("upsert_many"), st.lists(records, max_size=4)),
    st.tuples(st.just("update"), st.tuples(ids, st.none() | vectors, metadatas)),
    st.tuples(st.just("delete"), st.tuples(ids)),
    st.tuples(st.just("delete_many"), st.tuples(st.lists(ids, max_size=4))),
    st.tuples(st.just("get"), st.tuples(ids)),
    st.tuples(st.just("count"), st.tuples(where_filters)),
    st.tuples(st.just("search"), st.tuples(vectors, st.integers(0, 9), st.none(), where_filters)),
    st.tuples(st.sampled_from(["save", "compact", "count of all", "reopen", "kill"]), st.just(())),
)


def passes(metadata: dict[str, Any] | None, where_filter: dict[str, Any] | None) -> bool:
    if where_filter is None:
        return True
    wanted, keys = where_filter["x"], metadata or {}
    equal = lambda value: "x" in keys and type(keys["x"]) is type(value) and keys["x"] == value
    if isinstance(wanted, dict):
        return not equal(1) if "$ne" in wanted else "x" not in keys
    return equal(wanted)


class Model:
    """What the database must be, in the simplest words."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[list[float], dict[str, Any] | None]] = {}
        self.deleted = 0

    def do(self, name: str, arguments: Any) -> Any:
        """The answer, or the text of the error as a ValueError."""
        match name:
            case "add" | "upsert":
                return self.put([arguments], name == "add")
            case "add_many" | "upsert_many":
                return self.put(arguments, name == "add_many")
            case "update":
                id, vector, metadata = arguments
                if vector is None and metadata is None:
                    raise ValueError("update needs a vector or metadata")
                old = self.find(id)
                new = old[0] if vector is None else [float(number) for number in vector]
                self.records[id] = (new, old[1] if metadata is None else metadata)
                return None
            case "delete":
                return self.delete([arguments[0]]) == 1
            case "delete_many":
                return self.delete(arguments[0])
            case "get":
                return list(self.find(arguments[0]))
            case "count":
                return sum(passes(metadata, arguments[0]) for _, metadata in self.records.values())
            case "search":
                return self.search(*arguments)
            case "compact":
                self.deleted = 0
                return None
            case "save":
                return None
            case _:
                count = len(self.records)
                return [count, self.deleted, count + self.deleted, sorted(self.records)]

    def put(self, records: Any, new: bool) -> None:
        seen = set()
        for id, _, _ in records if new else []:
            if id in seen:
                raise ValueError(f"id '{id}' occurs more than once in the batch")
            seen.add(id)
        for id, _, _ in records if new else []:
            if id in self.records:
                raise ValueError(f"id '{id}' already exists, use upsert instead")
        for id, vector, metadata in records:
            self.records[id] = ([float(number) for number in vector], metadata)

    def find(self, id: str) -> tuple[list[float], dict[str, Any] | None]:
        if id not in self.records:
            raise ValueError(f"id '{id}' not found")
        return self.records[id]

    def delete(self, ids: list[str]) -> int:
        there = {id for id in ids if id in self.records}
        for id in there:
            del self.records[id]
        self.deleted += len(there)
        return len(there)

    def search(self, vector: list[int], k: int, ef: None, where_filter: dict[str, Any] | None) -> list[list[Any]]:
        found = [
            [id, float(((np.array(stored) - np.array(vector)) ** 2).sum()), metadata]
            for id, (stored, metadata) in self.records.items()
            if passes(metadata, where_filter)
        ]
        return sorted(found, key=lambda result: (result[1], result[0].encode()))[:k]


class InThisProcess:
    def __init__(self, path: str) -> None:
        self.path = path
        self.db = nearfield.Database(path, DIM, "l2")

    def again(self, kill: bool) -> None:
        del self.db
        self.db = nearfield.Database(self.path)

    def do(self, name: str, arguments: Any) -> Any:
        if name == "count of all":
            return [len(self.db), self.db.deleted_count, self.db.total_slots, sorted(self.db.ids())]
        answer = getattr(self.db, name)(*arguments)
        if name == "search":
            return [list(result) for result in answer]
        return list(answer) if isinstance(answer, tuple) else answer

    def end(self) -> None:
        self.db.close()


class InAnother:
    def __init__(self, path: str) -> None:
        self.path = path
        self.start()

    def start(self) -> None:
        worker = pathlib.Path(__file__).with_name("worker.py")
        self.process = subprocess.Popen(
            [sys.executable, str(worker), self.path, str(DIM), "l2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def again(self, kill: bool) -> None:
        if kill:
            self.process.kill()
        self.end()
        self.start()

    def do(self, name: str, arguments: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([name, arguments]), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["answer"]

    def end(self) -> None:
        self.process.communicate()


def arguments_of(name: str, arguments: Any) -> Any:
    """As the database takes them."""
    if name in ("add_many", "upsert_many"):
        return [[record[at] for record in arguments] for at in range(3)]
    return list(arguments)


def answer_of(do: Any, name: str, arguments: Any) -> Any:
    try:
        return do(name, arguments)
    except ValueError as error:
        return str(error)


def compare(subject: InThisProcess | InAnother, steps: list[tuple[str, Any]]) -> None:
    model = Model()
    for name, arguments in steps:
        if name in ("reopen", "kill"):
            subject.again(kill=name == "kill")
            continue
        expected = answer_of(model.do, name, arguments)
        assert answer_of(subject.do, name, arguments_of(name, arguments)) == expected, (name, arguments)
    subject.again(kill=True)
    for id in model.records:
        assert subject.do("get", [id]) == list(model.records[id])
    assert subject.do("count of all", []) == model.do("count of all", [])


common = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=60, **common)
@given(st.lists(requests, max_size=25))
def test_in_this_process(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subject = InThisProcess(f"{folder}/db")
        try:
            compare(subject, steps)
        finally:
            subject.end()


@settings(max_examples=8, **common)
@given(st.lists(requests, min_size=5, max_size=40))
def test_across_sudden_ends(steps: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subject = InAnother(f"{folder}/db")
        try:
            compare(subject, steps)
        finally:
            subject.end()


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
def test_distances_are_numpys(metric: str, tmp_path: pathlib.Path) -> None:
    generator = np.random.default_rng(3)
    base = generator.standard_normal((700, 24)).astype(np.float32)
    queries = generator.standard_normal((20, 24)).astype(np.float32)
    db = nearfield.Database(tmp_path / "db", 24, metric)
    db.add_many([str(at) for at in range(700)], base)
    a, b = queries.astype(np.float64), base.astype(np.float64)
    dots = a @ b.T
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    squares = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    expected = {"cosine": 1 - dots / norms, "l2": squares, "dot": -dots}[metric]
    for results, row in zip(db.search_many(queries, k=700), expected):
        assert [int(result.id) for result in results] == np.argsort(row, kind="stable").tolist()
        np.testing.assert_allclose([result.distance for result in results], np.sort(row), rtol=1e-5, atol=1e-5)
