"""export_json and import_json."""

import json
import pathlib

import nearfield
import numpy as np
import pytest
from support import names, refuses, rows


@pytest.fixture
def db(tmp_path: pathlib.Path) -> nearfield.Database:
    return nearfield.Database(tmp_path / "db", dim=3, metric="l2")


@pytest.mark.parametrize("pretty", [False, True])
def test_there_and_back(db: nearfield.Database, tmp_path: pathlib.Path, pretty: bool) -> None:
    file = tmp_path / "x.json"
    db.export_json(file, pretty)
    assert json.loads(file.read_text()) == {"version": 1, "dim": 3, "metric": "euclidean", "vectors": []}
    vectors = rows(1200, 3)
    vectors[0] = [0.1, -0.0, 3.4e38]
    odd = {"f": 0.1234567890123456, "g": 5e-324, "i": 2**64 - 1, "t": "ä\"\n", "l": [1, 1.0, None, {}], "$empty": None}
    metadatas = [odd, {}, None] + [{"n": number} for number in range(1197)]
    db.add_many(names(1200), vectors, metadatas)
    db.export_json(str(file), pretty=pretty)
    text = file.read_text()
    read = json.loads(text)
    assert (read["version"], read["dim"], read["metric"], len(read["vectors"])) == (1, 3, "euclidean", 1200)
    entries = {entry["id"]: entry for entry in read["vectors"]}
    assert entries["id-0"] == {"id": "id-0", "vector": entries["id-0"]["vector"], "metadata": odd}
    assert entries["id-1"]["metadata"] == {} and "metadata" not in entries["id-2"]
    assert np.array(entries["id-0"]["vector"], np.float32).tobytes() == vectors[0].tobytes()
    assert ("\n" in text) == pretty
    if pretty:
        assert text.startswith('{\n  "version": 1,\n  "dim": 3,\n') and text.endswith("\n    }\n  ]\n}\n")
    other = nearfield.Database(tmp_path / "other", dim=3)
    other.add("id-5", [9, 9, 9], {"old": 1})
    other.add("mine", [1, 1, 1])
    other.import_json(file)
    assert len(other) == 1201 and other.get("mine")[1] is None and other.metric == "cosine"
    assert all(other.get(id) == db.get(id) for id in db.ids())
    assert list(tmp_path.glob("*unfinished*")) == []


def test_other_programs_files(db: nearfield.Database, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(
        """{"extra": [1, {"a": null}], "vectors": [
            {"vector": [1, 2.5, 3e0], "id": "a", "metadata": null, "more": 1},
            {"id": "a", "vector": [4, 5, 6], "metadata": {"x": [1, -1, 18446744073709551615, 1.5, true, "t", null]}}
        ], "metric": 7, "version": "any", "dim": 3}"""
    )
    db.import_json(file)
    assert {id: db.get(id) for id in db} == {"a": ([4.0, 5.0, 6.0], {"x": [1, -1, 2**64 - 1, 1.5, True, "t", None]})}


def test_what_is_refused_changes_nothing(db: nearfield.Database, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "x.json"
    db.add("a", [1, 2, 3])
    head = '{"version": 1, "dim": 3, "metric": "l2", "vectors": ['
    good = '{"id": "b", "vector": [1, 2, 3]}'
    for text in (
        "",
        "[]",
        "{}",
        '{"a": 1}',
        '{"version": 1, "metric": "l2", "vectors": []}',
        head,
        head + good,
        head + good + "]} more",
        head + good + ', {"id": "c"}]}',
        head + good + ', {"vector": [1, 2, 3]}]}',
        head + good + ', {"id": 7, "vector": [1, 2, 3]}]}',
        head + good + ', {"id": "c", "vector": [1, "x", 3]}]}',
        head + good + ', {"id": "c", "vector": [1, 2, 3], "metadata": 7}]}',
        head + good + ', {"id": "c", "vector": [1, 2, 1e300]}]}',
        head + good + ', {"id": "c", "vector": [1, 2, 3], "metadata": ' + '{"a":' * 70 + "1" + "}" * 70 + "}]}",
        head + good + ', {"id": "c", "vector": [1, 2, 3], "metadata": ' + '{"a":' * 9000 + "1" + "}" * 9000 + "}]}",
        head + good + ', {"id": "' + "c" * 5000 + '", "vector": [1, 2, 3]}]}',
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match="^corrupt data: invalid JSON: "):
            db.import_json(file)
    file.write_text('{"a": 1}')
    with refuses("corrupt data: invalid JSON: missing field `version` at line 1 column 8"):
        db.import_json(file)
    file.write_text('{"version": 1, "dim": 9, "metric": "l2", "vectors": []}')
    with refuses("dimension mismatch: expected 3, got 9"):
        db.import_json(file)
    file.write_text(head + good + ', {"id": "c", "vector": [1, 2]}]}')
    with refuses("dimension mismatch: expected 3, got 2"):
        db.import_json(file)
    with refuses(f"reading '{tmp_path / 'none'}': No such file or directory"):
        db.import_json(tmp_path / "none")
    with refuses(f"writing '{tmp_path / 'none' / 'x'}': No such file or directory"):
        db.export_json(tmp_path / "none" / "x")
    assert db.ids() == ["a"]


def test_an_export_that_fails_leaves_the_old_file(db: nearfield.Database, tmp_path: pathlib.Path) -> None:
    from nearfield import _files

    file = tmp_path / "x.json"
    file.write_text("old")

    def parts():  # type: ignore[no-untyped-def]
        yield b"new"
        assert file.read_text() == "old"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _files.write_whole(file, parts())
    assert file.read_text() == "old" and len(list(tmp_path.iterdir())) == 2
