"""Every row of the list of defects that vctrs 0.3.0 has and this library must not have."""

import pathlib

import nearfield
import numpy as np
import pytest


@pytest.fixture
def db(tmp_path: pathlib.Path) -> nearfield.Database:
    return nearfield.Database(tmp_path / "db", dim=2)


def found(db: nearfield.Database, **where_filter: object) -> list[str]:
    return sorted(result.id for result in db.search([1, 1], where_filter=where_filter))


def test_boolean_filters(db: nearfield.Database) -> None:
    db.add_many(["kept", "gone", "bare", "one"], np.ones((4, 2)), [{"deleted": False}, {"deleted": True}, None, {"deleted": 1}])
    assert found(db, deleted=True) == ["gone"]
    assert found(db, deleted={"$ne": True}) == ["bare", "kept", "one"]


def test_numbers_compare_by_value(db: nearfield.Database) -> None:
    db.add("a", [1, 1], {"n": 1})
    assert found(db, n=1.0) == ["a"]


def test_more_operators(db: nearfield.Database) -> None:
    db.add_many(["a", "b"], np.ones((2, 2)), [{"n": 1}, {"m": 2}])
    assert found(db, n={"$eq": 1}) == ["a"] and found(db, n={"$nin": [1]}) == ["b"]
    assert db.count({"$or": [{"n": 1}, {"m": 2}]}) == 2 and db.count({"$and": [{"n": 1}, {"m": 2}]}) == 0
    assert db.count({"$not": {"n": 1}}) == 1 and db.count({"n": {"$exists": False}}) == 1


def test_records_without_metadata(db: nearfield.Database) -> None:
    db.add("a", [1, 1])
    assert [found(db, n=test) for test in ({"$ne": 1}, {"$nin": [1]}, {"$exists": False}, 1)] == [["a"]] * 3 + [[]]


def test_null_and_the_empty_filter(db: nearfield.Database) -> None:
    db.add_many(["null", "bare"], np.ones((2, 2)), [{"n": None}, None])
    assert found(db, n=None) == ["null"]
    assert db.count({}) == 2 and len(db.search([1, 1], where_filter={})) == 2


def test_count_of_several_conditions(db: nearfield.Database) -> None:
    db.add("a", [1, 1], {"c": "x", "n": 1})
    assert db.count({"c": "x", "n": {"$gt": 3}}) == 0 and db.count({"c": "x", "n": {"$gt": 0}}) == 1


def test_not_a_number(db: nearfield.Database) -> None:
    for call in (db.add, db.upsert):
        with pytest.raises(ValueError, match="^vector contains NaN or infinity$"):
            call("a", [float("nan"), 1])


def test_ids_twice_in_a_batch(db: nearfield.Database) -> None:
    with pytest.raises(ValueError, match="^id 'a' occurs more than once in the batch$"):
        db.add_many(["a", "a"], np.ones((2, 2)))
    assert len(db) == len(db.ids()) == 0


def test_results_unpack(db: nearfield.Database) -> None:
    db.add("a", [1, 1])
    result = db.search([1, 1])[0]
    a, b, c = result
    assert (a, c) == ("a", None) and result[-1] is None
    for wrong in (3, -4):
        with pytest.raises(IndexError, match="^index out of range$"):
            result[wrong]


def test_nothing_saved_is_nothing_lost(tmp_path: pathlib.Path) -> None:
    for at in range(3):
        db = nearfield.Database(tmp_path / "db", dim=2)
        assert len(db) == at
        db.add(str(at), [1, 1])
        del db


def test_reopening_otherwise(db: nearfield.Database, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="^dimension mismatch: expected 2, got 99$"):
        nearfield.Database(tmp_path / "db", dim=99)
    with pytest.raises(ValueError, match="^metric mismatch: expected 'cosine', got 'euclidean'$"):
        nearfield.Database(tmp_path / "db", metric="l2")


def test_update_with_nothing_and_dim_0(db: nearfield.Database, tmp_path: pathlib.Path) -> None:
    db.add("a", [1, 1])
    with pytest.raises(ValueError, match="^update needs a vector or metadata$"):
        db.update("a")
    with pytest.raises(ValueError, match="^dim must be at least 1$"):
        nearfield.Database(tmp_path / "zero", dim=0)


def test_a_new_collection_is_listed(tmp_path: pathlib.Path) -> None:
    client = nearfield.Client(str(tmp_path))
    client.create_collection("x", 2)
    assert client.list_collections() == ["x"]


def test_quantised_at_once(tmp_path: pathlib.Path) -> None:
    assert nearfield.Database(tmp_path / "q", dim=2, quantize=True).quantized_search is True


def test_tables_of_any_layout(db: nearfield.Database) -> None:
    table = np.arange(16, dtype=np.float32).reshape(4, 4)[:, ::2]
    db.add_many(list("abcd"), table)
    assert db.get("c")[0] == table[2].tolist()
    assert len(db.search_many(table[::2])) == 2
# Two writers and the log: `test_storage`. Nothing is printed: there too.
