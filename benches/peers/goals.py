"""The goals of the index, judged by one run: ratios of things measured side by side, and a few absolute figures."""

from dataclasses import dataclass

OURS = "nearfield-index"
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
