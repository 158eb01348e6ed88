"""How much memory serving takes: what the process alone holds, and the pages of the index's own files.

Pages of a mapped file belong to the page cache and can be given back, but a search that touches them needs them: they count. The file
of the raw vectors is listed apart, since an index that searches codes touches a few pages of it for each query.
"""

import os
from dataclasses import dataclass


@dataclass
class Resident:
    """Megabytes."""

    anonymous: float
    files: float
    raw: float


def resident(folder: str, raw_files: tuple[str, ...] = ()) -> Resident:
    """What is resident of this process: anonymous memory, pages of files below `folder`, and among them of the raw ones."""
    total = {"anonymous": 0, "files": 0, "raw": 0}
    path = ""
    folder = os.path.realpath(folder)
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            words = line.split()
            if not words[0].endswith(":"):  # the line that begins a mapping: range, rights, offset, device, inode, path
                path = line.rstrip("\n").split(maxsplit=5)[5] if len(words) > 5 else ""
                continue
            ours = path.startswith(folder)
            if words[0] == "Anonymous:":
                total["anonymous"] += int(words[1])
                # A page of a private mapping that was written is counted as anonymous and as resident: once is enough.
                if ours:
                    total["files"] -= int(words[1])
            elif words[0] == "Rss:" and ours:
                is_raw = any(part in os.path.basename(path) for part in raw_files)
                total["raw" if is_raw else "files"] += int(words[1])
    return Resident(**{name: kilobytes * 1024 / 1e6 for name, kilobytes in total.items()})


def status_mb(key: str) -> float:
    """A line of /proc/self/status in megabytes."""
    with open("/proc/self/status", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    raise KeyError(key)


def disk_mb(path: str) -> float:
    """The bytes of a file or of all files below a folder, in megabytes."""
    if os.path.isfile(path):
        return os.path.getsize(path) / 1e6
    sizes = (os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(path) for name in names)
    return sum(sizes) / 1e6
