"""Databases that run in the process: payloads, durable writes, filters.

A filter is kept as its users write it, a dict or a text, and turned into what the engine takes inside the timed call.
"""

import os
import shutil
import time
from collections.abc import Sequence

import numpy as np
from measure import K

from .base import EF_CONSTRUCTION, M, Peer

BATCH = 1000


def as_sql(filter: dict, equals: str = "=") -> str:
    value = f"'{filter['value']}'" if isinstance(filter["value"], str) else filter["value"]
    return f"{filter['field']} {({'eq': equals, 'lt': '<', 'ge': '>='})[filter['op']]} {value}"


def as_mongo(filter: dict) -> dict:
    return {filter["field"]: {{"eq": "$eq", "ge": "$gte", "lt": "$lt"}[filter["op"]]: filter["value"]}}


class Database(Peer):
    is_database = True
    sweep = (16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512)
    filter_sweep = (16, 32, 64, 128, 256)

    def fill(self, base: np.ndarray) -> None:
        payload = self.data.payload
        for start in range(0, len(base), BATCH):
            end = min(start + BATCH, len(base))
            self.upsert(range(start, end), base[start:end], payload[start:end])


class QdrantEdge(Database):
    name, package, modules = "qdrant-edge", "qdrant-edge-py", ("qdrant_edge",)
    quant, oversampling, payload_index = None, None, True

    def config(self, threads: int) -> object:
        import qdrant_edge as edge

        quantization = edge.ScalarQuantizationConfig(edge.ScalarType.Int8, 0.99, always_ram=True) if self.quant else None
        return edge.EdgeConfig(
            vectors=edge.EdgeVectorParams(self.dim, edge.Distance.Cosine, on_disk=False),
            hnsw_config=edge.HnswIndexConfig(M, EF_CONSTRUCTION, 10, max_indexing_threads=threads, on_disk=False),
            quantization_config=quantization,
            optimizers=edge.EdgeOptimizersConfig(
                default_segment_number=1, max_segment_size=10_000_000, indexing_threshold=1000
            ),
        )

    def create_empty(self, threads: int = 2) -> None:
        import qdrant_edge as edge

        shutil.rmtree(self.path, ignore_errors=True)
        os.makedirs(self.path)
        self.shard = edge.EdgeShard.create(self.path, self.config(threads))

    def build(self, base: np.ndarray, threads: int) -> str:
        import qdrant_edge as edge

        self.create_empty(threads)
        if self.payload_index:
            for field, kind in {"category": "Keyword", "pos": "Keyword", "words": "Integer", "bucket": "Integer"}.items():
                self.shard.update(edge.UpdateOperation.create_field_index(field, getattr(edge.PayloadSchemaType, kind)))
        self.fill(base)
        began = time.perf_counter()
        self.shard.optimize()
        info = self.shard.info()
        return f"optimize {time.perf_counter() - began:.1f} s, {info.segments_count} segments"

    def persist(self) -> None:
        self.shard.flush()
        self.shard.close()

    def open(self) -> None:
        import qdrant_edge as edge

        self.shard = edge.EdgeShard.load(self.path)

    def set(self, value: int) -> None:
        import qdrant_edge as edge

        rescore = edge.QuantizationSearchParams(rescore=True, oversampling=self.oversampling) if self.quant else None
        self.parameters = edge.SearchParams(hnsw_ef=value, quantization=rescore)

    def prepare(self, queries: np.ndarray) -> Sequence:
        return queries.tolist()

    def search(self, query: list) -> Sequence:
        import qdrant_edge as edge

        request = edge.SearchRequest(edge.Query.Nearest(query), K, params=self.parameters)
        return [point.id for point in self.shard.search(request)]

    def search_batch(self, queries: np.ndarray, threads: int) -> Sequence:
        import qdrant_edge as edge

        requests = [
            edge.QueryRequest(K, query=edge.Query.Nearest(query), params=self.parameters) for query in queries.tolist()
        ]
        answers = self.shard.query_batch(edge.QueryBatchRequest(requests))
        return [[point.id for point in points] for points in answers]

    def prepare_filter(self, filter: dict, name: str) -> dict:
        return filter

    def condition(self, filter: dict) -> object:
        import qdrant_edge as edge

        if filter["op"] == "eq":
            condition = edge.FieldCondition(filter["field"], match=edge.MatchValue(filter["value"]))
        else:
            bound = {"lt": "lt", "ge": "gte"}[filter["op"]]
            condition = edge.FieldCondition(filter["field"], range=edge.RangeFloat(**{bound: filter["value"]}))
        return edge.Filter(must=[condition])

    def search_filtered(self, query: list, filter: dict) -> Sequence:
        import qdrant_edge as edge

        request = edge.SearchRequest(edge.Query.Nearest(query), K, filter=self.condition(filter), params=self.parameters)
        return [point.id for point in self.shard.search(request)]

    def upsert(self, ids: Sequence[int], vectors: np.ndarray, payloads: Sequence[dict]) -> None:
        import qdrant_edge as edge

        points = [edge.Point(int(id), row, payload) for id, row, payload in zip(ids, vectors.tolist(), payloads)]
        self.shard.update(edge.UpdateOperation.upsert_points(points))

    def delete(self, ids: np.ndarray) -> None:
        import qdrant_edge as edge

        self.shard.update(edge.UpdateOperation.delete_points([int(id) for id in ids]))

    def settle(self) -> None:
        self.shard.optimize()

    def close(self) -> None:
        self.shard.close()


