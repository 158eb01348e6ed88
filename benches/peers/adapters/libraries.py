"""Libraries: an index in memory, saved to a file or folder."""

import os
import threading
from collections.abc import Sequence

import numpy as np
from measure import K

from .base import EF_CONSTRUCTION, M, Peer

PROBES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)


class Hnswlib(Peer):
    name, package, modules = "hnswlib", "hnswlib", ("hnswlib",)
    m = M

    def build(self, base: np.ndarray, threads: int) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", self.dim)
        self.index.init_index(len(base), ef_construction=EF_CONSTRUCTION, M=self.m)
        self.index.add_items(base, np.arange(len(base)), num_threads=threads)

    def persist(self) -> None:
        self.index.save_index(self.path)

    def open(self) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", self.dim)
        self.index.load_index(self.path)

    def set(self, value: int) -> None:
        self.index.set_ef(value)

    def search(self, query: np.ndarray) -> np.ndarray:
        return self.index.knn_query(query, K, num_threads=1)[0][0]

    def search_batch(self, queries: np.ndarray, threads: int) -> np.ndarray:
        return self.index.knn_query(queries, K, num_threads=threads)[0]

    def delete(self, ids: np.ndarray) -> None:
        for id in ids:
            self.index.mark_deleted(int(id))


class Usearch(Peer):
    name, package, modules = "usearch", "usearch", ("usearch.index",)
    m, dtype = M, "f32"

    def build(self, base: np.ndarray, threads: int) -> None:
        from usearch.index import Index

        self.index = Index(
            ndim=self.dim, metric="cos", dtype=self.dtype, connectivity=self.m, expansion_add=EF_CONSTRUCTION
        )
        self.index.add(np.arange(len(base)), base, threads=threads)

    def persist(self) -> None:
        self.index.save(self.path)

    def open(self) -> None:
        from usearch.index import Index

        self.index = Index.restore(self.path)

    def set(self, value: int) -> None:
        self.index.expansion_search = value

    def search(self, query: np.ndarray) -> np.ndarray:
        return self.index.search(query, K, threads=1).keys

    def search_batch(self, queries: np.ndarray, threads: int) -> np.ndarray:
        return self.index.search(queries, K, threads=threads).keys

    def delete(self, ids: np.ndarray) -> None:
        self.index.remove(np.asarray(ids, dtype=np.uint64))


