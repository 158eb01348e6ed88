"""Filters of Nearfield beside those of Qdrant's embedded engine: random documents, random filters, which points pass.

    python xtask/oracle --program target/release/nearfield [--filters 500] [--seed 1]

Both get the same JSON. Every difference is printed and fails the run: there is none today. What cannot be compared is left out where
filters are made (`generate.py`), with the reason.
"""

import argparse
import collections
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import generate
import reference

DOCUMENTS = 200


def main() -> int:
    """Compares, prints the differences, and says how many there were."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=Path, required=True, help="the command-line program of Nearfield")
    parser.add_argument("--filters", type=int, default=500, help="how many filters (default 500)")
    parser.add_argument("--seed", type=int, default=1, help="of documents and filters (default 1)")
    options = parser.parse_args()
    made = random.Random(options.seed)
    documents = [generate.document(made) for _ in range(DOCUMENTS)]
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        ours = Nearfield(options.program, Path(folder) / "ours", documents)
        theirs = reference.Shard(Path(folder) / "theirs", documents)
        for number in range(options.filters):
            condition = generate.filter_of(made)
            counts[compare(number, condition, ours, theirs, documents)] += 1
    for name, count in sorted(counts.items()):
        print(f"{count:6}  {name}")
    return 1 if counts["DIFFERENT"] else 0


def compare(number, condition, ours, theirs, documents) -> str:
    """The name of what comparing one filter showed."""
    left, right = ours.passing(condition), theirs.passing(condition)
    if left == right:
        return "equal, some pass" if left else "equal, none pass"
    print(f"filter {number}: {json.dumps(condition)}")
    if isinstance(left, set) and isinstance(right, set):
        for side, points in (("only here", left - right), ("only there", right - left)):
            for point in sorted(points)[:2]:
                print(f"  {side}: {json.dumps(documents[point])}")
    else:
        print(f"  here: {left}\n  there: {right}")
    return "DIFFERENT"


class Nearfield:
    """A database of the documents, asked by the command-line program."""

    def __init__(self, program, folder, documents):
        self.program, self.folder = program, folder
        folder.parent.mkdir(exist_ok=True)
        vectors, payload = folder.parent / "vectors.npy", folder.parent / "payload.jsonl"
        np.save(vectors, np.ones((len(documents), 2), dtype=np.float32))
        payload.write_text("".join(json.dumps(document) + "\n" for document in documents))
        self.run("import", "--vectors", vectors, "--payload", payload, folder, "docs", "--json")

    def run(self, *words):
        """What the program prints."""
        return subprocess.run([str(word) for word in (self.program, *words)], capture_output=True, text=True, check=False)

    def passing(self, condition):
        """The points that pass, or the error."""
        done = self.run(
            "search", self.folder, "docs", "--vector", "[1, 1]", "--limit", DOCUMENTS, "--exact", "--json",
            "--filter", json.dumps(condition),
        )
        if done.returncode:
            return f"refused: {done.stderr.strip()}"
        return {hit["id"] for hit in json.loads(done.stdout)["hits"]}


if __name__ == "__main__":
    sys.exit(main())
