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


def one_by_one(search: Callable, queries: Sequence, passes: int, pass_s: float) -> dict:
    """One query a call: the rate of whole passes, and percentiles of single calls from one pass more."""
    rates, count = [], len(queries)
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
    for _ in range(passes):
        began = time.perf_counter()
        for query in queries[:count]:
            search(query)
        rates.append(count / (time.perf_counter() - began))
    p50, p95, p99 = np.percentile(np.array(latencies) * 1e6, [50, 95, 99])
    return {
        "qps": statistics.median(rates),
        "spread": (max(rates) - min(rates)) / statistics.median(rates),
        "us_p50": float(p50),
        "us_p95": float(p95),
        "us_p99": float(p99),
        "found": found,
    }


def batches(search_batch: Callable, queries: np.ndarray, passes: int) -> dict:
    """A call of BATCH queries, one thread: the median rate of the passes after one that warms up."""
    found = search_batch(queries, 1)
    rates = [len(queries) / seconds(lambda: search_batch(queries, 1)) for _ in range(passes)]
    middle = statistics.median(rates)
    return {"qps_batch": middle, "spread_batch": (max(rates) - min(rates)) / middle, "found": found}


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
