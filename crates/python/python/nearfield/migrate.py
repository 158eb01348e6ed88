"""Moving databases of other libraries here. What is read is never changed."""

import contextlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from nearfield._nearfield import Database

_METRICS = ("cosine", "euclidean", "dot_product")
_GRAPH, _METADATA = 0x48535747, 0x4D455441
_BATCH = 5_000


class _Bytes:
    """Little-endian numbers and texts one after another. Lengths are compared with what is there before anything is taken."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.data, self.at = name, data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise ValueError(f"corrupt data: {self.name} ends at {len(self.data)}, inside something")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def numbers(self, count: int) -> "np.ndarray[Any, Any]":
        return np.frombuffer(self.take(4 * count), "<u4")

    def text(self) -> str:
        try:
            return self.take(self.u32()).decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"corrupt data: {self.name} has a text that is no UTF-8 before {self.at}") from error

    def vector(self) -> "np.ndarray[Any, Any]":
        return np.frombuffer(self.take(4 * self.u32()), "<f4")

    def metadata(self) -> dict[str, Any] | None:
        written = self.take(self.u32())
        if not written:
            return None
        try:
            read = json.loads(written)
        except ValueError as error:
            raise ValueError(f"corrupt data: {self.name} has metadata that is no JSON before {self.at}") from error
        if not isinstance(read, dict):
            raise ValueError(f"corrupt data: {self.name} has metadata that is no object before {self.at}")
        return read

    def expect(self, number: int) -> None:
        found = self.u32()
        if found != number:
            raise ValueError(f"corrupt data: {self.name} has {found:#x} at {self.at - 4}, expected {number:#x}")


_Record = tuple["np.ndarray[Any, Any]", dict[str, Any] | None]


def from_vctrs(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    metric: str | None = None,
    m: int | None = None,
    ef_construction: int | None = None,
) -> Database:
    """Copies a database of vctrs 0.3 in the directory ``source`` to a new one in ``target``, and opens it.

    Its log is read too, up to its first damaged entry. ``metric``, ``m`` and ``ef_construction`` are those of the source unless given; a source that was
    never saved does not tell them. ValueError if the source is no such database, or is damaged; nothing is made then.
    """
    saved, log = (_read(os.path.join(source, name)) for name in ("graph.vctrs", "wal.vctrs"))
    if saved is None and log is None:
        raise ValueError(f"there is no database of vctrs in '{os.fspath(source)}'")
    records: dict[str, _Record] = {}
    dim: int | None = None
    if saved is not None:
        vectors = _read(os.path.join(source, "vectors.bin"))
        dim, stored, links, width, records = _saved(saved, vectors or b"")
        metric, m, ef_construction = metric or stored, m or links, ef_construction or width
    for id, record in _logged(log or b"", records):
        if record is None:
            records.pop(id, None)
        else:
            records[id] = record
    if dim is None:
        dims = {len(vector) for vector, _ in records.values()}
        if len(dims) != 1:
            raise ValueError(f"'{os.fspath(source)}' was never saved and does not tell how long its vectors are")
        dim = dims.pop()
    for id, (vector, _) in records.items():
        if len(vector) != dim:
            raise ValueError(f"corrupt data: the vector of id '{id}' has {len(vector)} numbers, the database has dim {dim}")
        if not np.isfinite(vector).all():
            raise ValueError(f"the vector of id '{id}' contains NaN or infinity")
    there = os.path.isdir(target)
    if there and os.listdir(target):
        raise ValueError(f"'{os.fspath(target)}' is not empty")
    db: Database | None = None
    try:
        db = Database(target, dim, metric, m, ef_construction)
        ids = list(records)
        for begin in range(0, len(ids), _BATCH):
            part = ids[begin : begin + _BATCH]
            db.add_many(part, [records[id][0] for id in part], [records[id][1] for id in part])
        db.save()
    except BaseException:
        if db is not None:
            with contextlib.suppress(ValueError):
                db.close()
            _remove(target, there)
        raise
    return db


def _remove(target: str | os.PathLike[str], there: bool) -> None:
    """Removes the database that was begun in a folder which was empty, and the folder unless it was there before."""
    if not os.path.isdir(target):
        return
    for entry in list(os.scandir(target)):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)
    if not there:
        with contextlib.suppress(OSError):
            os.rmdir(target)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(f"reading '{path}': {error.strerror}") from error


def _saved(graph: bytes, vectors: bytes) -> tuple[int, str, int, int, dict[str, _Record]]:
    """Dimension, metric, m, ef_construction and records of the last save."""
    read = _Bytes("graph.vctrs", graph)
    read.expect(_GRAPH)
    version = read.u32()
    if version != 2:
        raise ValueError(f"graph.vctrs has version {version}, only 2 can be read")
    dim, metric, m, ef_construction, _entry, _layers, count = (
        read.u32(), read.u8(), read.u32(), read.u32(), read.u32(), read.u32(), read.u32(),
    )
    if metric >= len(_METRICS) or not dim:
        raise ValueError(f"corrupt data: graph.vctrs has metric {metric} and dim {dim}")
    deleted = set(read.numbers(read.u32()).tolist())
    for _node in range(count):
        for _layer in range(read.u32()):
            read.take(4 * read.u32())
    read.expect(_METADATA)
    if len(vectors) < 4 * dim * count:
        raise ValueError(f"corrupt data: vectors.bin has {len(vectors)} bytes, {count} vectors of {dim} numbers need more")
    rows = np.frombuffer(vectors, "<f4", dim * count).reshape(count, dim)
    records: dict[str, _Record] = {}
    for _record in range(read.u32()):
        slot, id, metadata = read.u32(), read.text(), read.metadata()
        if slot >= count:
            raise ValueError(f"corrupt data: graph.vctrs has record {slot} of {count}")
        if slot not in deleted:
            records[id] = (rows[slot], metadata)
    return dim, _METRICS[metric], m, ef_construction, records


def _logged(log: bytes, records: dict[str, _Record]) -> Iterator[tuple[str, _Record | None]]:
    """What the log changes, in order: ids with their records, or None where they were deleted."""
    read = _Bytes("wal.vctrs", log)
    while len(log) - read.at >= 9:
        kind, length = read.u8(), read.u32()
        if length > len(log) - read.at - 4:
            return
        body = read.take(length)
        if zlib.crc32(bytes([kind]) + body) != read.u32():
            return
        entry = _Bytes("wal.vctrs", body)
        id = entry.text()
        if kind == 1:
            yield id, (entry.vector(), entry.metadata())
        elif kind == 2:
            yield id, None
        elif kind == 3 and id in records:
            vector, metadata = records[id]
            vector = entry.vector() if entry.u8() else vector
            yield id, (vector, entry.metadata() if entry.u8() else metadata)
        elif kind != 3:
            return

