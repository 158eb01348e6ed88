"""Nearfield beside the engines people use: same data, same machine, one run.

    cargo xtask bench peers --data DIR [--peers a,b]

makes the environment and calls this. By hand, in an environment with requirements.txt and the package nearfield:

    python benches/peers --data DIR --out DIR [--peers a,b | --all] [--stages build,serve,delete] [--rounds 3]

Every engine runs in processes of its own (see stages.py); rounds go through all engines again and again, so that a slow minute of the
machine does not fall on one of them, and medians are shown. Written: table.md, plot.svg, results.json, and records.jsonl with every record.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

import plot
import summary
import tables
from adapters import DATABASES, OURS_FIRST, PEERS, USUAL, Peer, choose
from dataset import Dataset, first_rows
from goals import judge, judge_databases
from stages import STAGES, Settings, applies, run


def main() -> None:
    arguments = parse()
    if arguments.list:
        print("\n".join(peer.name for peer in PEERS))
    elif arguments.child:
        child(arguments)
    elif arguments.table:
        write_results(arguments, summary.rows(summary.read(os.path.join(arguments.out, "records.jsonl"))))
    else:
        measure(arguments)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench peers", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", help="a folder with base.npy, queries.npy and gt.npy")
    parser.add_argument("--out", help="where results are written")
    parser.add_argument("--peers", default="", help="names parted by commas; without it the usual ones")
    parser.add_argument("--all", action="store_true", help="every peer there is")
    parser.add_argument("--databases", action="store_true", help="the databases, with every stage of theirs unless --stages says otherwise")
    parser.add_argument("--rows", type=int, help="the first so many rows of the set alone, without its filters")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--table", action="store_true", help="write the tables of the records in --out again and end")
    parser.add_argument("--stages", default="", help=f"of {','.join(STAGES)}; build,serve without it")
    parser.add_argument("--rounds", type=int, default=1, help="how often each engine serves")
    parser.add_argument("--passes", type=int, default=5, help="timed passes a figure; the median is taken")
    parser.add_argument("--pass-s", type=float, default=1.5, help="a pass of single calls ends after so many seconds")
    parser.add_argument("--long-passes", type=int, default=5, help="passes of two threads and of one, in turns")
    parser.add_argument("--long-pass-s", type=float, default=5.0, help="seconds of each of them")
    parser.add_argument("--timeout", type=int, default=1800, help="seconds after which a stage is given up")
    parser.add_argument("--cores", help="two cores with a comma between, the first for everything with one thread; the last ones without it")
    parser.add_argument("--second", action="store_true", help="the set is one that nothing was tuned on: ratios within 10 %%")
    parser.add_argument("--yardstick", default="", help="queries a second of the yardstick at 0.95 and 0.99, with a comma between")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--dir", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not (arguments.list or arguments.table and arguments.out) and not (arguments.data and (arguments.out or arguments.child)):
        parser.error("--data and --out are missing")
    return arguments


def measure(arguments: argparse.Namespace) -> None:
    peers = choose(arguments.peers, DATABASES if arguments.databases else [peer.name for peer in PEERS] if arguments.all else USUAL)
    usual = "build,serve,filtered,write" if arguments.databases else "build,serve"
    chosen = (arguments.stages or usual).split(",")
    unknown = [stage for stage in chosen if stage not in STAGES]
    if unknown:
        raise SystemExit(f"there is no stage {', '.join(unknown)}; there are {', '.join(STAGES)}")
    os.makedirs(arguments.out, exist_ok=True)
    if arguments.rows:
        arguments.data = first_rows(arguments.data, arguments.rows, os.path.join(arguments.out, "set"))
    data = Dataset(arguments.data, with_base=False)
    records = os.path.join(arguments.out, "records.jsonl")
    if os.path.exists(records):
        os.remove(records)
    failed = [
        (stage, peer)
        for stage, peer in order(chosen, peers, arguments.rounds)
        if applies(stage, peer, data) and not stage_of(arguments, peer, stage, records)
    ]
    shutil.rmtree(os.path.join(arguments.out, "work"), ignore_errors=True)
    write_results(arguments, summary.rows(summary.read(records)) if os.path.exists(records) else [])
    if failed:
        names = ", ".join(f"{stage} of {peer.name}" for stage, peer in failed)
        raise SystemExit(f"failed: {names}; see records.jsonl and the logs in {arguments.out}")


def order(chosen: list[str], peers: list[Peer], rounds: int) -> list[tuple[str, Peer]]:
    """Builds of all engines first; then they serve in turns, round after round; then the rest."""
    builds = [(stage, peer) for peer in peers for stage in chosen if stage in ("build", "build1")]
    serves = [("serve", peer) for _ in range(rounds) for peer in peers if "serve" in chosen]
    rest = [(stage, peer) for peer in peers for stage in chosen if stage in ("delete", "filtered", "write")]
    return builds + serves + rest


def stage_of(arguments: argparse.Namespace, peer: Peer, stage: str, records: str) -> bool:
    """Runs one stage in a fresh process and keeps its record; false if it failed."""
    folder = os.path.join(arguments.out, "work", peer.name)
    if stage == "build":
        shutil.rmtree(folder, ignore_errors=True)
    used = folder if stage == "build" or stage == "serve" and not peer.is_database else f"{folder}.{stage}"
    if used != folder:
        # On a copy: deletes would leave their mark, and a database may write when it is opened.
        shutil.rmtree(used, ignore_errors=True)
        if stage not in ("build1", "write") and os.path.isdir(folder):
            shutil.copytree(folder, used)
    os.makedirs(used, exist_ok=True)
    began = time.time()
    record = {"peer": peer.name, "stage": stage, **in_a_process(arguments, peer, stage, used)}
    record["wall_s"] = round(time.time() - began, 1)
    if used != folder:
        shutil.rmtree(used, ignore_errors=True)
    with open(records, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    error = record.get("error", "")
    print(f"{peer.name:26s} {stage:8s} {record['wall_s']:7.1f} s  {error and 'FAILED: ' + error[-300:]}", flush=True)
    return not error


def in_a_process(arguments: argparse.Namespace, peer: Peer, stage: str, folder: str) -> dict:
    command = [sys.executable, os.path.dirname(os.path.abspath(__file__)), "--child", peer.name, "--stage", stage]
    command += ["--data", os.path.abspath(arguments.data), "--dir", os.path.abspath(folder)]
    for name in ("passes", "pass_s", "long_passes", "long_pass_s"):
        command += ["--" + name.replace("_", "-"), str(getattr(arguments, name))]
    one, both = cores(arguments)
    command += ["--cores", f"{one},{both[0]}"]
    environment = dict(os.environ)
    if stage == "build1":
        command = ["taskset", "-c", str(one), *command]
        environment["OMP_NUM_THREADS"] = "1"
    else:
        command = ["taskset", "-c", ",".join(map(str, both)), *command]
    log = os.path.join(arguments.out, f"{peer.name}.{stage}.log")
    with open(log, "w", encoding="utf-8") as errors:
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=arguments.timeout, env=environment, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {arguments.timeout} s"}
    result = next((line[7:] for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if result is not None:
        return json.loads(result)
    with open(log, encoding="utf-8") as errors:
        return {"error": f"ended with {done.returncode}: {errors.read()[-500:]}"}


def child(arguments: argparse.Namespace) -> None:
    peer = choose(arguments.child)[0]
    one, both = cores(arguments)
    settings = Settings(
        data=arguments.data,
        folder=arguments.dir,
        passes=arguments.passes,
        pass_s=arguments.pass_s,
        long_passes=arguments.long_passes,
        long_pass_s=arguments.long_pass_s,
        core=one,
        cores=both,
    )
    print("RESULT " + json.dumps(run(peer, arguments.stage, settings)), flush=True)
    os._exit(0)  # some engines do not end on their own


def cores(arguments: argparse.Namespace) -> tuple[int, tuple[int, int]]:
    """The core of one thread and the two of two threads."""
    if arguments.cores:
        one, other = map(int, arguments.cores.split(","))
        return one, (other, one)
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise SystemExit("two cores are needed: the figures of two threads would mean nothing")
    return allowed[-1], (allowed[-2], allowed[-1])


def write_results(arguments: argparse.Namespace, rows: list[dict]) -> None:
    given = [float(rate) for rate in arguments.yardstick.split(",") if rate]
    verdicts = judge(rows, arguments.second, dict(zip(("0.95", "0.99"), given)))
    verdicts += judge_databases(rows)
    title = "Nearfield beside others" + (", a set that nothing was tuned on" if arguments.second else "")
    machine = facts(arguments)
    text = tables.markdown(title, machine, rows, verdicts)
    curves = {row["peer"]: curve(row["sweep"]) for row in sorted(rows, key=lambda row: not row["peer"].startswith(OURS_FIRST))}
    outputs = {
        "table.md": text,
        "plot.svg": plot.svg(title, curves),
        "results.json": json.dumps(
            {"machine": machine, "rows": rows, "goals": [vars(one) | {"verdict": one.word} for one in verdicts]}, indent=1
        ),
    }
    for name, content in outputs.items():
        with open(os.path.join(arguments.out, name), "w", encoding="utf-8") as file:
            file.write(content)
    print("\n" + text)
    print(f"written: {', '.join(outputs)} in {arguments.out}")


def curve(points: list[dict]) -> list[tuple[float, float]]:
    """The batch call's points, or those of single calls for an engine that has no other."""
    if any("qps_batch" in point for point in points):
        return [(point["recall_batch"], point["qps_batch"]) for point in points]
    return [(point["recall"], point["qps"]) for point in points]


def facts(arguments: argparse.Namespace) -> dict:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "?")
    found = {"processor": model, "cores": os.cpu_count(), "date": time.strftime("%Y-%m-%d", time.gmtime())}
    if arguments.data:
        data = Dataset(arguments.data, with_base=False)
        found["set"] = f"{data.count:,} × {data.dim}, {len(data.queries):,} queries"
    return found


if __name__ == "__main__":
    main()
