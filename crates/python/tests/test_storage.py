"""What is on disk: crashes, locks, readers beside a writer, forks, and batches that are whole or not there."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import nearfield
import numpy as np
import pytest
from support import files, names, python, refuses, rows, run

HOLDER = """
    import sys, nearfield
    db = nearfield.Database(sys.argv[1], dim=2)
    db.upsert("holder", [1, 2])
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "db")


def until_ready(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def test_what_was_never_saved_is_there(path: str) -> None:
    run(
        """
        import sys, nearfield
        db = nearfield.Database(sys.argv[1], dim=2, metric="l2")
        db.add("a", [1, 2], {"x": 1})
        db.add_many(["b", "c", "d"], [[1, 2], [3, 4], [5, 6]])
        db.update("b", metadata={"y": 2})
        db.upsert("c", [7, 8])
        db.delete("d")
        """,
        path,
    )
    db = nearfield.Database(path)
    assert {id: db.get(id) for id in db} == {
        "a": ([1.0, 2.0], {"x": 1}),
        "b": ([1.0, 2.0], {"y": 2}),
        "c": ([7.0, 8.0], None),
    }
    assert (db.metric, db.total_slots, db.deleted_count) == ("euclidean", 4, 1)


@pytest.mark.parametrize("durability", ["process", "sync"])
def test_what_has_returned_survives_a_kill(path: str, durability: str) -> None:
    process = python(
        """
        import sys, nearfield
        db = nearfield.Database(sys.argv[1], dim=2, durability=sys.argv[2])
        number = 0
        while True:
            db.add(str(number), [number, 1])
            print(number, flush=True)
            number += 1
        """,
        path,
        durability,
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < 200:
        pass
    process.send_signal(signal.SIGKILL)
    told = [int(line) for line in process.stdout.read().split() if line]
    process.wait()
    db = nearfield.Database(path, durability=durability)
    last = max(told, default=200)
    assert len(db) in (last + 1, last + 2)
    assert all(db.get(str(number))[0] == [float(number), 1.0] for number in range(last + 1))


def test_a_torn_last_entry_is_dropped(path: str) -> None:
    run(HOLDER.replace("sys.stdin.readline()", "[db.add(str(n), [n, 1]) for n in range(20)]; import os; os._exit(0)"), path)
    (log,) = [file for file in pathlib.Path(path).rglob("*.log") if file.stat().st_size]
    written = log.read_bytes()
    end = len(written.rstrip(b"\0"))
    log.chmod(0o644)
    log.write_bytes(written[: end - 5] + b"\xff" * 5 + written[end:])
    db = nearfield.Database(path)
    assert "holder" in db and all(str(number) in db for number in range(18)) and len(db) < 21


def test_one_writer(path: str) -> None:
    process = python(HOLDER, path)
    until_ready(process)
    for words in ({}, {"dim": 2}, {"durability": "sync"}):
        with refuses(f"database at '{path}' is open for writing by process {process.pid}"):
            nearfield.Database(path, **words)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert nearfield.Database(path).ids() == ["holder"]


def test_the_lock_is_given_up(path: str) -> None:
    opened = f"import nearfield; print(len(nearfield.Database({path!r}, 2)))"
    db = nearfield.Database(path, dim=2)
    other = nearfield.Database(path)
    held = python(opened)
    assert held.wait() != 0
    del db
    assert python(opened).wait() != 0
    del other
    assert run(opened) == "0\n"
    with nearfield.Database(path) as db:
        db.add("a", [1, 2])
    assert run(opened) == "1\n"
    db.add("b", [1, 2])
    assert python(opened).wait() != 0
    db.close()
    assert run(opened) == "2\n"
    # The next write takes it again; meanwhile somebody else may have it.
    with nearfield.Database(path) as db:
        pass
    process = python(HOLDER, path)
    until_ready(process)
    assert len(db) == 2
    with refuses(f"database at '{path}' is open for writing by process {process.pid}"):
        db.add("c", [1, 2])
    process.communicate("\n", timeout=60)
    db.add("c", [1, 2])
    assert sorted(db.ids()) == ["a", "b", "c", "holder"]


def test_the_working_directory_may_change(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with nearfield.Database("db", dim=2) as db:
        db.add("a", [1, 2])
    monkeypatch.chdir(tmp_path / "elsewhere")
    db.add("b", [1, 2])
    assert db.ids() == ["a", "b"] and db.path == "db" and not list((tmp_path / "elsewhere").iterdir())


def test_a_reader_beside_a_writer(path: str) -> None:
    process = python(
        """
        import sys, nearfield
        db = nearfield.Database(sys.argv[1], dim=2)
        print("ready", flush=True)
        number = 0
        for line in sys.stdin:
            for _ in range(int(line)):
                db.add(str(number), [number, 1], {"n": number})
                number += 1
            if number % 3 == 0:
                db.save()
            if number % 5 == 0:
                db.delete("0"), db.add("0", [0, 1], {"n": 0}), db.compact()
            print("ready", flush=True)
        """,
        path,
    )
    until_ready(process)
    assert process.stdin is not None
    total = 0
    for count in (1, 5, 10, 3, 1, 100, 7):
        reader = nearfield.Database(path, read_only=True)
        assert len(reader) == total and sorted(reader.ids()) == sorted(str(n) for n in range(total))
        print(count, file=process.stdin, flush=True)
        until_ready(process)
        total += count
        # It goes on seeing what it saw, whatever the writer did to the files.
        assert len(reader) == total - count
        if total > count:
            assert len(reader.search([1, 1], k=total)) == total - count
            assert reader.get(str(total - count - 1))[1] == {"n": total - count - 1}
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = files(pathlib.Path(path))
    assert len(nearfield.Database(path, read_only=True)) == total
    assert files(pathlib.Path(path)) == before


def test_readers_of_a_busy_writer(path: str) -> None:
    process = python(
        """
        import sys, nearfield, numpy as np
        db = nearfield.Database(sys.argv[1], dim=8)
        db.add_many([str(n) for n in range(64)], np.zeros((64, 8)), [{"round": 0}] * 64)
        print("ready", flush=True)
        round = 0
        while True:
            round += 1
            db.upsert_many([str(n) for n in range(64)], np.full((64, 8), round), [{"round": round}] * 64)
            if round % 20 == 0:
                db.save()
            if round % 70 == 0:
                db.compact()
        """,
        path,
    )
    until_ready(process)
    last = 0
    for _ in range(25):
        reader = nearfield.Database(path, read_only=True)
        seen = {result.metadata["round"] for result in reader.search([1] * 8, k=64)}
        assert len(reader) == 64 and len(seen) == 1, "every batch is seen whole"
        assert seen.pop() >= last
    process.kill()
    process.wait()


def test_readers_of_a_writer_of_large_batches(path: str) -> None:
    process = python(
        """
        import sys, nearfield, numpy as np
        db = nearfield.Database(sys.argv[1], dim=2)
        ids, zeros = [str(n) for n in range(10_100)], np.zeros((10_100, 2))
        db.add_many(ids, zeros, [{"round": 0}] * 10_100)
        print("ready", flush=True)
        for round in range(1, 1000):
            db.upsert_many(ids, zeros, [{"round": round}] * 10_100)
            db.save()
        """,
        path,
    )
    until_ready(process)
    last = 0
    for _ in range(10):
        reader = nearfield.Database(path, read_only=True)
        seen = reader.search([0, 0], k=1)[0].metadata["round"]
        assert reader.count({"round": seen}) == len(reader) == 10_100, "every batch is seen whole"
        assert seen >= last
        last = seen
        if last > 1:
            break
    process.kill()
    process.wait()


def test_the_end_of_the_process_in_a_large_batch(path: str) -> None:
    db = nearfield.Database(path, dim=2)
    old = {f"id-{n}": ([float(n), 1.0], {"old": n}) for n in range(50)}
    db.add_many(list(old), [vector for vector, _ in old.values()], [metadata for _, metadata in old.values()])
    db.close()
    for wait in (0.0, 0.02, 0.05, 0.1):
        process = python(
            """
            import sys, nearfield, numpy as np
            db = nearfield.Database(sys.argv[1])
            print("ready", flush=True)
            db.upsert_many([f"id-{n}" for n in range(40_000)], np.zeros((40_000, 2)), [{"new": 1}] * 40_000)
            """,
            path,
        )
        until_ready(process)
        time.sleep(wait)
        process.kill()
        process.wait()
        whole = {len(old), 40_000}
        reader = nearfield.Database(path, read_only=True)
        assert len(reader) in whole
        with nearfield.Database(path) as db:
            assert len(db) == len(reader) and db.get("id-7") == reader.get("id-7")
            if len(db) == len(old):
                assert {id: db.get(id) for id in db} == old
            else:
                assert db.count({"new": 1}) == 40_000
                return


def test_ctrl_c_interrupts_long_work(path: str) -> None:
    process = python(
        """
        import sys, nearfield, numpy as np
        db = nearfield.Database(sys.argv[1], dim=64)
        db.add_many([str(n) for n in range(9000)], np.random.default_rng(1).random((9000, 64), np.float32))
        queries = np.random.default_rng(2).random((200_000, 64), np.float32)
        print("ready", flush=True)
        try:
            db.search_many(queries, k=1000, ef_search=9000)
        except KeyboardInterrupt:
            print("interrupted", len(db), flush=True)
        """,
        path,
    )
    until_ready(process)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert printed == "interrupted 9000\n"


def test_ctrl_c_takes_a_large_batch_back(path: str) -> None:
    process = python(
        """
        import os, signal, sys, threading, nearfield, numpy as np
        db = nearfield.Database(sys.argv[1], dim=2)
        db.add("a", [1, 2])
        ids, vectors = [str(n) for n in range(60_000)], np.zeros((60_000, 2), np.float32)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            while True:
                db.upsert_many(ids, vectors)
        except KeyboardInterrupt:
            print(len(db) in (1, 60_001), len(db.ids()) == len(db))
        """,
        path,
    )
    printed, _ = process.communicate(timeout=120)
    assert printed == "True True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_is_refused(path: str) -> None:
    printed = run(
        """
        import os, sys, warnings, nearfield
        warnings.simplefilter("ignore")
        db = nearfield.Database(sys.argv[1], dim=2)
        db.add("a", [1, 2])
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            for call in (lambda: db.get("a"), lambda: len(db), lambda: db.add("b", [1, 2]), db.close, lambda: nearfield.Database(sys.argv[1]), lambda: nearfield.Database(":memory:", dim=2)):
                try:
                    call()
                    print("not refused")
                except ValueError as error:
                    print(str(error).replace(str(parent), "PARENT").replace(str(os.getpid()), "CHILD").replace(sys.argv[1], "PATH"))
            sys.stdout.flush()
            del db
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        db.add("c", [1, 2])
        print(db.ids())
        """,
        path,
    ).splitlines()
    handle = (
        "database was opened by process PARENT, and process CHILD was forked from it: open databases after the fork, "
        "or start processes with the method 'spawn'"
    )
    opening = (
        "databases were open in process PARENT when process CHILD was forked from it, and their threads stayed there: "
        "open databases after the fork, or start processes with the method 'spawn'"
    )
    assert printed == [handle] * 4 + [opening] * 2 + ["['a', 'c']"]
    assert nearfield.Database(path).ids() == ["a", "c"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_child_may_open_what_its_parent_has_closed(path: str) -> None:
    printed = run(
        """
        import os, sys, nearfield
        with nearfield.Database(sys.argv[1], dim=2) as db:
            db.add("a", [1, 2])
        child = os.fork()
        if child == 0:
            with nearfield.Database(sys.argv[1]) as own:
                own.add("b", [1, 2])
            print(own.ids(), flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        db.add("c", [1, 2])
        print(db.ids())
        """,
        path,
    )
    assert printed == "['a', 'b']\n['a', 'b', 'c']\n"


def test_other_threads_run_meanwhile(path: str) -> None:
    import threading

    db = nearfield.Database(path, dim=32)
    db.add_many(names(8000), rows(8000, 32))
    queries = rows(500, 32, seed=2)
    counted, done = 0, threading.Event()

    def search() -> None:
        db.search_many(queries, k=100, ef_search=2000)
        done.set()

    thread = threading.Thread(target=search)
    thread.start()
    while not done.is_set():
        counted += 1
    thread.join()
    assert counted > 1000


def test_nothing_is_printed(path: str) -> None:
    program = """
        import sys, nearfield, numpy as np
        with nearfield.Database(sys.argv[1], dim=4, quantize=True) as db:
            db.add_many([str(n) for n in range(2000)], np.random.default_rng(1).random((2000, 4)))
            db.search_many(np.zeros((100, 4)))
            db.compact()
    """
    import textwrap

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), path], capture_output=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_batch_that_cannot_be_taken_back_stops_writing(path: str) -> None:
    resource = pytest.importorskip("resource")
    assert resource
    printed = run(
        """
        import os, resource, sys, nearfield, numpy as np
        db = nearfield.Database(sys.argv[1], dim=64)
        db.add("old", np.ones(64), {"old": 1})
        ids = [f"id-{n}" for n in range(25_000)]
        largest = max(entry.stat().st_size for folder, _, names in os.walk(sys.argv[1]) for entry in os.scandir(folder) if entry.is_file())
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(largest, 3_000_000), hard))
        try:
            db.add_many(ids, np.ones((25_000, 64), np.float32))
            print("was written")
        except ValueError:
            print(len(db), db.ids(), flush=True)
        acknowledged = []
        for n in range(2):
            for name in ("x", "y"):
                try:
                    db.upsert(f"id-{n}", np.full(64, 2), {"later": name})
                    acknowledged.append(f"id-{n}")
                except ValueError:
                    pass
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        print(*sorted({"old", *acknowledged}), flush=True)
        os._exit(0)
        """,
        path,
    ).splitlines()
    assert printed[0] == "1 ['old']", "what is half there is not seen"
    db = nearfield.Database(path)
    assert db.ids() == printed[1].split(), "what was acknowledged is there, and nothing of the batch"


def test_signal_handlers_are_not_made_to_wait_for_themselves(path: str) -> None:
    printed = run(
        """
        import signal, sys, nearfield, numpy as np
        db = nearfield.Database(sys.argv[1], dim=2)
        db.add("a", [1, 2])
        heard = []
        busy = "database is busy: called from a signal handler"
        def told(call):
            try:
                call()
            except ValueError as error:
                return str(error)
        def handle(*_):
            heard.append(told(lambda: db.upsert("a", [1, 2])))
            # A handler that comes between two batches is served.
            if heard[-1] == busy:
                heard.extend(told(call) for call in (lambda: db.delete("a"), db.save, db.compact, db.close))
                assert db.get("a") == ([1.0, 2.0], None) and len(db) in (1, 60_001)
        signal.signal(signal.SIGALRM, handle)
        ids, vectors = [str(n) for n in range(60_000)], np.zeros((60_000, 2), np.float32)
        while busy not in heard:
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            db.upsert_many(ids, vectors)
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert set(heard) <= {None, busy} and heard.count(busy) >= 5, heard
        assert len(db) == 60_001
        print("refused")
        """,
        path,
    )
    assert printed == "refused\n"


def test_compactions_leave_nothing_behind(path: str) -> None:
    with nearfield.Database(path, dim=2) as db:
        db.add_many(names(3), rows(3, 2))
        db.delete("id-0")
        db.compact()
    entries = len(list((pathlib.Path(path)).rglob("*")))
    for _ in range(3):
        with nearfield.Database(path) as db:
            assert db.ids() == ["id-1", "id-2"]
            db.delete("id-1"), db.add("id-1", [1, 2])
            db.compact()
    assert len(list((pathlib.Path(path)).rglob("*"))) <= entries + 4, "compactions leave nothing behind"


def test_compaction_keeps_what_is_kept(path: str) -> None:
    with nearfield.Database(path, dim=2, quantize=True) as db:
        for _ in range(3):
            db.add_many(names(20), rows(20, 2))
            db.delete_many(names(20)[1:])
            assert db.deleted_count == 19
            db.compact()
            assert (db.deleted_count, db.ids()) == (0, ["id-0"])
            db.delete("id-0")
            db.compact()
    db = nearfield.Database(path)
    assert (db.quantized_search, db.deleted_count, len(db)) == (True, 0, 0)


def test_nothing_is_made_for_a_shape_that_is_refused(path: str) -> None:
    for wrong in ({"dim": 70_000}, {"dim": 2, "m": 1}, {"dim": 2, "ef_construction": 0}):
        with pytest.raises(ValueError, match="it must be"):
            nearfield.Database(path, **wrong)  # type: ignore[arg-type]
        assert not os.path.exists(path)
