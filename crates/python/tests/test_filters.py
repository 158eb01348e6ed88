"""The argument where_filter: the rules of the library, and a comparison with a model of them."""

import itertools
import pathlib
from typing import Any

import nearfield
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import refuses

RECORDS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "empty": {},
    "true": {"b": True, "n": 1, "deleted": True},
    "false": {"b": False, "n": 0, "deleted": False},
    "one": {"b": 1, "n": 1.0, "t": "x"},
    "null": {"b": None, "n": None, "t": "X"},
    "list": {"b": [True, "x", 3], "n": [1, 2], "t": ["x", "y"]},
    "dict": {"b": {"x": 1}, "n": 2.5, "t": "y"},
    "big": {"n": 2**53 + 1, "t": ""},
}


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> nearfield.Database:
    db = nearfield.Database(tmp_path_factory.mktemp("filters"), dim=2)
    db.add_many(list(RECORDS), np.ones((len(RECORDS), 2)), list(RECORDS.values()))
    return db


def found(db: nearfield.Database, where_filter: dict[str, Any]) -> set[str]:
    """What a filter lets through, by every way of asking."""
    results = db.search([1, 1], k=100, where_filter=where_filter)
    assert db.count(where_filter) == len(results)
    assert db.search_many([[1, 1]], 100, where_filter=where_filter) == [results]
    return {result.id for result in results}


ALL = set(RECORDS)
EXPECTED: list[tuple[dict[str, Any], set[str]]] = [
    ({}, ALL),
    ({"b": {}}, ALL),
    ({"b": True}, {"true", "list"}),
    ({"b": 1}, {"one"}),
    ({"b": {"$eq": False}}, {"false"}),
    ({"b": None}, {"null"}),
    ({"b": {"$eq": None}}, {"null"}),
    ({"missing": None}, set()),
    ({"n": 1}, {"true", "one", "list"}),
    ({"n": 1.0}, {"true", "one", "list"}),
    ({"n": 2**53 + 1}, {"big"}),
    ({"n": 2**53}, set()),
    ({"t": "x"}, {"one", "list"}),
    ({"t": "X"}, {"null"}),
    ({"t": ""}, {"big"}),
    ({"deleted": {"$ne": True}}, ALL - {"true"}),
    ({"n": {"$ne": 1}}, ALL - {"true", "one", "list"}),
    ({"n": {"$in": [0, 2.5]}}, {"false", "dict"}),
    ({"n": {"$in": (0, 2.5)}}, {"false", "dict"}),
    ({"n": {"$in": []}}, set()),
    ({"b": {"$in": [None, True, "x"]}}, {"null", "true", "list"}),
    ({"n": {"$nin": [0, 1]}}, ALL - {"false", "true", "one", "list"}),
    ({"n": {"$nin": []}}, ALL),
    ({"n": {"$gt": 1}}, {"dict", "big"}),
    ({"n": {"$gte": 1}}, {"true", "one", "dict", "big"}),
    ({"n": {"$lt": 1}}, {"false"}),
    ({"n": {"$lte": 1}}, {"false", "true", "one"}),
    ({"n": {"$gte": 1, "$lt": 2.5}}, {"true", "one"}),
    ({"n": {"$gt": 2**53}}, {"big"}),
    ({"t": {"$gt": 0}}, set()),
    ({"b": {"$lt": 10}}, {"one"}),
    ({"b": {"$exists": True}}, ALL - {"none", "empty", "big"}),
    ({"b": {"$exists": False}}, {"none", "empty", "big"}),
    ({"n": {"$not": {"$gte": 1}}}, ALL - {"true", "one", "dict", "big"}),
    ({"n": {"$not": {}}}, set()),
    ({"$not": {"b": True}}, ALL - {"true", "list"}),
    ({"$not": {}}, set()),
    ({"$and": [{"b": True}, {"n": 1}]}, {"true", "list"}),
    ({"$and": []}, ALL),
    ({"$or": [{"b": False}, {"t": "y"}]}, {"false", "list", "dict"}),
    ({"$or": ({"b": False}, {"t": "y"})}, {"false", "list", "dict"}),
    ({"$or": []}, set()),
    ({"b": True, "n": 1, "deleted": True}, {"true"}),
    ({"$or": [{"$and": [{"b": 1}, {"t": "x"}]}, {"$not": {"n": {"$exists": True}}}]}, {"one", "none", "empty"}),
]


@pytest.mark.parametrize("where_filter, expected", EXPECTED, ids=lambda value: str(value)[:40])
def test_forms(db: nearfield.Database, where_filter: dict[str, Any], expected: set[str]) -> None:
    assert found(db, where_filter) == expected


