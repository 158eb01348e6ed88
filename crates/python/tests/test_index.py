"""The class nearfield.Index, from the outside. Run by `cargo xtask python`."""

import doctest
import os
import pathlib
import tempfile
import threading
import unittest

import nearfield
import numpy as np

DIM = 24
MISSING = 2**64 - 1


def rows(count: int, seed: int = 1, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)


def exact(base: np.ndarray, queries: np.ndarray, metric: str, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest rows by brute force in float64, and their distances."""
    base, queries = base.astype(np.float64), queries.astype(np.float64)
    if metric == "cosine":
        base = base / np.linalg.norm(base, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
        distances = 1 - queries @ base.T
    elif metric == "dot":
        distances = -(queries @ base.T)
    else:
        distances = ((queries[:, None, :] - base[None, :, :]) ** 2).sum(axis=2)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1)


def filled(count: int = 2000, metric: str = "cosine", **options: object) -> tuple[nearfield.Index, np.ndarray]:
    base = rows(count)
    index = nearfield.Index(DIM, metric, **options)
    index.add(None, base)
    return index, base


class Searching(unittest.TestCase):
    def test_finds_the_nearest_with_exact_distances(self) -> None:
        queries = rows(50, seed=2)
        for metric in ("cosine", "dot", "euclid"):
            with self.subTest(metric):
                index, base = filled(metric=metric)
                truth, distances = exact(base, queries, metric, 10)
                found = index.search(queries, k=10, ef=400)
                hits = [len(set(a) & set(b)) for a, b in zip(found.ids.tolist(), truth.tolist())]
                self.assertGreaterEqual(sum(hits) / truth.size, 0.95)
                same = found.ids == truth
                np.testing.assert_allclose(found.distances[same], distances[same], rtol=1e-4, atol=1e-4)
                self.assertTrue((np.diff(found.distances, axis=1) >= 0).all())

    def test_one_query_and_many_agree(self) -> None:
        index, base = filled()
        many = index.search(base[:20], k=5, ef=64)
        threaded = index.search(base[:20], k=5, ef=64, threads=2)
        np.testing.assert_array_equal(many.ids, threaded.ids)
        self.assertEqual((many.ids.shape, many.ids.dtype), ((20, 5), np.dtype(np.uint64)))
        self.assertEqual((many.distances.shape, many.distances.dtype), ((20, 5), np.dtype(np.float32)))
        for row in range(20):
            ids, distances = index.search(base[row], k=5, ef=64)
            self.assertEqual((ids.ndim, distances.ndim), (1, 1))
            np.testing.assert_array_equal(ids, many.ids[row])
            np.testing.assert_array_equal(distances, many.distances[row])

    def test_a_result_is_a_named_tuple(self) -> None:
        index, base = filled(10)
        found = index.search(base[3], k=1)
        self.assertIsInstance(found, nearfield.Found)
        self.assertEqual(found._fields, ("ids", "distances"))
        self.assertEqual(found.ids.tolist(), [3])

    def test_too_few_points_cut_one_query_and_fill_a_table(self) -> None:
        index, base = filled(3)
        self.assertEqual(len(index.search(base[0], k=10).ids), 3)
        many = index.search(base[:2], k=10)
        self.assertEqual(many.ids.shape, (2, 10))
        self.assertTrue((many.ids[:, 3:] == MISSING).all())
        self.assertTrue(np.isinf(many.distances[:, 3:]).all())

    def test_an_empty_index_finds_nothing(self) -> None:
        index = nearfield.Index(DIM)
        self.assertEqual(len(index.search(rows(1)[0]).ids), 0)
        self.assertTrue((index.search(rows(2)).ids == MISSING).all())
        self.assertEqual(index.search(np.empty((0, DIM), np.float32)).ids.shape, (0, 10))

    def test_a_recall_may_be_asked_for(self) -> None:
        index, base = filled()
        self.assertEqual(index.search(base[7], k=3, recall=0.99).ids[0], 7)

    def test_exact_search_finds_all(self) -> None:
        index, base = filled(quantization="scalar")
        queries = rows(20, seed=4)
        truth, _ = exact(base, queries, "cosine", 10)
        np.testing.assert_array_equal(index.search(queries, exact=True).ids, truth)

    def test_arrays_of_any_layout_and_type_give_the_same(self) -> None:
        index, base = filled()
        queries = base[:8]
        expected = index.search(queries, ef=64).ids
        unaligned = np.frombuffer(b"x" + queries.tobytes(), dtype=np.uint8)[1:].view(np.float32).reshape(8, DIM)
        wide = np.zeros((8, 2 * DIM), np.float32)
        wide[:, ::2] = queries
        for name, given in {
            "Fortran order": np.asfortranarray(queries),
            "float64": queries.astype(np.float64),
            "a list": queries.tolist(),
            "unaligned": unaligned,
            "strided": wide[:, ::2],
            "big-endian": queries.astype(">f4"),
        }.items():
            with self.subTest(name):
                np.testing.assert_array_equal(index.search(given, ef=64).ids, expected)
                np.testing.assert_array_equal(index.search(given[0], ef=64).ids, expected[0])
        whole = np.arange(DIM)
        as_floats = index.search(whole.astype(np.float32))
        np.testing.assert_array_equal(index.search(whole).ids, as_floats.ids)
        np.testing.assert_array_equal(index.search(whole.astype(np.float16)).ids, as_floats.ids)

    def test_threads_search_while_one_adds(self) -> None:
        index, base = filled(500)
        failed: list[BaseException] = []

        def search() -> None:
            try:
                for row in range(200):
                    ids, _ = index.search(base[row % 500], k=1, ef=64)
                    if ids[0] != row % 500:
                        raise AssertionError(f"row {row % 500} found {ids[0]}")
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        index.add(None, rows(500, seed=3))
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(len(index), 1000)


class Changing(unittest.TestCase):
    def test_ids_are_given_or_numbered_on(self) -> None:
        index = nearfield.Index(DIM)
        base = rows(9)
        index.add([5, 1000], base[:2])
        index.add(np.array([2**40, 2**63], np.uint64), base[2:4])
        index.add(np.array([7, 8], np.int32), base[4:6])
        index.add(6, base[6])
        self.assertEqual(len(index), 7)
        for id, row in {5: 0, 1000: 1, 2**40: 2, 2**63: 3, 7: 4, 8: 5, 6: 6}.items():
            self.assertIn(id, index)
            self.assertEqual(index.search(base[row], k=1).ids.tolist(), [id])
        numbered = nearfield.Index(DIM)
        numbered.add(None, base[:3])
        numbered.add(None, base[3:5])
        self.assertEqual([id for id in range(10) if id in numbered], [0, 1, 2, 3, 4])

    def test_an_id_that_is_there_is_replaced(self) -> None:
        index, base = filled(50)
        other = rows(1, seed=9)[0]
        index.add(3, other)
        self.assertEqual(len(index), 50)
        self.assertEqual(index.search(other, k=1).ids.tolist(), [3])
        self.assertLess(float(np.abs(unit(index.get(3)) - unit(other)).max()), 1e-5)

    def test_what_is_removed_is_not_found(self) -> None:
        index, base = filled(200)
        self.assertEqual(index.remove([0, 1, 2, 999]), 3)
        self.assertEqual(index.remove(3), 1)
        self.assertEqual(index.remove([]), 0)
        self.assertEqual(len(index), 196)
        self.assertNotIn(1, index)
        self.assertFalse(set(index.search(base[:4], k=10, ef=200).ids.ravel().tolist()) & {0, 1, 2, 3})
        with self.assertRaisesRegex(KeyError, "id 1 "):
            index.get(1)

    def test_a_vector_comes_back(self) -> None:
        index, base = filled(20, metric="euclid")
        np.testing.assert_array_equal(index.get(7), base[7])
        with self.assertRaises(KeyError):
            index.get(-1)
        with self.assertRaises(KeyError):
            index.get("seven")
        self.assertFalse(index.contains(-1) or "seven" in index)

    def test_nothing_may_be_added(self) -> None:
        index = nearfield.Index(DIM)
        for nothing in ([], np.empty((0, DIM), np.float32), np.empty((0, 0))):
            index.add([], nothing) if len(np.shape(nothing)) == 2 else index.add(None, np.empty((0, DIM)))
        self.assertEqual(len(index), 0)

    def test_statistics_are_a_dict(self) -> None:
        index, _ = filled(100)
        stats = index.stats()
        self.assertEqual((stats["points"], stats["dead"], stats["m"], stats["metric"]), (100, 0, 16, "cosine"))
        self.assertIn(stats["tier"], ("coarse", "fine", "exact"))
        self.assertEqual((index.dim, index.metric), (DIM, "cosine"))
        self.assertEqual(repr(index), "<nearfield.Index: 100 points, dim 24, cosine>")


class Saving(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = pathlib.Path(self.folder.name) / "index"

    def test_loaded_and_viewed_answer_alike(self) -> None:
        index, base = filled()
        index.remove([1, 2])
        index.save(self.path)
        expected = index.search(base[:20], ef=64)
        for reopen in (nearfield.Index.load, nearfield.Index.view):
            with self.subTest(reopen.__name__):
                again = reopen(os.fspath(self.path))
                self.assertEqual((len(again), again.dim, again.metric), (1998, DIM, "cosine"))
                np.testing.assert_array_equal(again.search(base[:20], ef=64).ids, expected.ids)
                np.testing.assert_array_equal(again.search(base[:20], ef=64).distances, expected.distances)

    def test_what_was_loaded_can_be_changed_and_a_view_cannot(self) -> None:
        index, base = filled(100)
        index.save(self.path)
        loaded = nearfield.Index.load(self.path)
        loaded.add(None, rows(1, seed=5))
        self.assertEqual(len(loaded), 101)
        view = nearfield.Index.view(self.path)
        for change in (lambda: view.add(None, base), lambda: view.remove(1), lambda: view.save(self.path)):
            with self.assertRaisesRegex(ValueError, "is a view"):
                change()
        self.assertEqual(len(view), 100)

    def test_what_is_missing_is_an_oserror(self) -> None:
        for reopen in (nearfield.Index.load, nearfield.Index.view):
            with self.assertRaises(OSError):
                reopen(self.path / "nowhere")

    def test_damage_is_an_oserror_and_other_things_are_not_replaced(self) -> None:
        index, _ = filled()
        index.save(self.path)
        for file in sorted(self.path.iterdir()):
            with self.subTest(file.name):
                whole = file.read_bytes()
                file.write_bytes(whole[: len(whole) // 2])
                with self.assertRaises(OSError):
                    nearfield.Index.load(self.path)
                file.write_bytes(whole)
        self.assertEqual(len(nearfield.Index.load(self.path)), 2000)
        other = self.path.with_name("other")
        other.write_text("not an index")
        with self.assertRaises(FileExistsError):
            index.save(other)


class Refusing(unittest.TestCase):
    def refused(self, pattern: str, call: object, *arguments: object, **options: object) -> None:
        with self.assertRaisesRegex(ValueError, pattern):
            call(*arguments, **options)  # type: ignore[operator]

    def test_options_outside_their_limits(self) -> None:
        self.refused("dim", nearfield.Index, 0)
        self.refused("dim is -1", nearfield.Index, -1)
        self.refused("metric is \"hamming\".*cosine, dot, euclid", nearfield.Index, DIM, "hamming")
        self.refused("quantization is \"pq\".*auto, rotated", nearfield.Index, DIM, quantization="pq")
        self.refused("m is -3", nearfield.Index, DIM, m=-3)

    def test_vectors_that_do_not_fit(self) -> None:
        index = nearfield.Index(DIM)
        self.refused("vectors has vectors of 5 numbers, the index has dim 24", index.add, None, rows(2, dim=5))
        self.refused("vectors has 3 axes", index.add, None, np.zeros((2, 2, DIM), np.float32))
        self.refused("vectors holds complex64", index.add, None, np.zeros((2, DIM), np.complex64))
        self.refused("vectors holds", index.add, None, [["a"] * DIM])
        self.refused("2 ids for 3 vectors", index.add, [1, 2], rows(3))
        self.refused("ids holds -2", index.add, [1, -2], rows(2))
        self.refused("ids holds float64", index.add, [1.0, 2.0], rows(2))
        self.refused("ids has 2 axes", index.add, [[1, 2]], rows(2))
        self.refused("finite", index.add, None, np.full((1, DIM), np.nan, np.float32))
        self.assertEqual(len(index), 0)

    def test_searches_outside_their_limits(self) -> None:
        index, base = filled(10)
        self.refused("k is 0, it must be 1 to", index.search, base[0], k=0)
        self.refused("k is -1", index.search, base[0], k=-1)
        self.refused(r"k is \d+, it must be 1 to", index.search, base[0], k=10**12)
        self.refused("at most one of them", index.search, base[0], ef=64, recall=0.9)
        self.refused("at most one of them", index.search, base[0], ef=64, exact=True)
        self.refused("ef is 0", index.search, base[0], ef=0)
        self.refused("recall is 1.5", index.search, base[0], recall=1.5)
        self.refused("ef is -5", index.search, base[0], ef=-5)
        self.refused("queries has vectors of 3 numbers", index.search, np.zeros(3, np.float32))
        self.refused("queries has 0 axes", index.search, 1.0)


class Documentation(unittest.TestCase):
    def test_its_examples_run(self) -> None:
        self.assertEqual(doctest.testmod(nearfield).failed, 0)
        readme = pathlib.Path(__file__).parent.parent / "README.md"
        self.assertEqual(doctest.testfile(os.fspath(readme), module_relative=False).failed, 0)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


if __name__ == "__main__":
    unittest.main()
