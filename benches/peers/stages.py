"""What is measured of one engine. Each stage runs in a process of its own, so that nothing of another one is in memory.

build    two threads: seconds, peak memory, then seconds to persist and bytes on disk
build1   one thread on one core: seconds
serve    opens what `build` persisted: time to open, memory, the sweep on one core (one query a call, and BATCH a call), two threads
delete   a fifth of the rows is deleted; recall and rate against the truth of the rest
filtered each filter of the set, one query a call on one core
write    databases: acknowledged upserts into an empty store, one by one and in batches, the whole set in batches of 1,000 and the seconds
         until it has settled; beside them what the disk itself does: one append and fdatasync after another
"""

import importlib
import importlib.metadata
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from adapters import Peer
from dataset import Dataset
from measure import batch_of, long_pass, pin, python_threads, recall, seconds, timed
from memory import disk_mb, resident, status_mb

TARGETS = (0.95, 0.99)  # the recalls at which two threads are compared with one


@dataclass
class Settings:
    """How thorough, and on which cores."""

    data: str
    folder: str
    passes: int
    pass_s: float
    long_passes: int
    long_pass_s: float
    core: int
    cores: tuple[int, int]


def build(peer: Peer, settings: Settings) -> dict:
    return built(peer, settings, 2)


def build1(peer: Peer, settings: Settings) -> dict:
    return built(peer, settings, 1)


def built(peer: Peer, settings: Settings, threads: int) -> dict:
    data = loaded(peer, settings, with_base=True)
    pin(set(settings.cores) if threads > 1 else {settings.core})
    before = status_mb("VmRSS")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # the peak begins anew
    began = time.perf_counter()
    note = peer.build(data.base, threads)
    record = {
        "build_s": time.perf_counter() - began,
        "rss_before_mb": before,
        "rss_peak_mb": status_mb("VmHWM"),
        "note": note,
    }
    if threads > 1:
        record["persist_s"] = seconds(peer.persist)
        record["disk_mb"] = disk_mb(settings.folder)
    return record