class Zvec(Database):
    name, package, modules = "zvec", "zvec", ("zvec",)
    quant, refine = None, False

    def start(self, threads: int) -> None:
        import zvec

        zvec.init(log_level=zvec.LogLevel.ERROR, query_threads=threads, optimize_threads=threads)

    def create_empty(self) -> None:
        import zvec

        try:
            self.start(2)
        except RuntimeError:
            pass  # it was started before
        shutil.rmtree(self.path, ignore_errors=True)
        codes = {"quantize_type": getattr(zvec.QuantizeType, self.quant)} if self.quant else {}
        kind, inverted = zvec.DataType, zvec.InvertIndexParam
        graph = zvec.HnswIndexParam(
            zvec.MetricType.IP, m=M, ef_construction=EF_CONSTRUCTION, use_contiguous_memory=True, **codes
        )
        schema = zvec.CollectionSchema(
            "bench",
            fields=[
                zvec.FieldSchema("category", kind.STRING, index_param=inverted()),
                zvec.FieldSchema("pos", kind.STRING, index_param=inverted()),
                zvec.FieldSchema("words", kind.INT64, index_param=inverted(True)),
                zvec.FieldSchema("bucket", kind.INT64, index_param=inverted(True)),
                zvec.FieldSchema("first_letter", kind.STRING),
                zvec.FieldSchema("offset", kind.INT64),
            ],
            vectors=zvec.VectorSchema("v", kind.VECTOR_FP32, self.dim, index_param=graph),
        )
        self.collection = zvec.create_and_open(self.path, schema, zvec.CollectionOption(False, True))

    def build(self, base: np.ndarray, threads: int) -> str:
        import zvec

        self.start(threads)
        self.create_empty()
        self.fill(base)
        began = time.perf_counter()
        self.collection.optimize(zvec.OptimizeOption(threads))
        return f"optimize {time.perf_counter() - began:.1f} s"

    def persist(self) -> None:
        self.collection.flush()
        self.collection.close()

    def open(self) -> None:
        import zvec

        self.start(2)
        self.collection = zvec.open(self.path, zvec.CollectionOption(False, True))

    def set(self, value: int) -> None:
        import zvec

        self.parameters = zvec.HnswQueryParam(ef=value, is_using_refiner=self.refine)

    def search(self, query: np.ndarray, **filter: str) -> Sequence:
        import zvec

        asked = zvec.Query("v", vector=query, param=self.parameters)
        return [int(doc.id) for doc in self.collection.query(asked, topk=K, output_fields=[], **filter)]

    def prepare_filter(self, filter: dict, name: str) -> str:
        return as_sql(filter)

    def search_filtered(self, query: np.ndarray, filter: str) -> Sequence:
        return self.search(query, filter=filter)

    def upsert(self, ids: Sequence[int], vectors: np.ndarray, payloads: Sequence[dict]) -> None:
        import zvec

        docs = [zvec.Doc(id=str(id), vectors={"v": row}, fields=payload) for id, row, payload in zip(ids, vectors, payloads)]
        failed = [status for status in self.collection.upsert(docs) if not status.ok()]
        if failed:
            raise RuntimeError(f"{len(failed)} of {len(docs)} writes failed: {failed[0]}")

    def delete(self, ids: np.ndarray) -> None:
        for start in range(0, len(ids), BATCH):
            self.collection.delete([str(id) for id in ids[start : start + BATCH]])

    def settle(self) -> None:
        import zvec

        self.collection.optimize(zvec.OptimizeOption(2))

    def close(self) -> None:
        self.collection.close()


