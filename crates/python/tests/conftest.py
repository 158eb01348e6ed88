"""What is done around every test."""

import contextlib
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from support import started

# Nothing is left beside the sources.
set_hypothesis_home_dir(tempfile.mkdtemp(prefix="nearfield-hypothesis-"))


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    yield
    while started:
        process = started.pop()
        process.kill()
        for pipe in (process.stdin, process.stdout):
            # What nobody read is not worth an error.
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        process.wait()
