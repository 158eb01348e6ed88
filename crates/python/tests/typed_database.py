"""Programs as a user of the database with a type checker writes them: `cargo xtask python` checks them and does not run them."""

import asyncio
import pathlib
from typing import Any

import nearfield
import numpy as np
from numpy.typing import NDArray


def nearest(db: nearfield.Database, query: NDArray[np.float32]) -> list[str]:
    results: list[nearfield.SearchResult] = db.search(query, k=3, where_filter={"lang": {"$in": ["en", "de"]}})
    for result in results:
        id, distance, metadata = result
        print(id, distance, metadata)
        first: str = result[0]
        second: float = result[1]
        third: dict[str, Any] | None = result[2]
        print(first, second, third)
    return [result.id for result in results]


def main() -> None:
    with nearfield.Database(pathlib.Path("folder"), dim=4, metric="l2", durability="sync") as db:
        db.add("a", [1.0, 2.0, 3.0, 4.0], {"lang": "en"})
        db.add_many(["b", "c"], np.zeros((2, 4)), [None, {"n": 1}])
        vector, metadata = db.get("a")
        total: float = sum(vector)
        lang = metadata["lang"] if metadata else None
        print(total, lang, db.count({"n": {"$exists": True}}), "a" in db, list(db), len(db), db.stats()["num_vectors"])
    reader = nearfield.Database("folder", read_only=True)
    print(nearest(reader, np.zeros(4, np.float32)))
    client = nearfield.Client("folders")
    names: list[str] = client.list_collections()
    other: nearfield.Database = client.get_or_create_collection("x", 4)
    gone: bool = client.delete_collection("x")
    print(names, other.metric, gone)


async def later() -> None:
    async with nearfield.AsyncDatabase("folder", dim=4) as db:
        await db.upsert("a", [1.0, 2.0, 3.0, 4.0])
        many: list[list[nearfield.SearchResult]] = await db.search_many(np.zeros((2, 4)), k=1)
        deleted: bool = await db.delete("a")
        print(many[0][0].distance, deleted, db.count(), db.dim)
    other = await nearfield.AsyncDatabase.open("folder")
    await other.close()


asyncio.run(later())