class Lance(Database):
    name, package, modules = "lancedb-ivf-hnsw-sq", "lancedb", ("lancedb", "pyarrow")
    sweep, filter_sweep = (24, 32, 64, 128, 256), (64, 256)

    def rows(self, ids: Sequence[int], vectors: np.ndarray, payloads: Sequence[dict]) -> object:
        import pyarrow

        flat = pyarrow.array(np.ascontiguousarray(vectors).reshape(-1))
        columns = {
            "id": pyarrow.array(list(ids), pyarrow.int64()),
            "v": pyarrow.FixedSizeListArray.from_arrays(flat, self.dim),
        }
        for key in payloads[0]:
            columns[key] = pyarrow.array([payload[key] for payload in payloads])
        return pyarrow.table(columns)

    def create_empty(self) -> None:
        import lancedb

        shutil.rmtree(self.path, ignore_errors=True)
        schema = self.rows([0], self.data.base[:1], self.data.payload[:1]).schema
        self.table = lancedb.connect(self.path).create_table("bench", schema=schema)

    def build(self, base: np.ndarray, threads: int) -> None:
        import lancedb

        rows = self.rows(range(len(base)), base, self.data.payload)
        self.table = lancedb.connect(self.path).create_table("bench", rows, mode="overwrite")
        self.table.create_index(
            metric="dot",
            vector_column_name="v",
            num_partitions=1,
            index_type="IVF_HNSW_SQ",
            m=M,
            ef_construction=EF_CONSTRUCTION,
        )
        self.table.create_scalar_index("category", index_type="BITMAP")
        self.table.create_scalar_index("words")
        self.table.create_scalar_index("bucket")

    def persist(self) -> None:
        pass  # every write was durable

    def open(self) -> None:
        import lancedb

        self.table = lancedb.connect(self.path).open_table("bench")

    def query(self, query: np.ndarray) -> object:
        found = self.table.search(query, vector_column_name="v").distance_type("dot").limit(K).select(["id"])
        return found.refine_factor(2).nprobes(1).ef(self.value)

    def search(self, query: np.ndarray) -> Sequence:
        return self.query(query).to_arrow()["id"].to_numpy()

    def prepare_filter(self, filter: dict, name: str) -> str:
        return as_sql(filter)

    def search_filtered(self, query: np.ndarray, filter: str) -> Sequence:
        return self.query(query).where(filter, prefilter=True).to_arrow()["id"].to_numpy()

    def upsert(self, ids: Sequence[int], vectors: np.ndarray, payloads: Sequence[dict]) -> None:
        merge = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute(self.rows(ids, vectors, payloads))

    def delete(self, ids: np.ndarray) -> None:
        self.table.delete(f"id in ({','.join(map(str, ids))})")


class MilvusLite(Database):
    name, package, modules = "milvus-lite", "milvus-lite", ("pymilvus",)
    sweep, filter_sweep = (16, 32, 64, 128, 256), (64,)
    value = 64

    def connect(self) -> None:
        from pymilvus import MilvusClient

        self.client = MilvusClient(self.path + ".db")

    def create_empty(self) -> None:
        from pymilvus import DataType, MilvusClient

        shutil.rmtree(self.path + ".db", ignore_errors=True)
        self.connect()
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=self.dim)
        for key, value in self.data.payload[0].items():
            if isinstance(value, int):
                schema.add_field(key, DataType.INT64)
            else:
                schema.add_field(key, DataType.VARCHAR, max_length=64)
        index = self.client.prepare_index_params()
        graph = {"M": M, "efConstruction": EF_CONSTRUCTION}
        index.add_index("v", index_type="HNSW", metric_type="IP", params=graph)
        self.client.create_collection("bench", schema=schema, index_params=index)

    def build(self, base: np.ndarray, threads: int) -> None:
        self.create_empty()
        self.fill(base)
        self.client.flush("bench")
        self.client.load_collection("bench")
        self.search(base[0])

    def persist(self) -> None:
        self.client.close()

    def open(self) -> None:
        self.connect()
        self.client.load_collection("bench")

    def search(self, query: np.ndarray, filter: str = "") -> Sequence:
        parameters = {"metric_type": "IP", "params": {"ef": self.value}}
        answers = self.client.search(
            "bench", [query.tolist()], limit=K, filter=filter, output_fields=[], search_params=parameters
        )
        return [hit["id"] for hit in answers[0]]

    def prepare_filter(self, filter: dict, name: str) -> str:
        return as_sql(filter, equals="==")

    def search_filtered(self, query: np.ndarray, filter: str) -> Sequence:
        return self.search(query, filter)

    def upsert(self, ids: Sequence[int], vectors: np.ndarray, payloads: Sequence[dict]) -> None:
        rows = [payload | {"id": int(id), "v": row} for id, row, payload in zip(ids, vectors.tolist(), payloads)]
        self.client.upsert("bench", rows)

    def delete(self, ids: np.ndarray) -> None:
        for start in range(0, len(ids), BATCH):
            self.client.delete("bench", ids=[int(id) for id in ids[start : start + BATCH]])

    def close(self) -> None:
        self.client.close()


