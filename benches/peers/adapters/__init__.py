"""Every engine that can be measured, and which of them are unless somebody says otherwise."""

from collections.abc import Sequence

from .base import Peer
from .databases import Chroma, Lance, MilvusLite, QdrantEdge, Vctrs, Zvec
from .libraries import PROBES, Faiss, Hnswlib, Rabitq, Svs, Usearch, Voyager
from .nearfield_database import NearfieldDatabase
from .nearfield_index import NearfieldIndex

PEERS: list[Peer] = [
    NearfieldIndex(),
    NearfieldIndex("nearfield-index-efc100", ef_construction=100),
    NearfieldDatabase(),
    NearfieldDatabase("nearfield-sync", durability="sync"),
    Rabitq("rabitq-symqg-8bit", bits=8),
    Rabitq("rabitq-symqg"),
    Rabitq("rabitq-hnsw-8bit", kind="hnsw", bits=8),
    Rabitq("rabitq-hnsw-5bit", kind="hnsw", bits=5),
    Rabitq("rabitq-ivf-8bit", kind="ivf", bits=8, sweep=PROBES),
    Hnswlib(),
    Hnswlib("hnswlib-m32", m=32),
    Faiss(),
    Faiss("faiss-hnsw-m32", factory="HNSW32,Flat"),
    Faiss("faiss-hnsw-sq8", factory="HNSW16,SQ8"),
    Faiss("faiss-hnsw-sq8-refine", factory="HNSW16,SQ8", refine=2),
    Faiss("faiss-ivfpqfs-refine", factory="IVF1024,PQ192x4fs", knob="nprobe", sweep=PROBES, refine=10),
    Faiss("faiss-ivfflat", factory="IVF1024,Flat", knob="nprobe", sweep=PROBES),
    Svs(),
    Svs("svs-f16", kind="float16"),
    Usearch(),
    Usearch("usearch-bf16", dtype="bf16"),
    Usearch("usearch-i8", dtype="i8"),
    Voyager(),
    QdrantEdge(),
    QdrantEdge("qdrant-edge-int8", quant="int8", oversampling=2.0, payload_index=False),
    Zvec(),
    Zvec("zvec-int8", quant="INT8"),
    Zvec("zvec-int8-refine", quant="INT8", refine=True),
    Lance(),
    MilvusLite(),
    Chroma(),
    Vctrs(),
]

OURS_FIRST = "nearfield"  # drawn first, in the first colour

# Those that say whether a goal holds, and one of each kind people use.
USUAL = (
    "nearfield-index",
    "nearfield",
    "rabitq-symqg-8bit",
    "rabitq-symqg",
    "rabitq-hnsw-8bit",
    "hnswlib",
    "faiss-hnsw",
    "faiss-hnsw-sq8-refine",
    "svs",
    "usearch",
    "voyager",
    "qdrant-edge-int8",
    "zvec-int8-refine",
)

# Databases that run in the process, ours in both durabilities.
DATABASES = (
    "nearfield",
    "nearfield-sync",
    "qdrant-edge",
    "qdrant-edge-int8",
    "zvec",
    "zvec-int8-refine",
    "lancedb-ivf-hnsw-sq",
    "chroma",
    "vctrs",
)


def choose(names: str, default: Sequence[str] = USUAL) -> list[Peer]:
    """The peers of a list of names parted by commas; without names those of the default."""
    known = {peer.name: peer for peer in PEERS}
    wanted = [name for name in names.split(",") if name] or [*default]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"there is no peer {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in wanted]
