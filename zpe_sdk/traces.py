"""What has become of jobs, as spans for a collector of OpenTelemetry; nothing, unless its variables name one.

The id of a job is the id of its trace, so that spans of all processes meet without a word of one another,
and a job is found in a trace store by its id. Its own span has the last 16 digits of that, and is the parent
of all others.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import structlog

from zpe_sdk.errors import ConfigError
from zpe_sdk.extras import needed_for

if TYPE_CHECKING:
    from zpe_sdk.collector import Collector

log = structlog.get_logger(__name__)

Attribute: TypeAlias = str | bool | int | float | Sequence[float] | None

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


def now() -> int:
    """Return the time of this machine's clock, in ns since 1970."""
    return time.time_ns()


@dataclass(frozen=True)
class Span:
    """Something that a job has gone through.

    Attributes
    ----------
    trace, number, parent
        Ids: of the job; its own, None where any will do; of what it is a part of, None of the job itself.
    name
        What it was.
    began, ended
        In ns since 1970.
    error
        The code of what went wrong.
    attributes
        More of it, without those that are None.
    """

    trace: int
    number: int | None
    parent: int | None
    name: str
    began: int
    ended: int
    error: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


class Traces:
    """Takes the spans of one process.

    Parameters
    ----------
    service, instance
        What the process is, and which of several.
    """

    def __init__(self, service: str, instance: str) -> None:
        self._collector = _collector(service, instance)

    @property
    def on(self) -> bool:
        """Whether spans go anywhere."""
        return self._collector is not None

    def job(
        self, job_id: str, began: int, ended: int, *, error: str | None = None, **attributes: Attribute
    ) -> None:
        """Take the span of a job itself, once in its life; as :meth:`span`."""
        if trace := _trace(job_id):
            self._take(Span(trace, _root(trace), None, "job", began, ended, error, attributes))

    def span(
        self,
        job_id: str,
        name: str,
        began: int,
        ended: int,
        *,
        error: str | None = None,
        **attributes: Attribute,
    ) -> None:
        """Take something that a job has gone through.

        Parameters
        ----------
        job_id
            The job. One whose id cannot be that of a trace has none.
        name
            What it was.
        began, ended
            In ns since 1970.
        error
            The code of what went wrong.
        **attributes
            More of it; what is None is left out. No secrets, no input.
        """
        if trace := _trace(job_id):
            self._take(Span(trace, None, _root(trace), name, began, ended, error, attributes))

    @contextmanager
    def during(self, job_id: str, name: str) -> Iterator[None]:
        """Take what goes on in the ``with`` block as a span; one that is cancelled is none."""
        began = now()
        try:
            yield
        except Exception as problem:
            code = str(getattr(problem, "code", type(problem).__name__))
            self.span(job_id, name, began, now(), error=code)
            raise
        self.span(job_id, name, began, now())

    def close(self, seconds: float) -> None:
        """Deliver what is still here, for so long at most."""
        if self._collector is not None:
            self._collector.close(seconds)

    def _take(self, span: Span) -> None:
        if self._collector is not None:
            self._collector.take(span)


def endpoint(environment: Mapping[str, str]) -> str | None:
    """Return where spans are to go, as OpenTelemetry's variables say; None: nowhere."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    exporters = environment.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    if "otlp" not in re.split(r"\s*,\s*", exporters):
        return None
    if base := environment.get(_ENDPOINT):
        base = f"{base.rstrip('/')}/v1/traces"
    return environment.get(_TRACES_ENDPOINT) or base or None


def _collector(service: str, instance: str) -> Collector | None:
    """Return what delivers spans; without it, say why, and go on."""
    url = endpoint(os.environ)
    if url is None:
        return None
    setting = _TRACES_ENDPOINT if os.environ.get(_TRACES_ENDPOINT) else _ENDPOINT
    try:
        with needed_for(
            setting,
            "the SDK of OpenTelemetry",
            "traces",
            *("opentelemetry", "opentelemetry.sdk", "opentelemetry.exporter", "requests"),
        ):
            from zpe_sdk.collector import Collector
        return Collector(url, service, instance)
    except (ConfigError, ValueError) as error:
        log.warning("jobs are not traced", reason=str(error))
        return None


def _trace(job_id: str) -> int:
    """Return the id of a job's trace; 0, which no trace may have, where it can have none."""
    return int(job_id, 16) if re.fullmatch("[0-9a-f]{32}", job_id) else 0


def _root(trace: int) -> int:
    """Return the id of the job's own span; where its part of the job's id is 0, the other part is not."""
    return trace & (2**64 - 1) or trace >> 64
