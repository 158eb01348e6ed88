"""The goals of the index and of the database, judged by one run: ratios of things measured side by side, and a few absolute figures."""

from dataclasses import dataclass

from summary import at_recall

OURS = "nearfield-index"
OURS_DATABASE = "nearfield"
OURS_SYNCED = "nearfield-sync"
SMALL = "vctrs"  # compared on small sets: insert, search and load
SMALL_ROWS_MAX = 20_000
SLACK_OF_A_SECOND_SET = 0.9  # there the ratios need to come within 10 %


@dataclass
class Verdict:
    goal: str
    figure: float | None
    bound: str
    holds: bool | None  # None where it could not be judged
    against: str = ""

    @property
    def word(self) -> str:
        return {True: "holds", False: "falls short", None: "not measured"}[self.holds]


def judge(rows: list[dict], second: bool, yardstick: dict[str, float]) -> list[Verdict]:
    """Every goal; `yardstick` is the rate of the yardstick's loop at a recall, measured by hand in the same place."""
    named = {row["peer"]: row for row in rows}
    ours = named.get(OURS)
    if ours is None:
        return []
    peers = [row for row in rows if not row["peer"].startswith("nearfield")]
    slack = SLACK_OF_A_SECOND_SET if second else 1.0
    verdicts: list[Verdict] = []

    def at_least(goal: str, figure: float | None, bound: float, against: str = "", relaxed: bool = True) -> None:
        bound = bound * slack if relaxed else bound
        holds = None if figure is None else figure >= bound
        verdicts.append(Verdict(goal, figure, f"≥ {bound:.3g}", holds, against))

    def at_most(goal: str, figure: float | None, bound: float, against: str = "", relaxed: bool = False) -> None:
        bound = bound / slack if relaxed else bound
        holds = None if figure is None else figure <= bound
        verdicts.append(Verdict(goal, figure, f"≤ {bound:.3g}", holds, against))

    for recall, over_best, over_hnswlib in (("0.95", 1.25, 6.0), ("0.99", 1.5, 7.0)):
        mine = ours["batch"][recall]
        best, rate = fastest(peers, recall, rate_of)
        at_least(f"queries a second at {recall}, by the best peer", ratio(mine, rate), over_best, best)
        hnswlib = rate_of(named["hnswlib"], recall) if "hnswlib" in named else None
        at_least(f"queries a second at {recall}, by hnswlib", ratio(mine, hnswlib), over_hnswlib)
    if not second:
        for recall in ("0.95", "0.99"):
            figure = ratio(ours["batch"][recall], yardstick.get(recall))
            at_least(f"queries a second at {recall}, by the yardstick", figure, 1.15)
    at_most("one query a call costs more than native, µs at 0.95", ours["over_native_us"]["0.95"], 3.0)
    best, rate = fastest(peers, "0.95", lambda row, recall: row["single"][recall])
    at_least("one query a call at 0.95, by the best peer", ratio(ours["single"]["0.95"], rate), 1.0, best, relaxed=False)
    for recall in ("0.95", "0.99"):
        figure = (ours["threads"][recall] or {}).get("ratio")
        at_least(f"two threads by one at {recall}", figure, 1.9, relaxed=False)
    graphs = [row for row in peers if row["peer"].startswith("rabitq-symqg") and row["build_s"]]
    fast = min(graphs, key=lambda row: row["build_s"], default={"peer": "rabitq-symqg", "build_s": None})
    at_most("build with two threads, by SymphonyQG", ratio(ours["build_s"], fast["build_s"]), 0.8, fast["peer"], relaxed=True)
    hnswlib_s = named.get("hnswlib", {}).get("build_s")
    at_most("build with two threads, by hnswlib", ratio(ours["build_s"], hnswlib_s), 0.4, relaxed=True)
    at_most("resident for serving, MB", ours["resident_mb"], 80.0)
    at_most("opening a saved index, ms", ours["open_ms"], 10.0)
    at_least("recall that can be reached", ours["recall_max"], 0.999, relaxed=False)
    return verdicts


def judge_databases(rows: list[dict]) -> list[Verdict]:
    """The goals of the database, one query a call from Python; those of a small set beside the one other engine made for such."""
    named = {row["peer"]: row for row in rows}
    ours = named.get(OURS_DATABASE)
    others = [row for row in rows if row["is_database"] and not row["peer"].startswith("nearfield")]
    if ours is None or not others:
        return []
    verdicts: list[Verdict] = []

    def at_least(goal: str, figure: float | None, bound: float, against: str = "") -> None:
        verdicts.append(Verdict(goal, figure, f"≥ {bound:.3g}", None if figure is None else figure >= bound, against))

    if ours["rows"] <= SMALL_ROWS_MAX:
        small = named.get(SMALL, {})
        for goal, figure in {"insert": "build_s", "load": "open_ms"}.items():
            at_least(f"{goal}, {SMALL}'s time by ours", ratio(small.get(figure), ours[figure]), 1.0, SMALL)
        mine = ours["single"]["0.95"]
        at_least("search at 0.95", ratio(mine, small.get("single", {}).get("0.95")), 1.0, SMALL)
        return verdicts
    for recall in ("0.95", "0.99"):
        best, rate = fastest(others, recall, lambda row, recall: row["single"][recall])
        at_least(f"database: queries a second at {recall}", ratio(ours["single"][recall], rate), 3.0, best)
    for name in dict.fromkeys(point["filter"] for point in ours["filtered"]):
        best, rate = fastest(others, name, lambda row, name: filtered_rate(row, name, 0.95))
        at_least(f"database: queries a second with filter {name} at 0.95", ratio(filtered_rate(ours, name, 0.95), rate), 4.0, best)
    for batch, bound in ((1, 1.2), (1000, 1.5)):
        figure = f"upsert_{batch}_per_s"
        best, rate = fastest(others, figure, lambda row, figure: (row["write"] or {}).get(figure))
        at_least(f"database: upserts a second by {batch:,}, process", ratio((ours["write"] or {}).get(figure), rate), bound, best)
    synced = named.get(OURS_SYNCED, {}).get("write") or {}
    figure = ratio(synced.get("upsert_1_per_s"), synced.get("disk_syncs_per_s"))
    at_least("database: upserts a second by 1, sync", figure, 0.8, "the disk's own appends")
    opening = ours["open_ms"]
    verdicts.append(Verdict("database: opening, ms", opening, "≤ 10", None if opening is None else opening <= 10))
    for recall in ("0.95", "0.99"):
        at_least(f"database: two threads by one at {recall}", (ours["threads"][recall] or {}).get("ratio"), 1.8)
    return verdicts


def filtered_rate(row: dict, name: str, target: float) -> float | None:
    """Queries a second with a filter at a recall."""
    return at_recall([point for point in row["filtered"] if point["filter"] == name], target, "qps")


def rate_of(row: dict, recall: str) -> float | None:
    """The batch call's rate, or that of single calls for an engine that has no other."""
    return row["batch"][recall] or row["single"][recall]


def fastest(peers: list[dict], recall: str, rate: object) -> tuple[str, float | None]:
    """The fastest peer at a recall and its rate."""
    rated = [(rate(row, recall), row["peer"]) for row in peers if rate(row, recall)]
    best = max(rated, default=(None, ""))
    return best[1], best[0]


def ratio(mine: float | None, other: float | None) -> float | None:
    return mine / other if mine and other else None
