"""Whole programs: one written for vctrs with nothing changed but the import, and the first ten minutes of somebody new."""

import pathlib
import textwrap

import pytest
from support import python, run


def test_a_program_for_vctrs(tmp_path: pathlib.Path) -> None:
    printed = run(
        """
        import os, sys
        import numpy as np
        import nearfield as vctrs
        from nearfield import AsyncDatabase, Client, Database, SearchResult

        os.chdir(sys.argv[1])
        rng = np.random.default_rng(7)
        vector, new_vector, query_vector = rng.random((3, 384), dtype=np.float32)
        ids = [f"doc-{n}" for n in range(500)]
        vectors = rng.random((500, 384), dtype=np.float32)
        metadatas = [{"category": ["science", "sports", "tech"][n % 3], "score": n / 500} for n in range(500)]

        db = Database("./mydb", dim=384, metric="cosine")
        db.add("doc1", vector, {"title": "hello"})
        db.upsert("doc1", new_vector, {"title": "updated"})
        db.update("doc1", metadata={"title": "changed"})
        db.update("doc1", vector=new_vector)
        stored, metadata = db.get("doc1")
        assert np.allclose(stored, new_vector) and metadata == {"title": "changed"}
        assert "doc1" in db
        assert db.delete("doc1")
        db.add_many(ids, vectors, metadatas)

        results = db.search(query_vector, k=10)
        assert len(results) == 10 and isinstance(results[0], SearchResult)
        batch = db.search_many(vectors[:20], k=10)
        assert [hits[0].id for hits in batch] == ids[:20]
        for where in ({"category": "science"}, {"category": {"$ne": "sports"}}, {"category": {"$in": ["science", "tech"]}},
                      {"score": {"$gte": 0.5, "$lt": 0.9}}):
            assert len(db.search(query_vector, k=10, where_filter=where)) == 10
        db.compact()
        db.enable_quantized_search()
        db.save()
        print(sorted(db.stats()))
        del db

        with Database("./mydb", dim=384) as db:
            db.add("doc1", vector)
        with vctrs.Database("./quantized", dim=384, m=16, ef_construction=200, quantize=True) as quantized:
            quantized.add_many(ids, vectors)

        client = Client("./data")
        movies = client.create_collection("movies", dim=384)
        docs = client.create_collection("docs", dim=768, metric="dot")
        movies.add("m1", vector, {"title": "Alien"})
        movies.save()
        print(client.list_collections())
        assert client.get_collection("movies").get("m1")[1] == {"title": "Alien"}
        client.delete_collection("docs")

        db.export_json("backup.json", pretty=True)
        restored = Database("./restored", dim=384)
        restored.import_json("backup.json")
        print(len(restored), len(db))

        import asyncio
        async def main():
            async with AsyncDatabase("./async", dim=384) as db:
                await db.add("id1", vector, {"key": "value"})
                results = await db.search(query_vector, k=10)
                print(results[0].id, results[0].metadata)
        asyncio.run(main())
        """,
        tmp_path,
    )
    assert printed.splitlines()[1:] == ["['docs', 'movies']", "501 501", "id1 {'key': 'value'}"]


STEPS = [
    # Text, and what is printed.
    ("import nearfield, numpy as np", ""),
    ('db = nearfield.Database("notes", dim=4)', ""),
    ('db.add("a", [1, 0, 0, 0], {"lang": "en"})', ""),
    ('db.add_many(["b", "c"], np.eye(2, 4), [{"lang": "de"}, None])', ""),
    ("db", 'nearfield.Database("notes": 3 records, dim 4, cosine)'),
    ("db.search([1, 0.1, 0, 0], k=2)", "[SearchResult(id='a', distance=0.0050), SearchResult(id='b', distance=0.0050)]"),
    ('[r.id for r in db.search([1, 0, 0, 0], where_filter={"lang": {"$exists": False}})]', "['c']"),
    ('db.add("a", [1, 0, 0, 0])', "ValueError: id 'a' already exists, use upsert instead"),
    ('db.add("d", [1, 0])', "ValueError: dimension mismatch: expected 4, got 2"),
    ('db.add("d", [1, 0, 0, "x"])', "TypeError: vector[3] must be a number, not str"),
    ('db.count({"lang": {"$like": "e"}})', "ValueError: unknown operator: $like"),
    ("len(db), list(db), 'a' in db", "(3, ['a', 'b', 'c'], True)"),
    ('db.get("b")', "([1.0, 0.0, 0.0, 0.0], {'lang': 'de'})"),
    ("del db", ""),
    ('nearfield.Database("notes").ids()', "['a', 'b', 'c']"),
    ('nearfield.Database("nots")', "ValueError: database not found — specify dim to create a new one"),
]


def test_the_first_ten_minutes(tmp_path: pathlib.Path) -> None:
    program = """
        import code, os, sys, traceback
        os.chdir(sys.argv[1])
        names = {}
        for line in sys.stdin.read().splitlines():
            try:
                exec(compile(line, "<line>", "single"), names)
            except Exception as error:
                print(f"{type(error).__name__}: {error}")
            print("--")
    """
    process = python(program, tmp_path)
    printed, _ = process.communicate("\n".join(line for line, _ in STEPS), timeout=60)
    answers = [part.strip() for part in printed.split("--\n")][:-1]
    assert list(zip([line for line, _ in STEPS], answers)) == STEPS
    assert textwrap.dedent(program) and process.returncode == 0


@pytest.mark.parametrize("version", ["0.3.0"])
def test_beside_the_original_where_it_is_installed(version: str) -> None:
    """The same calls to both; the original is not installed by default."""
    vctrs = pytest.importorskip("vctrs")
    import tempfile

    import nearfield
    import numpy as np

    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((300, 8)).astype(np.float32)
    for metric in ("cosine", "l2", "dot"):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            dbs = vctrs.Database(one, 8, metric), nearfield.Database(two, 8, metric)
            answers = []
            for db in dbs:
                db.add_many([str(n) for n in range(300)], vectors, [{"n": n} for n in range(300)])
                db.delete("7")
                db.add("7", vectors[8])
                db.update("9", metadata={"n": -1})
                found = db.search_many(vectors[:20] + 0.01, k=7, where_filter={"n": {"$lt": 250}})
                ids = [[result.id for result in results] for results in found]
                distances = [[result.distance for result in results] for results in found]
                slots = (db.deleted_count, db.total_slots, len(db), db.metric, db.get("9"))
                answers.append((ids, slots, np.array(distances)))
            assert answers[0][:2] == answers[1][:2]
            np.testing.assert_allclose(answers[0][2], answers[1][2], rtol=1e-4, atol=1e-5)
