"""Who runs the SCFs, by ``ZPE_COMPUTE_MODE``; jobs, results and errors look the same with all of them."""

from __future__ import annotations

from zpe_sdk.extras import needed_for
from zpe_server.backends.base import ZPEComputeBackend
from zpe_server.backends.remote_http import RemoteHTTP
from zpe_server.plane import Plane

__all__ = ["ZPEComputeBackend", "make_backend"]


def make_backend(plane: Plane) -> ZPEComputeBackend:
    """Return the backend of ``settings.compute_mode``."""
    match plane.settings.compute_mode:
        case "local":
            from zpe_server.backends.local import Local

            return Local(plane)
        case "mock":
            from zpe_server.backends.mock import Mock

            return Mock(plane)
        case "remote-http":
            return RemoteHTTP()
        case "remote-queue":
            return _remote_queue(plane)


def _remote_queue(plane: Plane) -> ZPEComputeBackend:
    with needed_for("ZPE_COMPUTE_MODE=remote-queue", "RQ", "queue", "rq"):
        from zpe_server.backends.remote_queue import RemoteQueue

    return RemoteQueue(plane)
