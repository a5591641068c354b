"""How long things take in this process, and how often; what all replicas share is counted in Redis."""

from __future__ import annotations

import platform

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from starlette.types import Scope

from zpe_sdk.version import __version__

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, of which no rule makes use
REGISTRY = CollectorRegistry(auto_describe=False)
ProcessCollector(registry=REGISTRY)

_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # s
_LONG = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)  # s

HTTP = Histogram(
    "zpe_http_request_seconds",
    "Seconds until a request was answered, waits that it asked for included",
    ("method", "route", "status"),
    buckets=_SHORT,
    registry=REGISTRY,
)
STORE = Histogram(
    "zpe_store_transition_seconds",
    "Seconds until Redis answered a transition",
    ("transition",),
    buckets=_SHORT,
    registry=REGISTRY,
)
PLANNING = Histogram(
    "zpe_planning_seconds",
    "Seconds until an input was read or planned, its turn included",
    buckets=_SHORT,
    registry=REGISTRY,
)
ASSEMBLY = Histogram(
    "zpe_assembly_seconds",
    "Seconds that the making of a result took, without storing it",
    buckets=_SHORT,
    registry=REGISTRY,
)
QUEUE_WAIT = Histogram(
    "zpe_queue_wait_seconds",
    "Seconds from the submission of a job to its first lease",
    buckets=_LONG,
    registry=REGISTRY,
)
SCF = Histogram(
    "zpe_scf_duration_seconds",
    "Seconds that an SCF took, as its worker has measured them",
    buckets=_LONG,
    registry=REGISTRY,
)
LOGINS_REJECTED = Counter("zpe_logins_rejected", "Tokens that were refused", registry=REGISTRY)
BUILD = Info("zpe_build", "The control plane that answers", registry=REGISTRY)
BUILD.info({"version": __version__, "python": platform.python_version()})


def answered(scope: Scope, status: int, seconds: float) -> None:
    """Note the answer to a request.

    What a sender chooses freely makes no label: requests that no route serves count as one.
    """
    route = scope.get("route")
    known = scope["method"] in (getattr(route, "methods", None) or ())
    method, path = (scope["method"], getattr(route, "path", "")) if known else ("other", "other")
    HTTP.labels(method, path, f"{status // 100}xx").observe(seconds)
