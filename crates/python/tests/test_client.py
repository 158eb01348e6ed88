"""The class nearfield.Client."""

import pathlib

import nearfield
import pytest
from support import python, refuses
from test_storage import HOLDER, until_ready


@pytest.fixture
def client(tmp_path: pathlib.Path) -> nearfield.Client:
    return nearfield.Client(str(tmp_path / "a" / "data"))


def test_collections(client: nearfield.Client, tmp_path: pathlib.Path) -> None:
    root = tmp_path / "a" / "data"
    assert client.list_collections() == []
    movies = client.create_collection("movies", 3, metric="dot", m=8, ef_construction=20, quantize=True)
    assert (movies.dim, movies.metric, movies.quantized_search) == (3, "dot_product", True)
    assert client.list_collections() == ["movies"]
    with refuses("collection 'movies' already exists"):
        client.create_collection("movies", 3)
    with refuses(f"database not found at '{root / 'nope'}'"):
        client.get_collection("nope")
    movies.add("alien", [1, 2, 3])
    assert client.get_collection("movies").ids() == ["alien"]
    assert client.get_or_create_collection("movies", 99, "cosine").dim == 3
    assert client.get_or_create_collection("docs", 2, "l2").metric == "euclidean"
    (root / "not one").mkdir()
    (root / "neither").mkdir()
    (root / "file").write_text("x")
    assert client.list_collections() == ["docs", "movies"]
    assert nearfield.Client(root).list_collections() == ["docs", "movies"]
    with refuses("dim must be at least 1"):
        client.create_collection("zero", 0)
    with refuses("metric must be 'cosine', 'euclidean'/'l2', or 'dot'/'dot_product'"):
        client.create_collection("odd", 2, "odd")
    assert client.list_collections() == ["docs", "movies"]


def test_names(client: nearfield.Client) -> None:
    begin = "invalid collection name: "
    for name, why in (
        ("", "name cannot be empty"),
        ("a/b", "name cannot contain path separators or be '.' or '..'"),
        ("a\\b", "name cannot contain path separators or be '.' or '..'"),
        (".", "name cannot contain path separators or be '.' or '..'"),
        ("..", "name cannot contain path separators or be '.' or '..'"),
        ("a b", "name must be alphanumeric, hyphens, or underscores"),
        ("a.b", "name must be alphanumeric, hyphens, or underscores"),
        ("a\0b", "name must be alphanumeric, hyphens, or underscores"),
    ):
        for call in (
            lambda: client.create_collection(name, 2),
            lambda: client.get_collection(name),
            lambda: client.get_or_create_collection(name, 2),
            lambda: client.delete_collection(name),
        ):
            with refuses(begin + why):
                call()
    for name in ("ä-ß_1", "電影", "-", "A"):
        client.create_collection(name, 2)
    assert client.list_collections() == sorted(["ä-ß_1", "電影", "-", "A"])
    with pytest.raises(TypeError):
        client.create_collection(7, 2)  # type: ignore[arg-type]


def test_deleting(client: nearfield.Client, tmp_path: pathlib.Path) -> None:
    root = tmp_path / "a" / "data"
    handle = client.create_collection("x", 2)
    handle.add("a", [1, 2])
    assert client.delete_collection("nope") is False
    assert client.delete_collection("x") is True and client.delete_collection("x") is False
    assert list(root.iterdir()) == []
    for call in (lambda: handle.add("b", [1, 2]), lambda: handle.get("a"), lambda: len(handle), handle.save):
        with refuses("database is closed"):
            call()
    handle.close()
    again = client.create_collection("x", 3)
    assert (again.dim, len(again)) == (3, 0)
    again.add("c", [1, 2, 3])
    assert client.get_collection("x").ids() == ["c"]


def test_deleting_what_another_process_holds(client: nearfield.Client, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "a" / "data" / "x"
    process = python(HOLDER, folder)
    until_ready(process)
    with refuses(f"database at '{folder}' is open for writing by process {process.pid}"):
        client.delete_collection("x")
    process.communicate("\n", timeout=60)
    assert client.get_collection("x").ids() == ["holder"]
    assert client.delete_collection("x") is True


def test_manners(client: nearfield.Client, tmp_path: pathlib.Path) -> None:
    client.create_collection("x", 2)
    assert repr(client) == f"nearfield.Client('{tmp_path}/a/data')"
    assert "<td>x</td>" in client._repr_html_()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="making"):
        nearfield.Client(tmp_path / "file" / "x")
