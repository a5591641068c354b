"""A full disk, for those who write."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def full_disk(process: int = 0) -> Iterator[None]:
    """Let a process make files but not fill them, as on a full disk; this one and its children by default.

    Root is held to this limit as well. Pipes and sockets are not.
    """
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process, resource.RLIMIT_FSIZE, before)
