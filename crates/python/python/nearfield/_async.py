"""The class ``nearfield.AsyncDatabase``: the operations of ``Database`` for an event loop.

The work is done by threads of the compiled part, which tell the loop when it is done; no thread of Python waits for it.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from numpy.typing import ArrayLike

from nearfield._nearfield import Database, SearchResult

_Metadata = dict[str, Any]


def _settle(future: "asyncio.Future[Any]", value: object, error: BaseException | None) -> None:
    """Called in the loop when an operation is done. Whoever cancelled the future meanwhile does not want to know."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


class AsyncDatabase:
    """A ``Database`` whose longer operations are coroutines. Arguments, defaults and results are those of ``Database``.

    >>> import asyncio, nearfield
    >>> async def main():
    ...     async with nearfield.AsyncDatabase(":memory:", dim=2) as db:
    ...         await db.add("a", [1.0, 0.0])
    ...         return await db.search([1.0, 0.1], k=1)
    >>> asyncio.run(main())
    [SearchResult(id='a', distance=0.0050)]
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dim: int | None = None,
        metric: str | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        quantize: bool = False,
        *,
        read_only: bool = False,
        durability: str = "process",
    ) -> None:
        self._db = Database(
            path, dim, metric, m, ef_construction, quantize, read_only=read_only, durability=durability
        )
        self._later = self._db._later

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        dim: int | None = None,
        metric: str | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        quantize: bool = False,
        *,
        read_only: bool = False,
        durability: str = "process",
    ) -> "AsyncDatabase":
        """Opens or makes a database without blocking the loop."""
        # The constructor releases the interpreter lock while it opens.
        return await asyncio.to_thread(
            cls, path, dim, metric, m, ef_construction, quantize, read_only=read_only, durability=durability
        )

    async def add(self, id: str, vector: ArrayLike, metadata: _Metadata | None = None) -> None:
        """See ``Database.add``."""
        await self._later.put(asyncio.get_running_loop(), id, vector, metadata, True)

    async def upsert(self, id: str, vector: ArrayLike, metadata: _Metadata | None = None) -> None:
        """See ``Database.upsert``."""
        await self._later.put(asyncio.get_running_loop(), id, vector, metadata, False)

    async def add_many(
        self, ids: Sequence[str], vectors: ArrayLike, metadatas: Sequence[_Metadata | None] | None = None
    ) -> None:
        """See ``Database.add_many``."""
        await self._later.put_many(asyncio.get_running_loop(), ids, vectors, metadatas, True)

    async def upsert_many(
        self, ids: Sequence[str], vectors: ArrayLike, metadatas: Sequence[_Metadata | None] | None = None
    ) -> None:
        """See ``Database.upsert_many``."""
        await self._later.put_many(asyncio.get_running_loop(), ids, vectors, metadatas, False)

    async def search(
        self,
        vector: ArrayLike,
        k: int = 10,
        ef_search: int | None = None,
        where_filter: dict[str, Any] | None = None,
        max_distance: float | None = None,
    ) -> list[SearchResult]:
        """See ``Database.search``."""
        loop = asyncio.get_running_loop()
        found: list[SearchResult] = await self._later.search(
            loop, vector, k, ef_search, where_filter, max_distance, False
        )
        return found

    async def search_many(
        self,
        vectors: ArrayLike,
        k: int = 10,
        ef_search: int | None = None,
        where_filter: dict[str, Any] | None = None,
        max_distance: float | None = None,
    ) -> list[list[SearchResult]]:
        """See ``Database.search_many``."""
        loop = asyncio.get_running_loop()
        found: list[list[SearchResult]] = await self._later.search(
            loop, vectors, k, ef_search, where_filter, max_distance, True
        )
        return found

    async def get(self, id: str) -> tuple[list[float], _Metadata | None]:
        """See ``Database.get``."""
        found: tuple[list[float], _Metadata | None] = await self._later.get(asyncio.get_running_loop(), id)
        return found

    async def delete(self, id: str) -> bool:
        """See ``Database.delete``."""
        return bool(await self._later.delete(asyncio.get_running_loop(), id))

    async def delete_many(self, ids: Sequence[str]) -> int:
        """See ``Database.delete_many``."""
        return int(await self._later.delete_many(asyncio.get_running_loop(), ids))

    async def update(
        self, id: str, vector: ArrayLike | None = None, metadata: _Metadata | None = None
    ) -> None:
        """See ``Database.update``."""
        await self._later.update(asyncio.get_running_loop(), id, vector, metadata)

    async def save(self) -> None:
        """See ``Database.save``."""
        await self._later.call(asyncio.get_running_loop(), "save")

    async def compact(self) -> None:
        """See ``Database.compact``."""
        await self._later.call(asyncio.get_running_loop(), "compact")

    async def close(self) -> None:
        """See ``Database.close``."""
        await self._later.call(asyncio.get_running_loop(), "close")

    async def export_json(self, path: str | os.PathLike[str], pretty: bool = False) -> None:
        """See ``Database.export_json``."""
        await asyncio.to_thread(self._db.export_json, path, pretty)

    async def import_json(self, path: str | os.PathLike[str]) -> None:
        """See ``Database.import_json``."""
        await asyncio.to_thread(self._db.import_json, path)

    def count(self, where_filter: dict[str, Any] | None = None) -> int:
        """See ``Database.count``."""
        return self._db.count(where_filter)

    def ids(self) -> list[str]:
        """See ``Database.ids``."""
        return self._db.ids()

    def stats(self) -> dict[str, Any]:
        """See ``Database.stats``."""
        return self._db.stats()

    def enable_quantized_search(self) -> None:
        """See ``Database.enable_quantized_search``."""
        self._db.enable_quantized_search()

    def disable_quantized_search(self) -> None:
        """See ``Database.disable_quantized_search``."""
        self._db.disable_quantized_search()

    @property
    def dim(self) -> int:
        """How many numbers a vector has."""
        return self._db.dim

    @property
    def metric(self) -> str:
        """The metric: "cosine", "euclidean" or "dot_product"."""
        return self._db.metric

    @property
    def path(self) -> str:
        """The directory, or ":memory:"."""
        return self._db.path

    @property
    def read_only(self) -> bool:
        """True if this handle only reads."""
        return self._db.read_only

    @property
    def quantized_search(self) -> bool:
        """True if this handle searches quantised."""
        return self._db.quantized_search

    @property
    def deleted_count(self) -> int:
        """Deleted slots not yet reclaimed by ``compact``."""
        return self._db.deleted_count

    @property
    def total_slots(self) -> int:
        """All slots, live and deleted."""
        return self._db.total_slots

    def __len__(self) -> int:
        return len(self._db)

    def __contains__(self, id: str) -> bool:
        return id in self._db

    async def __aenter__(self) -> "AsyncDatabase":
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        try:
            await self._later.call(asyncio.get_running_loop(), "leave")
        except ValueError as error:
            # An exception is not ours to hide behind another one.
            if exc_val is None:
                raise
            if sys.version_info >= (3, 11):
                exc_val.add_note(f"leaving the database failed too: {error}")
        return False

    def __repr__(self) -> str:
        return repr(self._db).replace("nearfield.Database", "nearfield.AsyncDatabase", 1)

    def _repr_html_(self) -> str:
        return self._db._repr_html_()

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError(
            "an AsyncDatabase cannot be pickled or copied: it holds its directory's lock. "
            "Open the directory again where you need it, with read_only=True beside a writer"
        )
