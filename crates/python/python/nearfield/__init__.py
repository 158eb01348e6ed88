"""Nearfield: an embedded vector database for Python, and a vector index. numpy in and out.

>>> import nearfield
>>> db = nearfield.Database(":memory:", dim=3)
>>> db.add("a", [1.0, 0.0, 0.0], {"lang": "en"})
>>> db.search([1.0, 0.1, 0.0], k=1)
[SearchResult(id='a', distance=0.0050)]

``Database`` keeps vectors, ids and metadata in a directory, durably; ``AsyncDatabase`` is the same for an event loop; ``Client`` keeps
several below one folder. ``Index`` is an index in memory.
"""

from nearfield._async import AsyncDatabase
from nearfield._client import Client
from nearfield._nearfield import Database, Index, SearchResult, __version__
from nearfield._result import Found

__all__ = ["AsyncDatabase", "Client", "Database", "Found", "Index", "SearchResult", "__version__"]
