"""Who runs the SCFs, by ``ZPE_COMPUTE_MODE``; jobs, results and errors look the same with all of them."""

from __future__ import annotations

from zpe_sdk.errors import ConfigError
from zpe_server.backends.base import ZPEComputeBackend
from zpe_server.backends.local import Local
from zpe_server.backends.mock import Mock
from zpe_server.backends.remote_http import RemoteHTTP
from zpe_server.plane import Plane

__all__ = ["ZPEComputeBackend", "make_backend"]


def make_backend(plane: Plane) -> ZPEComputeBackend:
    """Return the backend of ``settings.compute_mode``."""
    match plane.settings.compute_mode:
        case "local":
            return Local(plane)
        case "mock":
            return Mock(plane)
        case "remote-http":
            return RemoteHTTP()
        case "remote-queue":
            return _remote_queue(plane)


def _remote_queue(plane: Plane) -> ZPEComputeBackend:
    try:  # it is an extra
        from zpe_server.backends.remote_queue import RemoteQueue
    except ModuleNotFoundError as error:
        if error.name != "rq":
            raise
        raise ConfigError(
            "ZPE_COMPUTE_MODE=remote-queue needs RQ: pip install 'zpe[queue]'",
            code="extra_missing",
            field="ZPE_COMPUTE_MODE",
        ) from None
    return RemoteQueue(plane)
