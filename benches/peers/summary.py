"""Records of stages as one row an engine: rates at equal recall, and the rest as measured."""

import json
import math
import statistics

RECALLS = (0.90, 0.95, 0.99)


def at_recall(points: list[dict], target: float, figure: str, recall: str = "recall") -> float | None:
    """A rate at a recall, between the two neighbouring points of the sweep on a line of its logarithm; None if never reached.

    Where a later point is better in both, as noise makes it, the better one stands for both. A sweep whose first point is above the
    target gives that point: less work than the least was not measured.
    """
    frontier: list[tuple[float, float]] = []
    measured = ((point[recall], point[figure]) for point in points if point.get(figure))
    for right, rate in sorted(measured, reverse=True):
        if not frontier or rate > frontier[-1][1]:
            frontier.append((right, rate))
    frontier.reverse()
    above = next((at for at, (right, _) in enumerate(frontier) if right >= target), None)
    if above is None:
        return None
    if above == 0:
        return frontier[0][1]
    (low, fast), (high, slow) = frontier[above - 1], frontier[above]
    share = (target - low) / (high - low)
    return math.exp((1 - share) * math.log(fast) + share * math.log(slow))


def read(path: str) -> dict[str, dict[str, list[dict]]]:
    """All records of a run that did not fail: engine, stage, records in order."""
    records: dict[str, dict[str, list[dict]]] = {}
    with open(path, encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if "error" not in record:
                records.setdefault(record["peer"], {}).setdefault(record["stage"], []).append(record)
    return records


def rows(records: dict[str, dict[str, list[dict]]]) -> list[dict]:
    """One row an engine, the fastest at 0.95 first."""
    found = [row(name, stages) for name, stages in records.items()]
    return sorted(found, key=lambda one: -(one["batch"]["0.95"] or one["single"]["0.95"] or 0))


def row(name: str, stages: dict[str, list[dict]]) -> dict:
    served = stages.get("serve", [])
    sweeps = [record["sweep"] for record in served]
    has_batch = any(point.get("qps_batch") for sweep in sweeps for point in sweep)
    single = {f"{target:.2f}": middle(at_recall(sweep, target, "qps") for sweep in sweeps) for target in RECALLS}
    batch = {
        f"{target:.2f}": middle(at_recall(sweep, target, "qps_batch", "recall_batch") for sweep in sweeps) if has_batch else None
        for target in RECALLS
    }
    one = {
        "peer": name,
        "is_database": any(record.get("is_database") for records in stages.values() for record in records),
        "rows": next((record["rows"] for records in stages.values() for record in records if "rows" in record), 0),
        "version": next((record["version"] for records in stages.values() for record in records), "?"),
        "single": single,
        "batch": batch,
        "over_native_us": {f"{target:.2f}": over_native_us(sweeps, target) for target in RECALLS},
        "threads": {f"{target:.2f}": threads(served, target) for target in RECALLS[1:]},
        "recall_max": max((point["recall"] for sweep in sweeps for point in sweep), default=None),
        "sweep": sweeps[-1] if sweeps else [],
        "near": next((point for point in (sweeps[-1] if sweeps else []) if point["recall"] >= 0.95), None),
    }
    for stage, figures in {
        "build": ("build_s", "rss_peak_mb", "rss_before_mb", "persist_s", "disk_mb"),
        "serve": ("open_first_ms", "open_ms", "first_query_us", "resident_mb", "resident_files_mb", "resident_raw_mb"),
    }.items():
        for figure in figures:
            one[figure] = middle(record.get(figure) for record in stages.get(stage, []))
    one["build1_s"] = middle(record.get("build_s") for record in stages.get("build1", []))
    one["delete"] = (stages.get("delete") or [None])[-1]
    one["filtered"] = [point for record in stages.get("filtered", [])[-1:] for point in record["filtered"]]
    one["write"] = (stages.get("write") or [None])[-1]
    return one


def over_native_us(sweeps: list[list[dict]], target: float) -> float | None:
    """What a query costs more when it is a call of its own, against its share of a batch: at the first value that reaches a target."""
    reached = (next((point for point in sweep if point["recall"] >= target), {}) for sweep in sweeps)
    return middle(point.get("over_native_us") for point in reached)


def threads(served: list[dict], target: float) -> dict | None:
    """Two threads by one, at a target."""
    points = [point for record in served for point in record["threads"] if point["target"] == target]
    if not points:
        return None
    one, two = middle(point["qps_1"] for point in points), middle(point["qps_2"] for point in points)
    return {"qps_1": one, "qps_2": two, "ratio": two / one, "value": points[-1]["value"]}


def middle(values: object) -> float | None:
    """The median of what was measured."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