class Faiss(Peer):
    """`factory` is the string of the index factory; `refine` puts an exact rerank of so many times K behind it."""

    name, package, modules = "faiss-hnsw", "faiss-cpu", ("faiss",)
    factory, knob, refine = f"HNSW{M},Flat", "efSearch", 0

    def build(self, base: np.ndarray, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        index = faiss.index_factory(self.dim, self.factory, faiss.METRIC_INNER_PRODUCT)
        if self.knob == "efSearch":
            faiss.downcast_index(index).hnsw.efConstruction = EF_CONSTRUCTION
        if self.refine:
            index = faiss.IndexRefineFlat(index)
        index.train(base)
        index.add(base)
        self.index = index

    def persist(self) -> None:
        import faiss

        faiss.write_index(self.index, self.path)

    def open(self) -> None:
        import faiss

        self.index = faiss.read_index(self.path)

    def parameters(self, selector: object = None) -> object:
        import faiss

        given = {"sel": selector} if selector is not None else {}
        if self.knob == "efSearch":
            parameters = faiss.SearchParametersHNSW(efSearch=self.value, **given)
        elif self.knob == "nprobe":
            parameters = faiss.SearchParametersIVF(nprobe=self.value, **given)
        else:
            parameters = faiss.SearchParameters(**given)
        if self.refine:
            self.inner_parameters = parameters  # the outer ones do not keep it alive
            parameters = faiss.IndexRefineSearchParameters(k_factor=self.refine, base_index_params=parameters)
        return parameters

    def set(self, value: int) -> None:
        self.value = value
        self.chosen = self.parameters()

    def set_threads(self, count: int) -> None:
        import faiss

        faiss.omp_set_num_threads(count)

    def prepare(self, queries: np.ndarray) -> Sequence:
        return [query[None] for query in queries]

    def search(self, query: np.ndarray) -> np.ndarray:
        return self.index.search(query, K, params=self.chosen)[1][0]

    def search_batch(self, queries: np.ndarray, threads: int) -> np.ndarray:
        if threads == 1:
            return self.index.search(queries, K, params=self.chosen)[1]
        # Python threads with one OpenMP thread each: its fork and join stall on small virtual machines.
        import faiss

        parts: list = [None] * threads

        def work(at: int, share: np.ndarray) -> None:
            faiss.omp_set_num_threads(1)
            parts[at] = self.index.search(share, K, params=self.chosen)[1]

        shares = np.array_split(queries, threads)
        workers = [threading.Thread(target=work, args=item) for item in enumerate(shares)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return np.concatenate(parts)

    def prepare_filter(self, filter: dict, name: str) -> object:
        import faiss

        self.selector = faiss.IDSelectorBitmap(np.packbits(self.data.mask(name), bitorder="little"))
        return self.selector

    def search_filtered(self, query: np.ndarray, filter: object) -> np.ndarray:
        return self.index.search(query, K, params=self.parameters(filter))[1][0]


class Voyager(Peer):
    name, package, modules = "voyager", "voyager", ("voyager",)
    storage = "Float32"

    def build(self, base: np.ndarray, threads: int) -> None:
        import voyager

        self.index = voyager.Index(
            voyager.Space.Cosine,
            self.dim,
            M=M,
            ef_construction=EF_CONSTRUCTION,
            max_elements=len(base),
            storage_data_type=getattr(voyager.StorageDataType, self.storage),
        )
        self.index.add_items(base, np.arange(len(base)), num_threads=threads)

    def persist(self) -> None:
        self.index.save(self.path)

    def open(self) -> None:
        import voyager

        self.index = voyager.Index.load(self.path)

    def search(self, query: np.ndarray) -> np.ndarray:
        return self.index.query(query, K, num_threads=1, query_ef=self.value)[0]

    def search_batch(self, queries: np.ndarray, threads: int) -> np.ndarray:
        return self.index.query(queries, K, num_threads=threads, query_ef=self.value)[0]

    def delete(self, ids: np.ndarray) -> None:
        for id in ids:
            self.index.mark_deleted(int(id))


class Svs(Peer):
    """Scalable Vector Search: a Vamana graph. Its own compressed kinds refuse processors of other makers."""

    name, package, modules = "svs", "scalable-vs", ("svs",)
    kind = "float32"

    def build(self, base: np.ndarray, threads: int) -> None:
        import svs

        parameters = svs.VamanaBuildParameters(alpha=0.95, graph_max_degree=2 * M, window_size=EF_CONSTRUCTION)
        rows = base.astype(np.float16) if self.kind == "float16" else base
        self.index = svs.Vamana.build(parameters, rows, svs.DistanceType.MIP, num_threads=threads)

    def parts(self) -> list[str]:
        return [os.path.join(self.path, part) for part in ("config", "graph", "data")]

    def persist(self) -> None:
        for part in self.parts():
            os.makedirs(part, exist_ok=True)
        self.index.save(*self.parts())

    def open(self) -> None:
        import svs

        config, graph, data = self.parts()
        loader = svs.VectorDataLoader(data, getattr(svs, self.kind), dims=self.dim)
        self.index = svs.Vamana(config, graph, loader, svs.DistanceType.MIP, num_threads=1)

    def set(self, value: int) -> None:
        self.index.search_window_size = value

    def set_threads(self, count: int) -> None:
        self.index.num_threads = count

    def prepare(self, queries: np.ndarray) -> Sequence:
        return [query[None] for query in queries]

    def search(self, query: np.ndarray) -> np.ndarray:
        return self.index.search(query, K)[0][0]

    def search_batch(self, queries: np.ndarray, threads: int) -> np.ndarray:
        return self.index.search(queries, K)[0]  # of its own pool, see set_threads


class Rabitq(Peer):
    """rabitqlib: SymphonyQG (bits 0: raw vectors beside the 1-bit codes), HNSW and IVF over codes of some bits."""

    name, package, modules = "rabitq-symqg", "rabitqlib", ("rabitqlib",)
    kind, bits = "symqg", 0

    def build(self, base: np.ndarray, threads: int) -> None:
        import rabitqlib

        if self.kind == "symqg":
            self.index = rabitqlib.SymqgIndex(self.dim, 2 * M, "ip", self.bits)
            self.index.build(base, EF_CONSTRUCTION, threads)
            return
        clusters = 16 if self.kind == "hnsw" else 1024
        exact = rabitqlib.FinalAssignmentMode.Exact
        means = rabitqlib.RaBitQKMeans(self.dim, clusters, num_threads=threads, final_assignment=exact)
        means.train(base)
        if self.kind == "hnsw":
            self.index = rabitqlib.HnswIndex(self.dim, len(base), M, EF_CONSTRUCTION, self.bits, "ip")
        else:
            self.index = rabitqlib.IvfIndex(self.dim, len(base), clusters, self.bits, "ip")
        self.index.build(base, means.centroids, means.assignments, threads)

    def persist(self) -> None:
        self.index.save(self.path)

    def open(self) -> None:
        import rabitqlib

        kinds = {"hnsw": rabitqlib.HnswIndex, "ivf": rabitqlib.IvfIndex, "symqg": rabitqlib.SymqgIndex}
        self.index = kinds[self.kind].load(self.path)

    def prepare(self, queries: np.ndarray) -> Sequence:
        return [query[None] for query in queries]

    def search(self, query: np.ndarray) -> np.ndarray:
        return self.index.search(query, K, self.value)[0].reshape(-1)

    def search_batch(self, queries: np.ndarray, threads: int) -> np.ndarray:
        return self.index.search(queries, K, self.value, num_threads=threads)[0]
