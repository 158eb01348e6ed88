"""Rates at a recall, goals, tables and the plot, from records as the stages write them."""

import json
import os
import tempfile
import unittest
import xml.etree.ElementTree

import numpy as np

import goals
import measure
import memory
import plot
import summary
import tables
from adapters import DATABASES, PEERS, USUAL, choose


def served(scale: float, recalls: tuple[float, ...] = (0.90, 0.96, 0.992, 0.9992), **more: object) -> dict:
    """A record of the stage `serve`: twice the recall's cost at each step."""
    sweep = [
        {
            "value": 10 * 2**at,
            "recall": right,
            "recall_batch": right,
            "qps": 0.9 * scale / 2**at,
            "qps_batch": scale / 2**at,
            "over_native_us": scale / 1000,
            "us_p50": 1.0,
            "us_p95": 2.0,
            "us_p99": 3.0,
        }
        for at, right in enumerate(recalls)
    ]
    threads = [{"target": target, "value": 20, "recall": target, "qps_1": scale, "qps_2": 1.95 * scale} for target in (0.95, 0.99)]
    figures = {"open_first_ms": 9.0, "open_ms": 5.0, "first_query_us": 80.0}
    figures |= {"resident_mb": 70.0, "resident_files_mb": 60.0, "resident_raw_mb": 30.0}
    return figures | {"sweep": sweep, "threads": threads, "version": "1"} | more


def built(seconds: float) -> dict:
    figures = {"build_s": seconds, "rss_before_mb": 1.0, "rss_peak_mb": 2.0, "persist_s": 1.0, "disk_mb": 3.0}
    return figures | {"version": "1"}


def rows(**scales: float) -> list[dict]:
    records = {name.replace("_", "-"): {"serve": [served(scale)], "build": [built(1e6 / scale)]} for name, scale in scales.items()}
    return summary.rows(records)


class Rates(unittest.TestCase):
    def test_a_rate_is_read_between_two_points(self) -> None:
        points = [{"recall": 0.9, "qps": 4000.0}, {"recall": 0.96, "qps": 1000.0}]
        self.assertAlmostEqual(summary.at_recall(points, 0.93, "qps"), 2000.0)
        self.assertEqual(summary.at_recall(points, 0.5, "qps"), 4000.0)
        self.assertAlmostEqual(summary.at_recall(points, 0.96, "qps"), 1000.0)
        self.assertIsNone(summary.at_recall(points, 0.97, "qps"))
        self.assertIsNone(summary.at_recall([], 0.9, "qps"))
        self.assertIsNone(summary.at_recall(points, 0.9, "qps_batch"))

    def test_a_point_that_is_worse_in_both_is_left_out(self) -> None:
        points = [{"recall": 0.9, "qps": 900.0}, {"recall": 0.95, "qps": 1000.0}, {"recall": 0.99, "qps": 500.0}]
        self.assertEqual(summary.at_recall(points, 0.92, "qps"), 1000.0)

    def test_recall_counts_the_first_ten(self) -> None:
        truth = np.arange(24).reshape(2, 12)
        self.assertEqual(measure.recall([range(10), range(12, 22)], truth), 1.0)
        self.assertEqual(measure.recall([range(5, 15), []], truth), 0.25)
        self.assertEqual(measure.recall([[0]], np.array([[0, -1, -1]])), 1.0)
        self.assertEqual(measure.batch_of(np.zeros((300, 4), np.float32)).shape, (measure.BATCH, 4))

    def test_calls_are_timed_and_answers_kept(self) -> None:
        queries = np.zeros((60, 2), np.float32)
        answers = iter(range(10**6))
        single = measure.timed(lambda query: [next(answers)], queries, 3, 60.0)
        self.assertEqual(single["found"], [[at] for at in range(60)])
        self.assertNotIn("qps_batch", single)
        both = measure.timed(lambda query: [1], queries, 3, 60.0, lambda table, threads: [[2]] * len(table), queries)
        self.assertEqual((both["found_batch"], len(both["found"])), ([[2]] * 60, 60))
        self.assertTrue(both["qps"] > 0 and both["qps_batch"] > 0 and "over_native_us" in both)

    def test_rounds_are_put_together_by_their_median(self) -> None:
        row = summary.row("a", {"serve": [served(scale) for scale in (1000, 3000, 2000)]})
        self.assertAlmostEqual(row["batch"]["0.90"], 2000.0)
        self.assertAlmostEqual(row["threads"]["0.95"]["ratio"], 1.95)
        self.assertAlmostEqual(row["over_native_us"]["0.90"], 2.0)

    def test_failed_records_are_left_out(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "records.jsonl")
            with open(path, "w", encoding="utf-8") as file:
                file.write(json.dumps({"peer": "a", "stage": "serve", **served(1000)}) + "\n")
                file.write(json.dumps({"peer": "b", "stage": "serve", "error": "no"}) + "\n")
            self.assertEqual([row["peer"] for row in summary.rows(summary.read(path))], ["a"])