def serve(peer: Peer, settings: Settings) -> dict:
    data = loaded(peer, settings, with_base=False)
    queries = peer.prepare(data.queries)
    batch = batch_of(data.queries)
    bare = resident(settings.folder)
    record = {"open_first_ms": 1e3 * seconds(peer.open)}
    peer.set_threads(1)
    peer.set(peer.sweep[len(peer.sweep) // 2])
    record["first_query_us"] = 1e6 * seconds(lambda: peer.search(queries[0]))
    pin({settings.core})
    for query in queries:
        peer.search(query)
    served = resident(settings.folder, peer.raw_files)
    record["resident_mb"] = served.anonymous - bare.anonymous + served.files
    record["resident_files_mb"] = served.files
    record["resident_raw_mb"] = served.raw
    record["sweep"] = sweep(peer, settings, data, queries, batch)
    record["threads"] = two_threads(peer, settings, record["sweep"], queries, batch)
    record["open_ms"] = 1e3 * statistics.median(reopened(peer) for _ in range(5))
    return record


def reopened(peer: Peer) -> float:
    """Seconds to open what was just closed: warm."""
    if peer.is_database:
        peer.close()
    return seconds(peer.open)


def sweep(peer: Peer, settings: Settings, data: Dataset, queries: list, batch: np.ndarray) -> list[dict]:
    points = []
    for value in peer.sweep:
        peer.set(value)
        record = timed(peer.search, queries, settings.passes, settings.pass_s, peer.search_batch, batch)
        point = {"value": value, "recall": recall(record.pop("found"), data.truth)}
        if peer.search_batch:
            point["recall_batch"] = recall(record.pop("found_batch")[: len(data.queries)], data.truth)
        point |= record
        points.append(point)
        note(peer, point)
        if point["recall"] >= peer.stop_recall:
            break
    return points


def two_threads(peer: Peer, settings: Settings, points: list[dict], queries: list, batch: np.ndarray) -> list[dict]:
    """Two threads and one in turns, long passes each, at the first value that reaches each target."""
    found = []
    for target in TARGETS:
        at = next((point for point in points if point["recall"] >= target), None)
        if at is None:
            continue
        peer.set(at["value"])
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(settings.long_passes):
            for threads in rates:
                pin({settings.core} if threads == 1 else set(settings.cores))
                peer.set_threads(threads)
                rates[threads].append(long_pass(answering(peer, queries, batch, threads), settings.long_pass_s))
        one, two = statistics.median(rates[1]), statistics.median(rates[2])
        found.append({"target": target, "value": at["value"], "recall": at["recall"], "qps_1": one, "qps_2": two})
        note(peer, found[-1])
    pin({settings.core})
    peer.set_threads(1)
    return found


def answering(peer: Peer, queries: list, batch: np.ndarray, threads: int) -> Callable[[], int]:
    if peer.is_database or not peer.search_batch:
        return python_threads(peer.search, queries, threads)

    def call() -> int:
        peer.search_batch(batch, threads)
        return len(batch)

    return call


def delete(peer: Peer, settings: Settings) -> dict:
    data = loaded(peer, settings, with_base=False)
    peer.open()
    peer.set_threads(1)
    dead = np.random.default_rng(7).permutation(data.count)[: data.count // 5]
    gone = np.zeros(data.count, bool)
    gone[dead] = True
    truth = [exact[~gone[exact]] for exact in data.truth]
    took = seconds(lambda: peer.delete(dead))
    pin({settings.core})
    peer.set(64)
    record = timed(peer.search, peer.prepare(data.queries), settings.passes, settings.pass_s)
    return {"delete_s": took, "recall": recall(record.pop("found"), truth), **record}


def filtered(peer: Peer, settings: Settings) -> dict:
    data = loaded(peer, settings, with_base=False)
    peer.open()
    peer.set_threads(1)
    queries, points = peer.prepare(data.queries), []
    pin({settings.core})
    for name, filter in data.filters.items():
        handle = peer.prepare_filter(filter, name)
        for value in peer.filter_sweep:
            peer.set(value)
            search = lambda query: peer.search_filtered(query, handle)  # noqa: E731
            record = timed(search, queries, settings.passes, settings.pass_s)
            right = recall(record.pop("found"), data.filtered_truth(name))
            points.append({"filter": name, "share": filter["selectivity"], "value": value, "recall": right, **record})
            note(peer, points[-1])
    return {"filtered": points}


def write(peer: Peer, settings: Settings) -> dict:
    data = loaded(peer, settings, with_base=True)
    payload = data.payload
    pin(set(settings.cores))
    record = {}
    for batch, most, least_s in ((1, 20_000, 6.0), (100, 40_000, 6.0), (1000, data.count, 60.0)):
        peer.create_empty()
        began, count = time.perf_counter(), 0
        while count < min(most, data.count - batch + 1) and time.perf_counter() - began < least_s:
            end = count + batch
            peer.upsert(range(count, end), data.base[count:end], payload[count:end])
            count = end
        record[f"upsert_{batch}_per_s"] = count / (time.perf_counter() - began)
        if batch == 1000:
            record["upserted"] = count
            record["settle_s"] = seconds(peer.settle)
        peer.close()
    record["disk_syncs_per_s"] = disk_syncs(settings.folder, data.dim * 4)
    return record


def disk_syncs(folder: str, size: int) -> float:
    """Appends of this size a second, each followed by fdatasync, into a file with room reserved: the most a synchronous writer can do alone."""
    file = os.open(os.path.join(folder, "syncs"), os.O_CREAT | os.O_WRONLY)
    try:
        os.posix_fallocate(file, 0, 64 << 20)
        os.fsync(file)
        began, count = time.perf_counter(), 0
        while count * size < 64 << 20 and time.perf_counter() - began < 3:
            os.write(file, bytes(size))
            os.fdatasync(file)
            count += 1
        return count / (time.perf_counter() - began)
    finally:
        os.close(file)


STAGES: dict[str, Callable[[Peer, Settings], dict]] = {
    "build": build,
    "build1": build1,
    "serve": serve,
    "delete": delete,
    "filtered": filtered,
    "write": write,
}


def applies(stage: str, peer: Peer, data: Dataset) -> bool:
    """Whether an engine has what a stage measures."""
    if stage == "delete":
        return peer.delete is not None
    if stage == "filtered":
        return peer.prepare_filter is not None and bool(data.filters)
    return stage != "write" or peer.is_database


def run(peer: Peer, stage: str, settings: Settings) -> dict:
    """One stage, in this process, with the version of what was measured."""
    record = STAGES[stage](peer, settings)
    record["version"] = importlib.metadata.version(peer.package)
    record["is_database"], record["rows"] = peer.is_database, peer.data.count
    return record


def loaded(peer: Peer, settings: Settings, with_base: bool) -> Dataset:
    data = Dataset(settings.data, with_base)
    peer.setup(data, settings.folder)
    for module in peer.modules:
        importlib.import_module(module)
    if peer.is_database and with_base:
        _ = data.payload  # read before a clock starts
    return data


def note(peer: Peer, point: dict) -> None:
    short = {key: round(value, 4) if isinstance(value, float) else value for key, value in point.items()}
    print(peer.name, short, file=sys.stderr, flush=True)
