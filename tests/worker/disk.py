"""A full disk, for those who write."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def full_disk() -> Iterator[None]:
    """Let this process and those it starts make files but not fill them, as on a full disk.

    Root is held to this limit as well. Pipes and sockets are not.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def make_room(process: int) -> None:
    """Let a process that was started on a full disk write as this one may."""
    resource.prlimit(process, resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE))
