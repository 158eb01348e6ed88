"""The class ``nearfield.Client``: named databases below one folder."""

import os
import shutil
import uuid

from nearfield._nearfield import Database, _claim, _is_there


class Client:
    """Named databases, each in a folder of its own below ``path``, which is made if needed.

    >>> import nearfield, tempfile
    >>> client = nearfield.Client(tempfile.mkdtemp())
    >>> movies = client.create_collection("movies", dim=2)
    >>> movies.add("alien", [1.0, 0.0], {"year": 1979})
    >>> client.list_collections()
    ['movies']
    >>> client.delete_collection("movies"), client.delete_collection("movies")
    (True, False)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        try:
            os.makedirs(self._path, exist_ok=True)
        except OSError as error:
            raise ValueError(f"making '{self._path}': {error.strerror}") from error

    def create_collection(
        self,
        name: str,
        dim: int,
        metric: str | None = None,
        m: int | None = None,
        ef_construction: int | None = None,
        quantize: bool = False,
    ) -> Database:
        """Makes a database. ValueError if it exists or the name is not valid. The arguments are those of ``Database``."""
        folder = self._folder(name)
        if _is_database(folder):
            raise ValueError(f"collection '{name}' already exists")
        return Database(folder, dim, metric, m, ef_construction, quantize)

    def get_collection(self, name: str) -> Database:
        """Opens a database. ValueError if there is none."""
        folder = self._folder(name)
        if not _is_database(folder):
            raise ValueError(f"database not found at '{folder}'")
        return Database(folder)

    def get_or_create_collection(self, name: str, dim: int, metric: str | None = None) -> Database:
        """Opens a database, whatever its dim and metric are, or makes it."""
        folder = self._folder(name)
        return Database(folder) if _is_database(folder) else Database(folder, dim, metric)

    def delete_collection(self, name: str) -> bool:
        """Removes a database with its data; True if there was one. Handles of this process are closed.

        ValueError if another process has it open for writing.
        """
        folder = self._folder(name)
        if not _is_database(folder):
            return False
        claim = _claim(folder)
        # Under a name that no collection can have, it is gone at once, however long removing takes.
        removed = os.path.join(self._path, f".removed-{uuid.uuid4().hex}")
        try:
            os.rename(folder, removed)
            shutil.rmtree(removed)
        except OSError as error:
            raise ValueError(f"removing '{folder}': {error.strerror}") from error
        finally:
            del claim
        return True

    def list_collections(self) -> list[str]:
        """The names of all databases, sorted."""
        try:
            names = os.listdir(self._path)
        except OSError as error:
            raise ValueError(f"listing '{self._path}': {error.strerror}") from error
        return sorted(name for name in names if _is_name(name) and _is_database(os.path.join(self._path, name)))

    def _folder(self, name: str) -> str:
        if not isinstance(name, str):
            raise TypeError(f"name must be str, not {type(name).__name__}")
        if not name:
            raise ValueError("invalid collection name: name cannot be empty")
        if "/" in name or "\\" in name or name in (".", ".."):
            raise ValueError(
                "invalid collection name: name cannot contain path separators or be '.' or '..'"
            )
        if not _is_name(name):
            raise ValueError("invalid collection name: name must be alphanumeric, hyphens, or underscores")
        return os.path.join(self._path, name)

    def __repr__(self) -> str:
        return f"nearfield.Client({self._path!r})"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(f"<tr><td>{escape(name)}</td></tr>" for name in self.list_collections())
        return f"<table><tr><th>{escape(self._path)}</th></tr>{rows}</table>"


def _is_name(name: str) -> bool:
    return bool(name) and all(letter.isalnum() or letter in "-_" for letter in name)


def _is_database(folder: str) -> bool:
    return os.path.isdir(folder) and _is_there(folder)
