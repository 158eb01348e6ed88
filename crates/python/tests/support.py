"""What the tests of the database share."""

import contextlib
import os
import pathlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import nearfield
import numpy as np
import pytest

DIM = 4


def rows(count: int, dim: int = DIM, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)


def names(count: int) -> list[str]:
    return [f"id-{number}" for number in range(count)]


@contextlib.contextmanager
def refuses(text: str, kind: type[Exception] = ValueError) -> Iterator[None]:
    """The block raises exactly this."""
    with pytest.raises(kind) as raised:
        yield
    assert str(raised.value) == text
    assert type(raised.value) is kind


# Those that a test has started: `conftest` ends them after it.
started: "list[subprocess.Popen[str]]" = []

# What a shell starts in its background ignores Ctrl-C, and so does what that starts.
HEED_CTRL_C = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"


def python(program: str, *arguments: object) -> "subprocess.Popen[str]":
    """Another process that runs a program; what it prints can be read, and it waits where it reads a line."""
    command = [sys.executable, "-c", HEED_CTRL_C + textwrap.dedent(program), *map(str, arguments)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    started.append(process)
    return process


def run(program: str, *arguments: object) -> str:
    """What another process prints; it must end well."""
    process = python(program, *arguments)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    return printed


def files(folder: pathlib.Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ids(results: "list[nearfield.SearchResult]") -> list[str]:
    return [result.id for result in results]