class Goals(unittest.TestCase):
    def judged(self, second: bool = False, **scales: float) -> dict[str, str]:
        found = goals.judge(rows(**scales), second, {"0.95": 1000.0})
        return {verdict.goal: verdict.word for verdict in found}

    def test_ratios_are_taken_of_the_best_peer(self) -> None:
        words = self.judged(nearfield_index=9000, hnswlib=1000, rabitq_symqg=7000)
        self.assertEqual(words["queries a second at 0.95, by the best peer"], "holds")
        self.assertEqual(words["queries a second at 0.99, by the best peer"], "falls short")
        self.assertEqual(words["queries a second at 0.99, by hnswlib"], "holds")
        self.assertEqual(words["two threads by one at 0.95"], "holds")
        self.assertEqual(words["build with two threads, by SymphonyQG"], "holds")
        self.assertEqual(words["resident for serving, MB"], "holds")
        self.assertEqual(words["recall that can be reached"], "holds")

    def test_a_second_set_needs_to_come_near(self) -> None:
        scales = {"nearfield_index": 8000, "hnswlib": 1000, "rabitq_symqg": 7000}
        goal = "queries a second at 0.95, by the best peer"
        self.assertEqual(self.judged(**scales)[goal], "falls short")
        self.assertEqual(self.judged(second=True, **scales)[goal], "holds")

    def test_what_is_missing_is_not_measured(self) -> None:
        words = self.judged(nearfield_index=9000)
        self.assertEqual(words["queries a second at 0.95, by hnswlib"], "not measured")
        self.assertEqual(words["queries a second at 0.99, by the yardstick"], "not measured")
        self.assertEqual(goals.judge(rows(hnswlib=1000), False, {}), [])


class Shown(unittest.TestCase):
    def test_databases_are_judged_beside_the_best_of_them(self) -> None:
        def measured(scale: float, filtered: float, writes: float) -> dict:
            points = [{"filter": "half", "share": 0.5, "value": 16, "recall": 0.96, "qps": filtered}]
            written = {"upsert_1_per_s": writes, "upsert_100_per_s": writes, "upsert_1000_per_s": writes}
            written |= {"upserted": 100_000, "settle_s": 1.0, "disk_syncs_per_s": 1000.0, "version": "1"}
            more = {"is_database": True, "rows": 100_000}
            return {"serve": [served(scale, **more)], "filtered": [{"filtered": points, "version": "1"}], "write": [written]}

        names = {"nearfield": (9000, 400.0, 3000.0), "nearfield-sync": (9000, 400.0, 700.0), "zvec": (2000, 100.0, 1500.0)}
        judged = goals.judge_databases(summary.rows({name: measured(*figures) for name, figures in names.items()}))
        words = {one.goal: (one.word, one.against) for one in judged}
        self.assertEqual(words["database: queries a second at 0.95"], ("holds", "zvec"))
        self.assertEqual(words["database: queries a second with filter half at 0.95"], ("holds", "zvec"))
        self.assertEqual(words["database: upserts a second by 1,000, process"], ("holds", "zvec"))
        self.assertEqual(words["database: upserts a second by 1, sync"][0], "falls short")
        self.assertEqual(words["database: opening, ms"][0], "holds")
        alone = summary.rows({"nearfield": measured(*names["nearfield"])})
        self.assertEqual(goals.judge_databases(alone), [])
        self.assertIn("settled", tables.writing(alone))
        self.assertIn("400", tables.filtered_at(alone, 0.95))

    def test_tables_hold_every_peer(self) -> None:
        found = rows(nearfield_index=9000, hnswlib=1000)
        text = tables.markdown("title", {"cores": 2}, found, goals.judge(found, False, {}))
        self.assertEqual(text.count("| hnswlib |"), 3)
        for line in text.splitlines():
            if line.startswith("|"):
                self.assertGreater(line.count("|"), 4, line)
        self.assertIn("9.00", text)
        tables.markdown("title", {}, summary.rows({"a": {"build": [built(1)]}}), [])

    def test_the_plot_is_well_formed_and_inside(self) -> None:
        curves = {f"peer & {at}": [(0.9, 100.0 * at + 1), (1.0, 10.0 * at + 1)] for at in range(20)}
        image = plot.svg("recall < 1", curves)
        tree = xml.etree.ElementTree.fromstring(image)
        ends = [node for node in tree.iter() if node.text and node.text.startswith("peer") and node.tag.endswith("text")]
        self.assertEqual(len(ends), 20)
        heights = sorted(float(node.attrib["y"]) for node in ends)
        self.assertTrue(all(0 < height < plot.HEIGHT for height in heights))
        self.assertTrue(all(after - before >= 12 for before, after in zip(heights, heights[1:])))
        for empty in ({}, {"a": []}, {"a": [(0.9, 5.0)]}):
            xml.etree.ElementTree.fromstring(plot.svg("", empty))


class Engines(unittest.TestCase):
    def test_names_are_told_apart(self) -> None:
        names = [peer.name for peer in PEERS]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual([peer.name for peer in choose("")], [*USUAL])
        self.assertEqual(len({*DATABASES} - {peer.name for peer in PEERS}), 0)
        with self.assertRaisesRegex(SystemExit, "there is no peer nothing"):
            choose("hnswlib,nothing")

    def test_memory_of_this_process_is_seen(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows.bin")
            np.ones(1 << 20, np.float32).tofile(path)
            before = memory.resident(folder)
            mapped = np.memmap(path, np.float32, "r")
            held = np.ones(4 << 20, np.float32)
            self.assertEqual(mapped.sum(), 1 << 20)
            after, raw = memory.resident(folder), memory.resident(folder, ("rows",))
            self.assertGreater(after.anonymous - before.anonymous, 15.0)
            self.assertGreater(after.files, 4.0)
            self.assertEqual((raw.files, after.raw), (0.0, 0.0))
            self.assertGreater(raw.raw, 4.0)
            self.assertEqual(memory.disk_mb(folder), held.nbytes / 4e6)
            del mapped


if __name__ == "__main__":
    unittest.main()
