"""The class nearfield.AsyncDatabase."""

import asyncio
import inspect
import pathlib
import pickle
import time

import nearfield
import numpy as np
import pytest
from support import names, refuses, rows, run


def test_it_is_the_database_for_a_loop(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        with refuses("database not found — specify dim to create a new one"):
            await nearfield.AsyncDatabase.open(tmp_path / "db")
        async with nearfield.AsyncDatabase(tmp_path / "db", dim=3, metric="l2", quantize=True) as db:
            assert await db.add("a", [1, 2, 3], {"n": 1}) is None
            with refuses("id 'a' already exists, use upsert instead"):
                await db.add("a", [1, 2, 3])
            with refuses("dimension mismatch: expected 3, got 1"):
                await db.upsert("a", [1])
            await db.upsert("b", np.array([4, 5, 6]))
            await db.add_many(["c", "d"], rows(2, 3), [None, {"n": 2}])
            await db.upsert_many(["c"], [[7, 8, 9]])
            assert await db.get("c") == ([7.0, 8.0, 9.0], None)
            with refuses("id 'zz' not found"):
                await db.get("zz")
            assert (await db.search([1, 2, 3], k=1))[0].id == "a"
            assert await db.search([1, 2, 3], 10, None, {"n": 9}) == []
            assert len(await db.search([1, 2, 3], max_distance=0.5)) == 1
            many = await db.search_many([[1, 2, 3], [7, 8, 9]], k=1, where_filter={"n": {"$exists": False}})
            assert [[result.id for result in results] for results in many] == [["b"], ["c"]]
            await db.update("a", metadata={"n": 3})
            with refuses("update needs a vector or metadata"):
                await db.update("a")
            assert await db.delete("b") is True and await db.delete("b") is False
            assert await db.delete_many(["c", "zz"]) == 1
            assert (db.deleted_count, db.total_slots, len(db), db.count({"n": 3})) == (2, 4, 2, 1)
            await db.save()
            await db.compact()
            assert (db.deleted_count, sorted(db.ids()), "a" in db, "b" in db) == (0, ["a", "d"], True, False)
            assert (db.dim, db.metric, db.quantized_search) == (3, "euclidean", True)
            db.disable_quantized_search()
            assert db.quantized_search is False
            db.enable_quantized_search()
            assert db.stats()["num_vectors"] == 2
            await db.export_json(tmp_path / "x.json")
            other = nearfield.AsyncDatabase(":memory:", dim=3)
            await other.import_json(tmp_path / "x.json")
            assert other.ids() == db.ids() and await other.get("a") == await db.get("a")
        # Its lock was given up; it can still read.
        assert db.ids() == ["a", "d"] and (await db.search([1, 2, 3], k=1))[0].id == "a"
        reader = await nearfield.AsyncDatabase.open(tmp_path / "db", read_only=True)
        with refuses("database is read-only"):
            await reader.add("e", [1, 2, 3])
        await reader.close()
        with refuses("database is closed"):
            await reader.search([1, 2, 3])
        assert repr(db).startswith("nearfield.AsyncDatabase(") and "<table>" in db._repr_html_()
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(db)

    asyncio.run(main())


def test_leaving_after_an_exception_saves(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="mine"):
            async with nearfield.AsyncDatabase(tmp_path / "db", dim=1) as db:
                await db.add("a", [1])
                raise RuntimeError("mine")

    asyncio.run(main())
    assert nearfield.Database(tmp_path / "db").ids() == ["a"]


def test_signatures_are_those_of_the_database() -> None:
    coroutines = "add upsert add_many upsert_many search search_many get delete delete_many update save compact".split()
    plain = "count ids stats enable_quantized_search disable_quantized_search".split()
    for name in coroutines + plain + ["export_json", "import_json", "close"]:
        ours, theirs = getattr(nearfield.AsyncDatabase, name), getattr(nearfield.Database, name)
        assert inspect.iscoroutinefunction(ours) == (name not in plain), name
        words = lambda call: [(p.name, p.default) for p in inspect.signature(call).parameters.values()]
        assert words(ours) == words(theirs), name


def test_the_loop_goes_on_meanwhile(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        db = nearfield.AsyncDatabase(tmp_path / "db", dim=32)
        await db.add_many(names(9000), rows(9000, 32))
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        turning = asyncio.create_task(turn())
        await asyncio.gather(*(db.search_many(rows(500, 32, seed), k=50, ef_search=2000) for seed in range(4)))
        turning.cancel()
        assert turns > 100

    asyncio.run(main())


def test_many_at_once(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        db = nearfield.AsyncDatabase(tmp_path / "db", dim=4, durability="sync")
        vectors = rows(300)
        await asyncio.gather(*(db.add(f"id-{at}", vectors[at]) for at in range(300)))
        found = await asyncio.gather(*(db.search(vectors[at], k=1) for at in range(300)))
        assert [results[0].id for results in found] == names(300)
        refused = await asyncio.gather(*(db.add(f"id-{at}", vectors[at]) for at in range(9)), return_exceptions=True)
        assert all(isinstance(error, ValueError) for error in refused)
        # An array may be used again as soon as the call has begun.
        vector = np.zeros(4, np.float32)
        adding = []
        for at in range(20):
            vector[:] = at
            adding.append(asyncio.ensure_future(db.add(f"reused-{at}", vector)))
            await asyncio.sleep(0)
        await asyncio.gather(*adding)
        assert [(await db.get(f"reused-{at}"))[0][0] for at in range(20)] == [float(at) for at in range(20)]

    asyncio.run(main())


def test_cancelling_and_loops_that_end(tmp_path: pathlib.Path) -> None:
    db = nearfield.AsyncDatabase(tmp_path / "db", dim=16)

    async def main() -> None:
        await db.add_many(names(5000), rows(5000, 16))
        task = asyncio.create_task(db.search_many(rows(2000, 16), k=50, ef_search=3000))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(db.search_many(rows(2000, 16), k=50, ef_search=3000), 0.01)
        # Left behind by the loop that ends now.
        asyncio.ensure_future(db.search_many(rows(2000, 16), k=50, ef_search=3000))
        await asyncio.sleep(0)

    asyncio.run(main())
    time.sleep(0.2)

    async def again() -> int:
        return len(await db.search(rows(1, 16)[0], k=7))

    assert asyncio.run(again()) == 7


def test_closing_inside_with(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        async with nearfield.AsyncDatabase(tmp_path / "a", dim=2) as db:
            await db.add("a", [1, 2])
            await db.close()
        with pytest.raises(KeyError):
            async with nearfield.AsyncDatabase(tmp_path / "a") as db:
                await db.close()
                raise KeyError

    asyncio.run(main())
    assert nearfield.Database(tmp_path / "a").ids() == ["a"]


def test_nothing_is_begun_once_python_shuts_down() -> None:
    printed = run(
        """
        import atexit, asyncio
        async def late():
            await db.add("late", [1, 2])
        def begin():
            try:
                asyncio.run(late())
            except ValueError as error:
                print(error)
        # What is registered first is called last.
        atexit.register(begin)
        import nearfield
        db = nearfield.AsyncDatabase(":memory:", dim=2)
        asyncio.run(db.add("a", [1, 2]))
        """
    )
    assert printed == "Python is shutting down: nothing more can be begun\n"
