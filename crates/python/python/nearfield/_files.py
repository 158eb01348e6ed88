"""Files of JSON: written whole or not at all, read whole. Errors are ValueErrors, as everywhere in the library."""

import contextlib
import os
import uuid
from collections.abc import Iterable

_Path = str | os.PathLike[str]


def write_whole(path: _Path, parts: Iterable[bytes]) -> None:
    """Writes the parts to a file that appears under its name when it is complete and on the disk."""
    path = os.fspath(path)
    unfinished = os.path.join(os.path.dirname(path), f".{uuid.uuid4().hex}.unfinished")
    try:
        with open(unfinished, "xb") as file:
            # From here on it is ours to remove.
            try:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
                os.replace(unfinished, path)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(unfinished)
                raise
    except OSError as error:
        raise ValueError(f"writing '{path}': {error.strerror}") from error


def read_whole(path: _Path) -> bytes:
    """The bytes of a file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"reading '{os.fspath(path)}': {error.strerror}") from error
