"""The class nearfield.Database: every rule of a handle, with the texts of its errors."""

import copy
import doctest
import math
import os
import pathlib
import pickle
import threading
import time
import weakref

import nearfield
import numpy as np
import pytest
from support import DIM, ids, names, refuses, rows


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "db")


@pytest.fixture
def db(path: str) -> nearfield.Database:
    return nearfield.Database(path, dim=3)


class TestOpening:
    def test_creates_opens_and_checks(self, path: str) -> None:
        with refuses("database not found — specify dim to create a new one"):
            nearfield.Database(path)
        assert not os.path.exists(path)
        with refuses("dim must be at least 1"):
            nearfield.Database(path, dim=0)
        with refuses("metric must be 'cosine', 'euclidean'/'l2', or 'dot'/'dot_product'"):
            nearfield.Database(path, dim=3, metric="hamming")
        with refuses("durability must be 'sync' or 'process'"):
            nearfield.Database(path, dim=3, durability="none")
        assert not os.path.exists(path)
        db = nearfield.Database(path, dim=3, metric="l2", m=8, ef_construction=50)
        assert (db.dim, db.metric, len(db), db.path, db.read_only) == (3, "euclidean", 0, path, False)
        del db
        # It is there without ever having been saved.
        db = nearfield.Database(path, m=99, ef_construction=7)
        assert (db.dim, db.metric) == (3, "euclidean")
        with refuses("dimension mismatch: expected 3, got 99"):
            nearfield.Database(path, dim=99)
        with refuses("metric mismatch: expected 'euclidean', got 'cosine'"):
            nearfield.Database(path, metric="cosine")
        with refuses("dim must be at least 1"):
            nearfield.Database(path, dim=0)
        del db
        with refuses("dimension mismatch: expected 3, got 99"):
            nearfield.Database(path, 99, "l2")
        with refuses("metric mismatch: expected 'euclidean', got 'dot_product'"):
            nearfield.Database(path, 3, "dot")

    def test_metrics_have_one_name(self, tmp_path: pathlib.Path) -> None:
        expected = {"cosine": "cosine", "euclidean": "euclidean", "l2": "euclidean", "dot": "dot_product"}
        for given, name in {**expected, "dot_product": "dot_product", None: "cosine"}.items():
            assert nearfield.Database(str(tmp_path / str(given)), 2, given).metric == name

    def test_paths_of_any_kind(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        db = nearfield.Database(tmp_path / "a" / "ä b" / "c", dim=1)
        db.add("x", [1.0])
        monkeypatch.chdir(tmp_path)
        assert len(nearfield.Database("a/ä b/../ä b/c")) == 1
        with pytest.raises(ValueError, match="directory"):
            (tmp_path / "file").write_text("x")
            nearfield.Database(tmp_path / "file", dim=1)

    def test_in_memory(self) -> None:
        with nearfield.Database(":memory:", dim=2) as db:
            db.add("a", [1, 2])
        assert len(db) == 1 and len(nearfield.Database(":memory:", dim=2)) == 0
        db.add("b", [1, 2])
        db.delete("a")
        db.compact()
        assert db.ids() == ["b"] and db.deleted_count == 0
        with refuses("database not found — specify dim to create a new one"):
            nearfield.Database(":memory:")

    def test_a_second_handle_shares_the_database(self, path: str, tmp_path: pathlib.Path) -> None:
        first = nearfield.Database(path, dim=3)
        (tmp_path / "link").symlink_to(path)
        second = nearfield.Database(tmp_path / "link")
        first.add("a", [1, 2, 3])
        second.add("b", [1, 2, 3])
        assert first.ids() == second.ids() == ["a", "b"]
        first.delete("a")
        assert (second.deleted_count, second.total_slots) == (1, 2)
        second.compact()
        assert (first.deleted_count, first.ids()) == (0, ["b"])
        with refuses(f"'{path}' is open in this process with another durability"):
            nearfield.Database(path, durability="sync")
        del first
        assert len(second) == 1
        second.add("c", [1, 2, 3])

    def test_a_directory_of_vctrs_is_left_alone(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "wal.vctrs").write_bytes(b"")
        with pytest.raises(ValueError, match="holds a database of vctrs"):
            nearfield.Database(tmp_path, dim=2)
        assert [file.name for file in tmp_path.iterdir()] == ["wal.vctrs"]


class TestRecords:
    def test_add_get_upsert(self, db: nearfield.Database) -> None:
        assert db.add("a", [1, 2, 3], {"n": 1}) is None
        assert db.get("a") == ([1.0, 2.0, 3.0], {"n": 1})
        with refuses("id 'a' already exists, use upsert instead"):
            db.add("a", [1, 2, 3])
        with refuses("dimension mismatch: expected 3, got 2"):
            db.add("b", [1, 2])
        with refuses("dimension mismatch: expected 3, got 4"):
            db.upsert("a", [1, 2, 3, 4])
        db.upsert("a", [4, 5, 6])
        assert db.get("a") == ([4.0, 5.0, 6.0], None)
        with refuses("id 'zz' not found"):
            db.get("zz")
        assert len(db) == 1 and "a" in db and "b" not in db

    def test_ids_are_verbatim(self, db: nearfield.Database) -> None:
        odd = ["", "7", "007", "67e55044-10b1-426f-9247-bb680e5fe0c8", "ä\n\x00'\"", "🙂", "A", "a", " a "]
        db.add_many(odd, np.ones((len(odd), 3)))
        assert sorted(db.ids()) == sorted(odd) == sorted(db)
        assert all(id in db for id in odd)
        assert sorted(ids(db.search([1, 1, 1], k=99))) == sorted(odd)
        with refuses("id 'it's' not found"):
            db.get("it's")
        with pytest.raises(ValueError, match="at most 4096"):
            db.add("x" * 5000, [1, 2, 3])
        assert "x" * 5000 not in db and db.delete("x" * 5000) is False
        with pytest.raises(TypeError):
            db.add(7, [1, 2, 3])  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            7 in db  # type: ignore[operator]

    def test_vectors_of_any_kind(self, db: nearfield.Database) -> None:
        base = np.arange(12, dtype=np.float64).reshape(4, 3)
        given = {
            "list": [1, 2.5, 3],
            "tuple": (1, 2.5, 3),
            "f32": np.array([1, 2.5, 3], np.float32),
            "f64": np.array([1, 2.5, 3]),
            "f16": np.array([1, 2.5, 3], np.float16),
            "strided": np.array([1, 0, 2.5, 0, 3, 0], np.float32)[::2],
            "reversed": np.array([3, 2.5, 1], np.float32)[::-1],
            "big-endian": np.array([1, 2.5, 3], ">f4"),
            "read-only": np.frombuffer(np.array([1, 2.5, 3], np.float32).tobytes(), np.float32),
            "numpy numbers": [np.float32(1), np.float64(2.5), np.int64(3)],
            "column": np.asfortranarray(np.array([[1, 9], [2.5, 9], [3, 9]], np.float32))[:, 0],
        }
        for id, vector in given.items():
            db.add(id, vector)
            assert db.get(id)[0] == [1.0, 2.5, 3.0], id
        db.add("i8", np.array([1, -2, 3], np.int8))
        assert db.get("i8")[0] == [1.0, -2.0, 3.0]
        db.add_many(["r0", "r1", "r2", "r3"], base)
        db.upsert_many(["r0", "r1", "r2", "r3"], np.asfortranarray(base.astype(np.float32)))
        assert [db.get(f"r{at}")[0] for at in range(4)] == base.tolist()
        db.upsert_many(["r0", "r1"], base[::2].astype(np.float32))
        assert db.get("r1")[0] == base[2].tolist()
        db.upsert_many(["r0", "r1"], [np.array([1, 1, 1]), (2, 2, 2)])
        assert db.get("r1")[0] == [2.0, 2.0, 2.0]
        db.upsert("third", [1 / 3, 0, 0])
        assert db.get("third")[0][0] == float(np.float32(1 / 3))

    def test_vectors_are_not_normalised(self, tmp_path: pathlib.Path) -> None:
        for metric in ("cosine", "l2", "dot"):
            db = nearfield.Database(tmp_path / metric, 3, metric)
            db.add("a", [3, 4, 12])
            assert db.get("a")[0] == [3.0, 4.0, 12.0]

    def test_what_is_no_vector(self, db: nearfield.Database) -> None:
        for wrong in (None, "abc", 7, ["a", "b", "c"], {1: 2}, np.array(["a", "b", "c"]), [None, 1, 2], [1j, 1, 2]):
            with pytest.raises(TypeError):
                db.add("x", wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                db.search(wrong)  # type: ignore[arg-type]
        for wrong in (np.zeros((1, 3)), np.zeros((3, 1), np.float32)):
            with refuses("vector has 2 axes, it must have 1"):
                db.add("x", wrong)
        for number in (math.nan, math.inf, -math.inf, 1e300):
            for vector in ([0, number, 0], np.array([0, number, 0]), np.array([0, number, 0]).astype(np.float64)):
                with refuses("vector contains NaN or infinity"):
                    db.add("x", vector)
                with refuses("vector contains NaN or infinity"):
                    db.upsert_many(["x", "y"], [[1, 2, 3], vector])
                with refuses("vector contains NaN or infinity"):
                    db.search(vector)
                with refuses("vector contains NaN or infinity"):
                    db.search_many([[1, 2, 3], vector])
        assert len(db) == 0

    def test_many_at_once(self, db: nearfield.Database) -> None:
        with refuses("ids length (1) != vectors length (2)"):
            db.add_many(["a"], [[1, 2, 3], [1, 2, 3]])
        with refuses("ids length (1) != vectors length (2)"):
            db.upsert_many(["a"], np.zeros((2, 3)))
        with refuses("metadatas length (0) != ids length (1)"):
            db.add_many(["a"], [[1, 2, 3]], [])
        with refuses("metadatas must be list of dicts or None"):
            db.add_many(["a"], [[1, 2, 3]], [3])  # type: ignore[list-item]
        with refuses("dimension mismatch: expected 3, got 2"):
            db.add_many(["a", "b"], [[1, 2, 3], [1, 2]])
        with refuses("dimension mismatch: expected 3, got 5"):
            db.add_many(["a", "b"], np.zeros((2, 5), np.float32))
        with refuses("id 'a' occurs more than once in the batch"):
            db.add_many(["a", "b", "a"], np.zeros((3, 3)))
        with refuses("ids must be a list of str, not str", TypeError):
            db.add_many("ab", np.zeros((2, 3)))
        with refuses("ids[1] must be str, not int", TypeError):
            db.add_many(["a", 7], np.zeros((2, 3)))  # type: ignore[list-item]
        assert len(db) == 0
        db.add_many(["a", "b"], [[1, 2, 3], [4, 5, 6]], [{"n": 1}, None])
        with refuses("id 'b' already exists, use upsert instead"):
            db.add_many(["c", "b", "a"], np.zeros((3, 3)))
        assert db.ids() == ["a", "b"] and db.get("b") == ([4.0, 5.0, 6.0], None)
        db.upsert_many(["c", "a", "c"], [[1, 1, 1], [2, 2, 2], [3, 3, 3]], [{"n": 1}, {"n": 2}, {"n": 3}])
        assert db.get("c") == ([3.0, 3.0, 3.0], {"n": 3}) and db.get("a")[1] == {"n": 2}
        assert (len(db), db.total_slots) == (3, 3)
        for nothing in ([], np.zeros((0, 3)), np.array([]), np.zeros((0, 0), np.float32)):
            db.add_many([], nothing)
            db.upsert_many([], nothing, [])
            assert db.search_many(nothing) == []
        assert len(db) == 3

    def test_delete(self, db: nearfield.Database) -> None:
        db.add_many(names(10), rows(10, 3))
        assert db.delete("id-3") is True and db.delete("id-3") is False
        assert db.delete_many(["id-1", "id-1", "id-3", "nobody", "id-2"]) == 2
        assert db.delete_many([]) == 0
        assert (len(db), db.deleted_count, db.total_slots) == (7, 3, 10)
        assert "id-1" not in ids(db.search([1, 1, 1], k=10))

    def test_update(self, db: nearfield.Database) -> None:
        db.add("a", [1, 2, 3], {"x": 1, "y": 2})
        db.update("a", metadata={"z": 3})
        assert db.get("a") == ([1.0, 2.0, 3.0], {"z": 3})
        db.update("a", [4, 5, 6])
        assert db.get("a") == ([4.0, 5.0, 6.0], {"z": 3})
        db.update("a", vector=[7, 8, 9], metadata={})
        assert db.get("a") == ([7.0, 8.0, 9.0], {})
        with refuses("update needs a vector or metadata"):
            db.update("a")
        for change in ({"vector": [1, 2, 3]}, {"metadata": {}}, {"vector": [1, 2, 3], "metadata": {}}):
            with refuses("id 'zz' not found"):
                db.update("zz", **change)
        with refuses("dimension mismatch: expected 3, got 1"):
            db.update("a", [1])
        assert (db.total_slots, db.deleted_count) == (1, 0)

    def test_slots_are_counted_as_the_original_counts_them(self, path: str) -> None:
        db = nearfield.Database(path, dim=3)
        db.add_many(names(5), rows(5, 3))
        db.upsert("id-0", [1, 2, 3])
        db.update("id-1", [1, 2, 3])
        db.update("id-1", metadata={"a": 1})
        assert (db.total_slots, db.deleted_count) == (5, 0)
        for round in range(1, 4):
            db.delete("id-0")
            db.add("id-0", [1, 2, 3])
            assert (db.total_slots, db.deleted_count, len(db)) == (5 + round, round, 5)
        del db
        db = nearfield.Database(path)
        assert (db.total_slots, db.deleted_count) == (8, 3)
        before = {id: db.get(id) for id in db}
        db.compact()
        assert (db.total_slots, db.deleted_count, len(db)) == (5, 0, 5)
        assert {id: db.get(id) for id in db} == before
        del db
        db = nearfield.Database(path)
        assert (db.total_slots, db.deleted_count) == (5, 0)
        db.compact()
        assert {id: db.get(id) for id in db} == before


class TestMetadata:
    def test_it_comes_back_as_json_makes_it(self, db: nearfield.Database) -> None:
        import json

        class Text(str):
            pass

        class Whole(int):
            def __repr__(self) -> str:
                return "odd"

        deep: dict[str, object] = {}
        for _ in range(60):
            deep = {"d": deep}
        for given in (
            {},
            {"a": None, "b": True, "c": False, "d": 0, "e": -0.0, "f": 1.5, "g": "text", "h": [], "i": {}},
            {"i": [2**63 - 1, -(2**63), 2**64 - 1, 2**53 + 1, 1e308, 5e-324, 0.1, 1.0, 2**70]},
            {"nested": {"list": [1, [2, {"x": (3, 4)}]], "none": [None, [None]]}},
            {1: "a", True: "b", None: "c", 1.5: "d", "ä": "ö", "": "empty"},
            {"1": "first", 1: "second"},
            {Text("k"): Text("v"), "n": Whole(7), Whole(9): 1},
            {"text": "\x00\n\"\\ü🙂" * 50},
            {"$empty": None},
            {"$$empty": None},
            {"$empty": 1},
            {"$empty": None, "a": 1},
            deep,
        ):
            db.upsert("a", [1, 2, 3], given)  # type: ignore[arg-type]
            expected = json.loads(json.dumps(given))
            kept = db.get("a")[1]
            assert kept == expected
            assert json.dumps(kept) == json.dumps(expected) or 2**70 in given.get("i", [])  # type: ignore[operator]
            assert db.search([1, 2, 3])[0].metadata == expected
        db.upsert("a", [1, 2, 3], None)
        assert db.get("a")[1] is None and db.search([1, 2, 3])[0].metadata is None

    def test_what_json_cannot_express(self, db: nearfield.Database) -> None:
        with refuses("Object of type set is not JSON serializable", TypeError):
            db.add("a", [1, 2, 3], {"x": {1, 2}})
        with refuses("Object of type ndarray is not JSON serializable", TypeError):
            db.add_many(["a"], [[1, 2, 3]], [{"x": [np.zeros(2)]}])
        with refuses("keys must be str, int, float, bool or None, not tuple", TypeError):
            db.add("a", [1, 2, 3], {(1, 2): 3})  # type: ignore[dict-item]
        circle: dict[str, object] = {}
        circle["self"] = circle
        for bad in ({"x": math.nan}, {"x": [math.inf]}, {"x": 2**70 + 1}, {"x": "\ud800"}, circle, {"x" * 5000: 1}):
            with pytest.raises(ValueError, match="^invalid metadata: "):
                db.add("a", [1, 2, 3], bad)
        for wrong in ("text", [1], 7):
            with pytest.raises(TypeError):
                db.add("a", [1, 2, 3], wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            db.add_many(["a"], [[1, 2, 3]], 3)  # type: ignore[arg-type]
        assert len(db) == 0

    def test_what_comes_out_is_the_callers(self, db: nearfield.Database) -> None:
        given = {"x": [1]}
        vector = np.array([1, 2, 3], np.float32)
        db.add("a", vector, given)
        given["x"].append(2)
        vector[:] = 9
        out = db.get("a")[1]
        assert out == {"x": [1]}
        out["x"].append(3)
        assert db.get("a") == ([1.0, 2.0, 3.0], {"x": [1]})


class TestSearching:
    def test_distances(self, tmp_path: pathlib.Path) -> None:
        db = nearfield.Database(tmp_path / "l2", 2, "euclidean")
        db.add("far", [3, 4])
        assert db.search([0, 0])[0].distance == 25.0
        db = nearfield.Database(tmp_path / "cos", 2)
        db.add_many(["same", "other", "against", "zero"], [[2, 0], [0, 5], [-1, 0], [0, 0]])
        found = {result.id: result.distance for result in db.search([1, 0])}
        assert found == pytest.approx({"same": 0, "other": 1, "against": 2, "zero": 1}, abs=1e-6)
        assert [result.distance for result in db.search([0, 0])] == [1.0] * 4
        db = nearfield.Database(tmp_path / "dot", 2, "dot")
        db.add_many(["a", "b"], [[2, 0], [-3, 1]])
        assert [tuple(result)[:2] for result in db.search([2, 1])] == [("a", -4.0), ("b", 5.0)]

    def test_k_and_width(self, db: nearfield.Database) -> None:
        assert db.search([1, 2, 3]) == []
        db.add_many(names(50), rows(50, 3))
        assert len(db.search([1, 2, 3])) == 10
        for k, expected in ((0, 0), (1, 1), (49, 49), (50, 50), (51, 50), (10**9, 50)):
            results = db.search([1, 2, 3], k=k, ef_search=1)
            assert len(results) == expected
            assert results == sorted(results, key=lambda result: result.distance)
        for ef in (0, 1, 50, 10**9):
            assert len(db.search([1, 2, 3], 20, ef)) == 20
        with refuses("k is -1, it must be at least 0"):
            db.search([1, 2, 3], k=-1)
        with refuses("ef_search is -1, it must be at least 0"):
            db.search_many([[1, 2, 3]], ef_search=-1)
        with refuses("dimension mismatch: expected 3, got 2"):
            db.search([1, 2], k=0)
        with refuses("dimension mismatch: expected 3, got 2"):
            db.search_many(np.zeros((4, 2)))
        with refuses("vectors has 1 axis, it must have 2"):
            db.search_many(np.zeros(3))

    def test_max_distance(self, db: nearfield.Database) -> None:
        db.add_many(names(50), rows(50, 3))
        results = db.search([1, 2, 3], k=50)
        for at in (0, 20, 49):
            limit = results[at].distance
            assert db.search([1, 2, 3], k=50, max_distance=limit) == results[: at + 1]
        assert db.search([1, 2, 3], max_distance=-1) == []
        assert db.search_many([[1, 2, 3]], k=50, max_distance=results[5].distance) == [results[:6]]
        assert db.search([1, 2, 3], k=50, max_distance=math.inf) == results
        with refuses("max_distance is NaN, it must be a number"):
            db.search([1, 2, 3], max_distance=math.nan)

    def test_many_queries_are_one_after_another(self, path: str) -> None:
        db = nearfield.Database(path, DIM)
        db.add_many(names(3000), rows(3000), [{"even": n % 2 == 0} for n in range(3000)])
        queries = rows(200, seed=2)
        words = {"k": 5, "where_filter": {"even": True}, "ef_search": 300}
        one_by_one = [db.search(query, **words) for query in queries]
        assert db.search_many(queries, **words) == one_by_one
        assert db.search_many(queries.astype(np.float64).tolist(), **words) == one_by_one
        assert db.search_many(np.asfortranarray(queries), **words) == one_by_one

    @pytest.mark.parametrize("metric", ["cosine", "l2", "dot"])
    def test_the_nearest_are_found(self, path: str, metric: str) -> None:
        db = nearfield.Database(path, 16, metric, quantize=metric == "l2")
        base, queries = rows(5000, 16), rows(40, 16, seed=2)
        db.add_many(names(5000), base)
        exact = base.astype(np.float64), queries.astype(np.float64)
        if metric == "l2":
            distances = ((exact[1][:, None] - exact[0][None]) ** 2).sum(axis=2)
        else:
            if metric == "cosine":
                exact = tuple(part / np.linalg.norm(part, axis=1, keepdims=True) for part in exact)
            distances = (metric == "cosine") - exact[1] @ exact[0].T
        hits = 0
        for query, row in zip(db.search_many(queries, k=10), distances):
            truth = {f"id-{at}" for at in np.argsort(row)[:10]}
            hits += len(truth & set(ids(query)))
            for result in query:
                assert result.distance == pytest.approx(row[int(result.id[3:])], rel=1e-4, abs=1e-4)
        assert hits >= 0.9 * 400

    def test_more_results_than_the_engine_gives_at_once(self, path: str) -> None:
        db = nearfield.Database(path, 2, "l2")
        count = 10_500
        vectors = np.stack([np.arange(count), np.zeros(count)], axis=1)
        db.add_many(names(count), vectors, [{"third": n % 3 == 0} for n in range(count)])
        results = db.search([0, 0], k=count)
        assert ids(results) == names(count)
        assert results[100].distance == 10_000.0
        assert len(db.search([0, 0], k=20_000, where_filter={"third": True})) == count // 3
        assert len(db.search([0, 0], k=20_000, max_distance=100.0)) == 11

    def test_quantised(self, path: str) -> None:
        db = nearfield.Database(path, 3)
        assert db.quantized_search is False
        db.enable_quantized_search()
        assert db.quantized_search is True and nearfield.Database(path).quantized_search is False
        db.disable_quantized_search()
        assert db.quantized_search is False and db.stats()["uses_quantized_search"] is False
        del db
        db = nearfield.Database(path, quantize=True)
        assert db.quantized_search is True and db.stats()["uses_quantized_search"] is True
        del db
        assert nearfield.Database(path).quantized_search is True
        assert nearfield.Database(path, read_only=True).quantized_search is True

    def test_a_result(self, db: nearfield.Database) -> None:
        db.add("a", [1, 2, 3], {"x": 1})
        result = db.search([3, 2, 1])[0]
        id, distance, metadata = result
        assert (id, metadata) == ("a", {"x": 1}) == (result.id, result.metadata)
        assert (result[0], result[1], result[2]) == (result[-3], result[-2], result[-1]) == tuple(result)
        assert len(result) == 3 and isinstance(distance, float) and distance == result.distance
        for wrong in (3, -4, 10**30, -(10**30)):
            with refuses("index out of range", IndexError):
                result[wrong]
        with pytest.raises(TypeError):
            result["id"]  # type: ignore[call-overload]
        assert repr(result) == f"SearchResult(id='a', distance={distance:.4f})"
        assert result.metadata is result.metadata
        assert pickle.loads(pickle.dumps(result)) == result == copy.copy(result)
        assert "<table>" in result._repr_html_() and "&lt;" in nearfield.SearchResult("<", 0.0)._repr_html_()
        with pytest.raises(AttributeError):
            result.id = "b"  # type: ignore[misc]


class TestHandles:
    def test_leaving_saves_and_gives_up_the_lock(self, path: str) -> None:
        with nearfield.Database(path, dim=3) as db:
            assert isinstance(db, nearfield.Database)
            db.add("a", [1, 2, 3])
        assert db.ids() == ["a"] and db.get("a") and len(db.search([1, 2, 3])) == 1
        assert (db.total_slots, db.deleted_count, db.quantized_search) == (1, 0, False)
        with nearfield.Database(path) as other:
            other.add("b", [1, 2, 3])
        assert db.ids() == ["a"]
        # The next write takes the lock again, and sees what came meanwhile.
        db.add("c", [1, 2, 3])
        assert db.ids() == ["a", "b", "c"]
        with pytest.raises(RuntimeError, match="mine"), db:
            db.add("d", [1, 2, 3])
            raise RuntimeError("mine")
        assert nearfield.Database(path).ids() == ["a", "b", "c", "d"]

    def test_closing(self, path: str) -> None:
        db = nearfield.Database(path, dim=3)
        db.add("a", [1, 2, 3])
        db.close()
        db.close()
        for call in (db.ids, db.save, db.compact, db.count, lambda: len(db), lambda: db.search([1, 2, 3])):
            with refuses("database is closed"):
                call()
        assert "closed" in repr(db) and db.dim == 3
        assert nearfield.Database(path).ids() == ["a"]

    def test_read_only(self, path: str) -> None:
        with refuses(f"database not found at '{path}'"):
            nearfield.Database(path, read_only=True)
        with refuses(f"database not found at '{path}'"):
            nearfield.Database(path, 3, read_only=True)
        assert not os.path.exists(path)
        writer = nearfield.Database(path, dim=3)
        writer.add("a", [1, 2, 3], {"x": 1})
        for again in range(2):
            reader = nearfield.Database(path, read_only=True)
            assert reader.read_only and reader.ids() == ["a"] and reader.get("a") == ([1.0, 2.0, 3.0], {"x": 1})
            assert reader.count({"x": 1}) == 1 and reader.search([1, 2, 3])[0].id == "a"
            for write in (
                lambda: reader.add("b", [1, 2, 3]),
                lambda: reader.upsert("b", [1, 2, 3]),
                lambda: reader.add_many(["b"], [[1, 2, 3]]),
                lambda: reader.upsert_many(["b"], [[1, 2, 3]]),
                lambda: reader.update("a", [1, 2, 3]),
                lambda: reader.delete("a"),
                lambda: reader.delete_many(["a"]),
                lambda: reader.save(),
                lambda: reader.compact(),
            ):
                with refuses("database is read-only"):
                    write()
            with refuses("dimension mismatch: expected 3, got 4"):
                nearfield.Database(path, 4, read_only=True)
            with reader:
                pass
            assert reader.ids() == ["a"]
            writer.close()
            writer = nearfield.Database(path) if again == 0 else writer
        reader.close()
        with refuses("database is closed"):
            len(reader)

    def test_a_reader_sees_the_moment_it_was_opened(self, path: str) -> None:
        writer = nearfield.Database(path, dim=3)
        writer.add("a", [1, 2, 3])
        reader = nearfield.Database(path, read_only=True)
        writer.add("b", [1, 2, 3])
        writer.compact()
        assert (len(reader), len(writer)) == (1, 2)
        # It does not keep the directory open for writing.
        del writer
        assert len(nearfield.Database(path)) == 2

    def test_manners(self, db: nearfield.Database, path: str) -> None:
        db.add("<b>", [1, 2, 3])
        assert repr(db) == f'nearfield.Database("{path}": 1 records, dim 3, cosine)'
        assert "<th>records</th><td>1</td>" in db._repr_html_()
        for copying in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled or copied: it holds its directory's lock"):
                copying(db)
        assert weakref.ref(db)() is db
        assert list(db) == ["<b>"] and [*iter(db)] == db.ids()

        class Own(nearfield.Database):
            pass

        assert len(Own(path)) == 1

    def test_stats(self, path: str) -> None:
        db = nearfield.Database(path, DIM)
        keys = """num_vectors num_deleted num_layers avg_degree_layer0 max_degree_layer0 min_degree_layer0
            memory_vectors_bytes memory_graph_bytes memory_quantized_bytes uses_brute_force uses_quantized_search""".split()
        assert list(db.stats()) == keys
        db.add_many(names(20), rows(20))
        db.delete("id-3")
        stats = db.stats()
        assert (stats["num_vectors"], stats["num_deleted"], stats["uses_brute_force"]) == (19, 1, True)
        assert stats["memory_vectors_bytes"] == 20 * DIM * 4
        assert nearfield.Database(path, read_only=True).stats()["num_vectors"] == 19
        db.upsert_many(names(4000), rows(4000))
        db.save()
        # A reader sees what there was when it was opened: the graph, once it is built.
        for opened in (lambda: db, lambda: nearfield.Database(path, read_only=True)):
            for _ in range(600):
                stats = opened().stats()
                if not stats["uses_brute_force"]:
                    break
                time.sleep(0.05)
            assert stats["num_layers"] > 1 and 1 < stats["avg_degree_layer0"] < stats["max_degree_layer0"] <= 32

    def test_threads(self, path: str) -> None:
        db = nearfield.Database(path, DIM)
        vectors = rows(400)
        failed: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for at in range(number, 400, 4):
                    db.add(f"id-{at}", vectors[at], {"thread": number})
                    assert db.search(vectors[at], k=1)[0].distance < 1e-5
                    if at % 10 == number:
                        db.update(f"id-{at}", metadata={"thread": -1})
                    if at % 7 == 0:
                        db.delete(f"id-{at}")
                    if at % 100 == number:
                        db.compact()
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert sorted(db.ids()) == sorted(f"id-{at}" for at in range(400) if at % 7)
        assert db.total_slots == len(db) + db.deleted_count


class TestLargeBatches:
    """More records than the engine takes in one operation."""

    COUNT = 10_050

    def test_whole_or_not_at_all(self, path: str) -> None:
        db = nearfield.Database(path, 2)
        ids, vectors = names(self.COUNT), rows(self.COUNT, 2)
        db.add_many(ids, vectors)
        assert len(db) == self.COUNT and db.get("id-10040")[0] == vectors[10040].tolist()
        with refuses("id 'id-10049' already exists, use upsert instead"):
            db.add_many([f"new-{at}" for at in range(self.COUNT)] + ["id-10049"], rows(self.COUNT + 1, 2))
        assert len(db) == self.COUNT
        db.upsert_many([*ids, "extra", "extra"], np.ones((self.COUNT + 2, 2)))
        assert len(db) == self.COUNT + 1 == db.total_slots and db.get("id-0")[0] == [1.0, 1.0]
        assert db.delete_many([*ids, *ids]) == self.COUNT
        assert db.ids() == ["extra"]

    def test_a_batch_that_fails_half_way_is_taken_back(self, path: str) -> None:
        db = nearfield.Database(path, 2)
        db.add_many(names(3), [[1, 2]] * 3, [{"old": 1}] * 3)
        batch = [f"id-{at}" for at in range(10_000)] + ["x" * 5000]
        with pytest.raises(ValueError, match="at most 4096"):
            db.upsert_many(batch, np.zeros((10_001, 2)))
        for handle in (db, nearfield.Database(path, read_only=True)):
            assert {id: handle.get(id) for id in handle} == {id: ([1.0, 2.0], {"old": 1}) for id in names(3)}


def test_the_examples_run() -> None:
    import nearfield._async
    import nearfield._client

    for module in (nearfield, nearfield._async, nearfield._client, nearfield._nearfield):
        failed, _ = doctest.testmod(module)
        assert failed == 0, module
    for thing in (nearfield.Database, nearfield.SearchResult):
        examples = doctest.DocTestFinder().find(thing)
        assert sum(doctest.DocTestRunner().run(example).failed for example in examples) == 0
        assert sum(len(example.examples) for example in examples) > 0


def test_arrays_that_do_not_lie_plainly(tmp_path: pathlib.Path) -> None:
    db = nearfield.Database(tmp_path / "odd", dim=3, metric="l2")
    fields = np.zeros(3, np.dtype([("tag", "u1"), ("x", "<f4")]))
    fields["x"] = [1, 2, 3]
    assert fields["x"].strides == (5,)
    unaligned = np.frombuffer(b"\0" + np.array([4, 5, 6], "<f4").tobytes(), np.uint8)[1:].view("<f4")
    assert not unaligned.flags.aligned
    for id, vector in (("field", fields["x"]), ("unaligned", unaligned), ("back", np.float32([9, 8, 7])[::-1])):
        db.add(id, vector)
        assert db.get(id)[0] == vector.tolist()
        assert db.search(vector, k=1)[0].id == id
        assert db.search_many([vector], k=1)[0][0].id == id
        db.update(id, vector)
        assert db.get(id)[0] == vector.tolist()


def test_closing_inside_with(tmp_path: pathlib.Path) -> None:
    with nearfield.Database(tmp_path / "a", dim=2) as db:
        db.add("a", [1, 2])
        db.close()
    with pytest.raises(KeyError), nearfield.Database(tmp_path / "a") as db:
        db.close()
        raise KeyError
    assert nearfield.Database(tmp_path / "a").ids() == ["a"]