class Chroma(Database):
    """Its rows lie in SQLite; its graph takes part in every write."""

    name, package, modules = "chroma", "chromadb", ("chromadb",)
    sweep, filter_sweep = (16, 32, 64, 128, 256), (64, 256)

    def create_empty(self) -> None:
        import chromadb

        shutil.rmtree(self.path, ignore_errors=True)
        self.client = chromadb.PersistentClient(self.path)
        graph = {"space": "cosine", "max_neighbors": M, "ef_construction": EF_CONSTRUCTION, "num_threads": 2}
        self.collection = self.client.create_collection("bench", configuration={"hnsw": graph}, embedding_function=None)

    def build(self, base: np.ndarray, threads: int) -> None:
        self.create_empty()
        self.fill(base)

    def persist(self) -> None:
        self.close()

    def open(self) -> None:
        import chromadb

        self.client = chromadb.PersistentClient(self.path)
        self.collection = self.client.get_collection("bench", embedding_function=None)

    def set(self, value: int) -> None:
        self.collection.modify(configuration={"hnsw": {"ef_search": value}})

    def search(self, query: np.ndarray, **filter: dict) -> Sequence:
        found = self.collection.query(query_embeddings=[query], n_results=K, include=[], **filter)
        return [int(id) for id in found["ids"][0]]

    def prepare_filter(self, filter: dict, name: str) -> dict:
        return as_mongo(filter)

    def search_filtered(self, query: np.ndarray, filter: dict) -> Sequence:
        return self.search(query, where=filter)

    def upsert(self, ids: Sequence[int], vectors: np.ndarray, payloads: Sequence[dict]) -> None:
        self.collection.upsert(ids=[str(id) for id in ids], embeddings=vectors, metadatas=list(payloads))

    def delete(self, ids: np.ndarray) -> None:
        for start in range(0, len(ids), BATCH):
            self.collection.delete(ids=[str(id) for id in ids[start : start + BATCH]])

    def close(self) -> None:
        from chromadb.api.shared_system_client import SharedSystemClient

        # Otherwise opening again hands out what is in memory.
        self.client._system.stop()
        SharedSystemClient.clear_system_cache()


class Vctrs(Database):
    """Saved as a whole by `save`: its writes are in memory until then."""

    name, package, modules = "vctrs", "vctrs", ("vctrs",)
    sweep = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)

    def create_empty(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.open()

    def build(self, base: np.ndarray, threads: int) -> None:
        self.create_empty()
        self.fill(base)

    def persist(self) -> None:
        self.db.save()

    def open(self) -> None:
        import vctrs

        self.db = vctrs.Database(self.path, self.dim, "cosine", M, EF_CONSTRUCTION)

    def search(self, query: np.ndarray) -> Sequence:
        return [int(found.id) for found in self.db.search(query, K, self.value)]

    def prepare_filter(self, filter: dict, name: str) -> dict:
        return as_mongo(filter)

    def search_filtered(self, query: np.ndarray, filter: dict) -> Sequence:
        return [int(found.id) for found in self.db.search(query, K, self.value, filter)]

    def upsert(self, ids: Sequence[int], vectors: np.ndarray, payloads: Sequence[dict]) -> None:
        if len(ids) == 1:
            self.db.upsert(str(ids[0]), vectors[0], payloads[0])
        else:
            self.db.upsert_many([str(id) for id in ids], vectors, list(payloads))

    def delete(self, ids: np.ndarray) -> None:
        for start in range(0, len(ids), BATCH):
            self.db.delete_many([str(id) for id in ids[start : start + BATCH]])

    def close(self) -> None:
        self.db = None
