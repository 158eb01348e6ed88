"""The first ten minutes with the package, as somebody in a notebook has them: their own file, a database, a filter, opening it again, and the
mistakes that everybody makes once, each of which says what to do."""

import datetime
import pathlib
import sys

import nearfield
import numpy as np
import pytest
from support import run

PROGRAM = """
import sys
import numpy as np
import nearfield

rows = np.load(sys.argv[1])
notes = [{"year": 2000 + row % 25, "lang": ["en", "de", "fr"][row % 3]} for row in range(len(rows))]
db = nearfield.Database(sys.argv[2], dim=rows.shape[1])
db.add_many([f"note-{row}" for row in range(len(rows))], rows, notes)
best = db.search(rows[7], k=1)[0]
print(best.id, round(best.distance, 4), best.metadata)
print([found.id for found in db.search(rows[7], k=3, where_filter={"lang": "de", "year": {"$gte": 2010}})])
print(db.count({"lang": "fr"}), len(db), "note-7" in db)
"""

AGAIN = """
import sys
import numpy as np
import nearfield

db = nearfield.Database(sys.argv[2])
rows = np.load(sys.argv[1])
print(len(db), db.dim, [found.id for found in db.search(rows[7], k=3, where_filter={"lang": "de", "year": {"$gte": 2010}})])
"""


def test_from_a_file_of_vectors_to_answers_and_back(tmp_path: pathlib.Path) -> None:
    # float64, as most files are; a path of pathlib.
    rows = np.random.default_rng(3).standard_normal((600, 48))
    np.save(tmp_path / "rows.npy", rows)
    first = run(PROGRAM, tmp_path / "rows.npy", tmp_path / "notes").splitlines()
    assert first[0] == "note-7 0.0 {'year': 2007, 'lang': 'de'}" or first[0].startswith("note-7 -0.0")
    similar = rows @ rows[7] / np.linalg.norm(rows, axis=1)
    passing = [row for row in range(600) if row % 3 == 1 and row % 25 >= 10]
    best = sorted(passing, key=lambda row: -similar[row])[:3]
    assert first[1] == str([f"note-{row}" for row in best])
    assert first[2] == "200 600 True"
    again = run(AGAIN, tmp_path / "rows.npy", tmp_path / "notes").splitlines()
    assert again == [f"600 48 {[f'note-{row}' for row in best]}"]


def what_to_do(error: pytest.ExceptionInfo[Exception]) -> str:
    """The text of an error and what stands below it."""
    return "\n".join([str(error.value), *getattr(error.value, "__notes__", [])])


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes since Python 3.11")
def test_mistakes_say_what_to_do(tmp_path: pathlib.Path) -> None:
    folder = str(tmp_path / "notes")
    with pytest.raises(ValueError) as without_dim:
        nearfield.Database(folder)
    assert "specify dim to create a new one" in what_to_do(without_dim)
    db = nearfield.Database(folder, dim=4)
    db.add("a", [1, 2, 3, 4])
    mistakes = {
        "expected 4, got 3": lambda: db.add("b", [1, 2, 3]),
        "use upsert instead": lambda: db.add("a", [1, 2, 3, 4]),
        "must be str, not int": lambda: db.add_many([1], [[1, 2, 3, 4]]),
        'write "$gte"': lambda: db.search([1, 2, 3, 4], where_filter={"year": {"gte": 2000}}),
        'write "$and"': lambda: db.search([1, 2, 3, 4], where_filter={"year": {"$AND": 2000}}),
        "there are $eq, $ne,": lambda: db.search([1, 2, 3, 4], where_filter={"year": {"$near": 2000}}),
        'in the metadata key "when"': lambda: db.add("b", [1, 2, 3, 4], {"when": datetime.date(2020, 1, 1)}),
        "in metadatas[1]": lambda: db.add_many(["b", "c"], np.eye(2, 4), [None, {"n": {"x": np.float32(2)}}]),
        "got 5": lambda: nearfield.Database(folder, dim=5),
    }
    for words, mistake in mistakes.items():
        with pytest.raises((ValueError, TypeError)) as error:
            mistake()  # type: ignore[no-untyped-call]
        assert words in what_to_do(error), words
    # Nothing of it left a trace.
    assert db.ids() == ["a"]
    taken = run(
        """
        import nearfield, sys
        try:
            nearfield.Database(sys.argv[1])
        except ValueError as error:
            print(error, *error.__notes__)
        print(len(nearfield.Database(sys.argv[1], read_only=True)))
        """,
        folder,
    )
    assert "read_only=True" in taken and taken.splitlines()[-1] == "1"
