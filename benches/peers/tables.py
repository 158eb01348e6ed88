"""The result as Markdown."""

from goals import OURS, Verdict, filtered_rate, rate_of, ratio


def markdown(title: str, machine: dict, rows: list[dict], verdicts: list[Verdict]) -> str:
    parts = [f"# {title}\n", ", ".join(f"{key} {value}" for key, value in machine.items()) + "\n"]
    if verdicts:
        parts += ["## Goals\n", goals(verdicts)]
    parts += ["## Search: queries a second at equal recall@10\n", search(rows)]
    parts += ["## Against each peer\n", against(rows)] if any(row["peer"] == OURS for row in rows) else []
    parts += ["## Build, memory, files\n", building(rows)]
    if any(row["delete"] for row in rows):
        parts += ["## After deleting a fifth\n", deleting(rows)]
    if any(row["filtered"] for row in rows):
        parts += ["## Filtered: queries a second at recall 0.95, one query a call\n", filtered_at(rows, 0.95)]
        parts += ["## Filtered, as measured\n", filtering(rows)]
    if any(row["write"] for row in rows):
        parts += ["## Acknowledged upserts a second\n", writing(rows)]
    return "\n".join(parts)


def goals(verdicts: list[Verdict]) -> str:
    lines = [
        (one.goal + (f" ({one.against})" if one.against else ""), number(one.figure, 3), one.bound, one.word) for one in verdicts
    ]
    return table(("goal", "measured", "bound", ""), lines)


def search(rows: list[dict]) -> str:
    head = ("peer", "version", "batch .90", "batch .95", "batch .99", "single .90", "single .95", "single .99")
    head += ("one call costs more, µs", "2 threads by 1, .95", ".99", "µs p50 / p95 / p99 near .95", "best recall")
    lines = []
    for row in rows:
        if not row["sweep"]:
            continue
        near = row["near"]
        shown = f"{near['us_p50']:.1f} / {near['us_p95']:.1f} / {near['us_p99']:.1f} (at {near['value']})" if near else "–"
        lines.append(
            (row["peer"], row["version"])
            + tuple(number(row["batch"][recall]) for recall in ("0.90", "0.95", "0.99"))
            + tuple(number(row["single"][recall]) for recall in ("0.90", "0.95", "0.99"))
            + (number(row["over_native_us"]["0.95"], 1),)
            + tuple(number((row["threads"][recall] or {}).get("ratio"), 2) for recall in ("0.95", "0.99"))
            + (shown, number(row["recall_max"], 4))
        )
    return table(head, lines)


def against(rows: list[dict]) -> str:
    ours = next(row for row in rows if row["peer"] == OURS)
    head = ("peer", "ours by theirs, batch .95", "batch .99", "single .95", "single .99", "build s", "resident")
    lines = []
    for row in rows:
        if row is ours:
            continue
        lines.append(
            (row["peer"],)
            + tuple(number(ratio(rate_of(ours, recall), rate_of(row, recall)), 2) for recall in ("0.95", "0.99"))
            + tuple(number(ratio(ours["single"][recall], row["single"][recall]), 2) for recall in ("0.95", "0.99"))
            + (number(ratio(ours["build_s"], row["build_s"]), 2), number(ratio(ours["resident_mb"], row["resident_mb"]), 2))
        )
    return table(head, lines)


def building(rows: list[dict]) -> str:
    head = ("peer", "build s, 2 threads", "1 thread", "peak MB (before)", "persist s", "disk MB", "open ms", "first open ms")
    head += ("first query µs", "resident MB", "of it files", "raw rows' pages MB")
    lines = [
        (
            row["peer"],
            number(row["build_s"], 1),
            number(row["build1_s"], 1),
            f"{number(row['rss_peak_mb'])} ({number(row['rss_before_mb'])})",
            number(row["persist_s"], 2),
            number(row["disk_mb"], 1),
            number(row["open_ms"], 2),
            number(row["open_first_ms"], 2),
            number(row["first_query_us"]),
            number(row["resident_mb"], 1),
            number(row["resident_files_mb"], 1),
            number(row["resident_raw_mb"], 1),
        )
        for row in rows
    ]
    return table(head, lines)


def deleting(rows: list[dict]) -> str:
    lines = [
        (row["peer"], number(row["delete"]["delete_s"], 2), number(row["delete"]["recall"], 4), number(row["delete"]["qps"]))
        for row in rows
        if row["delete"]
    ]
    return table(("peer", "seconds", "recall at ef 64", "queries a second"), lines)


def filtering(rows: list[dict]) -> str:
    names = list(dict.fromkeys(point["filter"] for row in rows for point in row["filtered"]))
    lines = []
    for row in rows:
        for value in sorted({point["value"] for point in row["filtered"]}):
            cells = {
                point["filter"]: f"{point['qps']:.0f} @ {point['recall']:.3f}" for point in row["filtered"] if point["value"] == value
            }
            lines.append((f"{row['peer']} at {value}", *(cells.get(name, "–") for name in names)))
    return table(("peer", *names), lines)


def filtered_at(rows: list[dict], target: float) -> str:
    names = list(dict.fromkeys(point["filter"] for row in rows for point in row["filtered"]))
    lines = [(row["peer"], *(number(filtered_rate(row, name, target)) for name in names)) for row in rows if row["filtered"]]
    return table(("peer", *names), lines)


def writing(rows: list[dict]) -> str:
    head = ("peer", "one by one", "batches of 100", "batches of 1,000", "rows of these", "settled s later", "the disk's own appends with fdatasync")
    lines = [
        (row["peer"],)
        + tuple(number(row["write"][f"upsert_{batch}_per_s"]) for batch in (1, 100, 1000))
        + (number(row["write"]["upserted"]), number(row["write"]["settle_s"], 1), number(row["write"]["disk_syncs_per_s"]))
        for row in rows
        if row["write"]
    ]
    return table(head, lines)


def table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    shown = [head, tuple("---" for _ in head), *lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in shown)


def number(value: float | None, decimals: int = 0) -> str:
    return "–" if value is None else f"{value:,.{decimals}f}"
