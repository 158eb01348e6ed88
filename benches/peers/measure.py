"""How things are timed: which cores, how long, how often, and what counts as right."""

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

K = 10
BATCH = 1000  # queries of one call of a batch API


def pin(cores: set[int]) -> None:
    """Pins every thread of this process, those of pools that already exist included."""
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except OSError:
            pass  # it has ended meanwhile


def recall(found: Sequence, truth: np.ndarray) -> float:
    """The share of the first K true neighbours that were found; fewer true ones than K count as fewer."""
    hits = total = 0
    for ids, exact in zip(found, truth):
        exact = exact[:K][exact[:K] >= 0]
        total += len(exact)
        hits += len({int(id) for id in ids} & set(exact.tolist()))
    return hits / max(total, 1)


def batch_of(queries: np.ndarray) -> np.ndarray:
    """BATCH queries, the given ones again and again if they are fewer."""
    return np.ascontiguousarray(np.resize(queries, (BATCH, queries.shape[1])))


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def timed(
    search: Callable, queries: Sequence, passes: int, pass_s: float, search_batch: Callable | None = None, batch: np.ndarray | None = None
) -> dict:
    """One query a call: percentiles of single calls from a first pass, then the median rate of whole passes.

    With a batch call its passes take turns with those, so that both see the same minutes of the machine, and what a call of its own costs
    more is the median of the differences between neighbours.
    """
    count = len(queries)
    latencies, found, stop = [], [], time.perf_counter() + pass_s
    for query in queries:
        began = time.perf_counter()
        ids = search(query)
        ended = time.perf_counter()
        latencies.append(ended - began)
        found.append(ids)
        if ended > stop and len(found) >= 50:
            count = len(found)  # slow engines: the same first queries in every pass
            break
    together = search_batch(batch, 1) if search_batch else None
    singles, batches = [], []
    for _ in range(passes):
        began = time.perf_counter()
        for query in queries[:count]:
            search(query)
        singles.append((time.perf_counter() - began) / count)
        if search_batch:
            batches.append(seconds(lambda: search_batch(batch, 1)) / len(batch))
    p50, p95, p99 = np.percentile(np.array(latencies) * 1e6, [50, 95, 99])
    record = {"found": found, "qps": 1 / statistics.median(singles), "spread": spread(singles)}
    record |= {"us_p50": float(p50), "us_p95": float(p95), "us_p99": float(p99)}
    if search_batch:
        record |= {"found_batch": together, "qps_batch": 1 / statistics.median(batches), "spread_batch": spread(batches)}
        record["over_native_us"] = 1e6 * statistics.median(one - other for one, other in zip(singles, batches))
    return record


def spread(times: list[float]) -> float:
    """How far the passes lie apart, as a share of the middle one."""
    return (max(times) - min(times)) / statistics.median(times)


def long_pass(call: Callable[[], int], least_s: float) -> float:
    """Queries a second of a call repeated for at least `least_s`; it returns how many queries it answered."""
    began, answered = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < least_s:
        answered += call()
    return answered / passed


def python_threads(search: Callable, queries: Sequence, threads: int) -> Callable[[], int]:
    """For engines without a batch API: some Python threads, each over its share of the queries."""

    def work(share: Sequence) -> None:
        for query in share:
            search(query)

    def call() -> int:
        workers = [threading.Thread(target=work, args=(queries[at::threads],)) for at in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return len(queries)

    return call