def test_opposites(db: nearfield.Database) -> None:
    values = [None, True, False, 0, 1, 1.0, 2.5, "x", "", 2**53 + 1]
    for field, value in itertools.product(("b", "n", "t", "missing"), values):
        equal = found(db, {field: value})
        assert found(db, {field: {"$ne": value}}) == ALL - equal
        assert found(db, {field: {"$not": {"$eq": value}}}) == ALL - equal
        assert found(db, {field: {"$nin": [value]}}) == ALL - found(db, {field: {"$in": [value]}}) == ALL - equal


def test_what_is_refused(db: nearfield.Database) -> None:
    for bad, text in (
        ({"a": {"b": 1}}, "unknown operator: b"),
        ({"a": {"$x": 1}}, "unknown operator: $x"),
        ({"$x": 1}, "unknown operator: $x"),
        ({"a": {"$gt": "1"}}, "$gt value must be a number"),
        ({"a": {"$gte": True}}, "$gte value must be a number"),
        ({"a": {"$lt": None}}, "$lt value must be a number"),
        ({"a": {"$lte": [1]}}, "$lte value must be a number"),
        ({"a": {"$in": 1}}, "$in value must be a list"),
        ({"a": {"$nin": "x"}}, "$nin value must be a list"),
        ({"$and": {}}, "$and value must be a list"),
        ({"$or": 1}, "$or value must be a list"),
        ({"a": [1]}, "unsupported filter value type"),
        ({"a": (1,)}, "unsupported filter value type"),
        ({"a": {1, 2}}, "unsupported filter value type"),
        ({"a": {"$in": [[1]]}}, "unsupported filter value type"),
        ({"a": float("nan")}, "unsupported filter value type"),
        ({"a": np.zeros(2)}, "unsupported filter value type"),
        ({"$or": [1]}, "unsupported filter value type"),
    ):
        for ask in (
            lambda: db.count(bad),
            lambda: db.search([1, 1], where_filter=bad),
            lambda: db.search_many([[1, 1]], where_filter=bad),
        ):
            with refuses(text):
                ask()
    with refuses("where_filter must be a dict or None, not str", TypeError):
        db.count("x")  # type: ignore[arg-type]
    with refuses("a field name of a filter must be str, not int", TypeError):
        db.count({1: 2})  # type: ignore[dict-item]
    deep: dict[str, Any] = {"a": 1}
    for _ in range(200):
        deep = {"$not": deep}
    with pytest.raises(ValueError, match="nested"):
        db.count(deep)


def test_a_filter_costs_no_results(tmp_path: pathlib.Path) -> None:
    db = nearfield.Database(tmp_path / "db", dim=8)
    generator = np.random.default_rng(5)
    vectors = generator.standard_normal((6000, 8), dtype=np.float32)
    db.add_many([str(n) for n in range(6000)], vectors, [{"n": n} for n in range(6000)])
    for below in (3, 30, 300, 3000):
        results = db.search(vectors[0], k=30, where_filter={"n": {"$lt": below}})
        assert len(results) == min(30, below)
        assert all(result.metadata["n"] < below for result in results)


# A model of the rules, in the words of the contract.

MISSING = object()


def equal(stored: object, value: object) -> bool:
    if isinstance(stored, list):
        return any(equal_one(element, value) for element in stored)
    return equal_one(stored, value)


def equal_one(stored: object, value: object) -> bool:
    if isinstance(stored, bool) or isinstance(value, bool):
        return isinstance(stored, bool) and isinstance(value, bool) and stored == value
    if isinstance(stored, (int, float)) and isinstance(value, (int, float)):
        return stored == value
    return type(stored) is type(value) and stored == value


def number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def holds(stored: object, operator: str, operand: Any) -> bool:
    match operator:
        case "$eq":
            return stored is not MISSING and equal(stored, operand)
        case "$ne":
            return not holds(stored, "$eq", operand)
        case "$in":
            return any(holds(stored, "$eq", value) for value in operand)
        case "$nin":
            return not holds(stored, "$in", operand)
        case "$exists":
            return (stored is not MISSING) == operand
        case "$not":
            return not all(holds(stored, *item) for item in operand.items())
        case "$gt":
            return number(stored) and stored > operand  # type: ignore[operator]
        case "$gte":
            return number(stored) and stored >= operand  # type: ignore[operator]
        case "$lt":
            return number(stored) and stored < operand  # type: ignore[operator]
        case _:
            return number(stored) and stored <= operand  # type: ignore[operator]


