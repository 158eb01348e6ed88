"""nearfield.migrate: directories of vctrs, made here byte by byte, and by vctrs itself where it is installed."""

import json
import pathlib
import struct
import zlib
from typing import Any

import nearfield
import numpy as np
import pytest
from nearfield import migrate
from support import files


def u32(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers)


def text(given: str) -> bytes:
    return u32(len(given.encode())) + given.encode()


def vector(numbers: list[float]) -> bytes:
    return u32(len(numbers)) + struct.pack(f"<{len(numbers)}f", *numbers)


def metadata(given: dict[str, Any] | None) -> bytes:
    return u32(0) if given is None else text(json.dumps(given))


def entry(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + u32(len(body)) + body + u32(zlib.crc32(bytes([kind]) + body))


GRAPH = b"".join(
    [
        u32(0x48535747, 2, 2), b"\x01", u32(16, 200, 0, 0, 3),
        # One deleted slot; three nodes of one layer.
        u32(1, 1), u32(1, 1, 1), u32(1, 2, 0, 2), u32(1, 0),
        u32(0x4D455441, 3),
        u32(0), text("a"), metadata({"x": 1}), u32(1), text("gone"), metadata(None), u32(2), text("b"), metadata(None),
    ]
)  # fmt: skip
VECTORS = struct.pack("<9f", 1, 2, 3, 4, 5, 6, 0, 0, 0)
LOG = b"".join(
    [
        entry(1, text("a") + vector([7, 8]) + metadata(None)),
        entry(1, text("c") + vector([9, 9]) + metadata({"y": None})),
        entry(2, text("b")),
        entry(3, text("c") + b"\1" + vector([1, 1]) + b"\0"),
        entry(3, text("c") + b"\0" + b"\1" + metadata({"z": 1})),
        entry(3, text("nobody") + b"\0\0"),
    ]
)


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name, data in (("graph.vctrs", GRAPH), ("vectors.bin", VECTORS), ("wal.vctrs", LOG)):
        (folder / name).write_bytes(data)
    return folder


def all_of(db: Any) -> dict[str, Any]:
    return {id: db.get(id) for id in db.ids()}


def test_a_saved_database_with_a_log(source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    before = files(source)
    db = migrate.from_vctrs(source, tmp_path / "target")
    assert (db.dim, db.metric) == (2, "euclidean")
    assert all_of(db) == {"a": ([7.0, 8.0], None), "c": ([1.0, 1.0], {"z": 1})}
    assert files(source) == before
    with pytest.raises(ValueError, match="is not empty"):
        migrate.from_vctrs(source, tmp_path / "target")
    with pytest.raises(ValueError, match="there is no database of vctrs in"):
        migrate.from_vctrs(tmp_path / "none", tmp_path / "other")
    (source / "wal.vctrs").unlink()
    db = migrate.from_vctrs(str(source), str(tmp_path / "saved"), metric="dot")
    assert db.metric == "dot_product" and all_of(db) == {"a": ([1.0, 2.0], {"x": 1}), "b": ([5.0, 6.0], None)}


def test_a_log_alone(source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (source / "graph.vctrs").unlink()
    db = migrate.from_vctrs(source, tmp_path / "target", metric="l2")
    assert (db.dim, db.metric) == (2, "euclidean") and sorted(db.ids()) == ["a", "c"]


def test_a_log_counts_up_to_its_first_damaged_entry(source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for cut in range(len(LOG)):
        (source / "wal.vctrs").write_bytes(LOG[:cut])
        records = all_of(migrate.from_vctrs(source, tmp_path / f"cut-{cut}")) if cut % 7 == 0 else None
        assert records is None or "a" in records
    (source / "wal.vctrs").write_bytes(LOG[:60] + bytes([LOG[60] ^ 1]) + LOG[61:])
    assert "b" in all_of(migrate.from_vctrs(source, tmp_path / "damaged"))


def test_what_is_damaged_is_refused(source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for cut in range(len(GRAPH)):
        (source / "graph.vctrs").write_bytes(GRAPH[:cut])
        with pytest.raises(ValueError, match="^corrupt data|version"):
            migrate.from_vctrs(source, tmp_path / "target")
    (source / "graph.vctrs").write_bytes(GRAPH)
    (source / "vectors.bin").write_bytes(VECTORS[:20])
    with pytest.raises(ValueError, match="vectors.bin has 20 bytes, 3 vectors of 2 numbers need more"):
        migrate.from_vctrs(source, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_what_vctrs_writes(tmp_path: pathlib.Path) -> None:
    vctrs = pytest.importorskip("vctrs")
    theirs = vctrs.Database(str(tmp_path / "theirs"), dim=8, metric="dot")
    vectors = np.random.default_rng(1).standard_normal((2500, 8)).astype(np.float32)
    theirs.add_many([str(n) for n in range(2500)], vectors, [{"n": n} if n % 2 else None for n in range(2500)])
    theirs.delete_many([str(n) for n in range(0, 2500, 7)])
    theirs.save()
    theirs.upsert("new", [1] * 8)
    theirs.update("1", metadata={"new": True})
    theirs.delete("2")
    expected = all_of(theirs)
    del theirs
    ours = migrate.from_vctrs(tmp_path / "theirs", tmp_path / "ours")
    assert ours.metric == "dot_product" and all_of(ours) == expected
    assert isinstance(ours, nearfield.Database)


def test_vectors_that_do_not_fit_make_nothing(source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    target = tmp_path / "target"
    for numbers, why in (([1, 2, 3], "has 3 numbers, the database has dim 2"), ([1, float("nan")], "contains NaN or infinity")):
        (source / "wal.vctrs").write_bytes(LOG + entry(1, text("odd") + vector(numbers) + metadata(None)))
        with pytest.raises(ValueError, match=why):
            migrate.from_vctrs(source, target)
        assert not target.exists()
    (source / "wal.vctrs").write_bytes(LOG + entry(1, text("i" * 5000) + vector([1, 2]) + metadata(None)))
    with pytest.raises(ValueError, match="id"):
        migrate.from_vctrs(source, target)
    assert not target.exists()
    target.mkdir()
    with pytest.raises(ValueError, match="id"):
        migrate.from_vctrs(source, target)
    assert list(target.iterdir()) == []