def passes(metadata: dict[str, Any] | None, where_filter: dict[str, Any]) -> bool:
    for key, value in where_filter.items():
        if key == "$and":
            fits = all(passes(metadata, inner) for inner in value)
        elif key == "$or":
            fits = any(passes(metadata, inner) for inner in value)
        elif key == "$not":
            fits = not passes(metadata, value)
        else:
            stored = (metadata or {}).get(key, MISSING)
            operators = value if isinstance(value, dict) else {"$eq": value}
            fits = all(holds(stored, *item) for item in operators.items())
        if not fits:
            return False
    return True


scalars = st.sampled_from([None, True, False, 0, 1, -1, 1.0, 0.5, 2**53 + 1, "", "x", "X"])
numbers = st.sampled_from([0, 1, -1, 0.5, 1.0, 2**53])
fields = st.sampled_from(["a", "b", "c"])
stored_values = st.one_of(scalars, st.lists(scalars, max_size=3), st.just({"x": 1}))
metadatas = st.one_of(st.none(), st.dictionaries(fields, stored_values, max_size=3))
operators = st.recursive(
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), numbers, max_size=2)
    | st.dictionaries(st.sampled_from(["$eq", "$ne"]), scalars, max_size=2)
    | st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3), max_size=2)
    | st.dictionaries(st.just("$exists"), st.booleans()),
    lambda inner: st.fixed_dictionaries({"$not": inner}),
    max_leaves=2,
)
where_filters = st.recursive(
    st.dictionaries(fields, scalars | operators, max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["$and", "$or"]), st.lists(inner, max_size=3), max_size=2)
    | st.fixed_dictionaries({"$not": inner}),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(metadatas, max_size=8), st.lists(where_filters, min_size=1, max_size=6))
def test_they_agree_with_the_model(records: list[dict[str, Any] | None], filters: list[dict[str, Any]]) -> None:
    db = nearfield.Database(":memory:", dim=1)
    db.add_many([str(at) for at in range(len(records))], np.ones((len(records), 1)), records)
    for where_filter in filters:
        expected = {str(at) for at, metadata in enumerate(records) if passes(metadata, where_filter)}
        results = db.search([1.0], k=100, where_filter=where_filter)
        assert {result.id for result in results} == expected, where_filter
        assert db.count(where_filter) == len(expected)


def test_operands_that_are_none(db: nearfield.Database) -> None:
    for bad, text in (
        ({"a": {"$gt": {1}}}, "$gt value must be a number"),
        ({"a": {"$gte": np.zeros(2)}}, "$gte value must be a number"),
        ({"a": {"$lt": float("nan")}}, "$lt value must be a number"),
        ({"a": {"$lte": object()}}, "$lte value must be a number"),
        ({"a": {"$in": {1, 2}}}, "$in value must be a list"),
        ({"a": {"$nin": np.zeros(2)}}, "$nin value must be a list"),
        ({"$and": {1}}, "$and value must be a list"),
        ({"$or": iter([])}, "$or value must be a list"),
        ({"a": {"$not": {1}}}, "$not value must be a dict"),
        ({"a": {"$exists": object()}}, "$exists value must be a boolean"),
        ({"a": float("inf")}, "unsupported filter value type"),
    ):
        with refuses(text):
            db.count(bad)


def test_numbers_beyond_all_others(tmp_path: pathlib.Path) -> None:
    db = nearfield.Database(tmp_path / "db", dim=1)
    stored = [-(2.0**70), -(2**63), 0, 2**64 - 1, 2.0**64, 1.5e308]
    db.add_many([str(n) for n in range(6)], [[1]] * 6, [{"n": n} for n in stored])
    big = [2**64 + 1, 2**65 - 1, -(2**63) - 1, -(2**70) + 1, 10**400, -(10**400)]
    for n in [*big, 2**64, -(2**70)]:
        assert db.count({"n": n}) == db.count({"n": {"$in": [n]}}) == sum(other == n for other in stored)
        assert db.count({"n": {"$ne": n}}) == db.count({"n": {"$nin": [n]}}) == sum(other != n for other in stored)
    for n in [*big, 2**64, float("inf"), -float("inf")]:
        assert db.count({"n": {"$gt": n}}) == sum(other > n for other in stored)
        assert db.count({"n": {"$gte": n}}) == sum(other >= n for other in stored)
        assert db.count({"n": {"$lt": n}}) == sum(other < n for other in stored)
        assert db.count({"n": {"$lte": n}}) == sum(other <= n for other in stored)
