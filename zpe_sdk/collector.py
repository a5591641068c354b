"""Brings spans to a collector of OpenTelemetry, by OTLP over HTTP, in the background.

Only where traces are asked for is it imported; it needs the extra ``traces``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from threading import Thread
from typing import Any

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from zpe_sdk.traces import Span
from zpe_sdk.version import __version__

log = structlog.get_logger(__name__)

_PROTOCOL = "http/protobuf"


class Collector:
    """Where the spans of a process go.

    Taking one costs microseconds, whatever the collector does. Those it does not take are dropped.

    Parameters
    ----------
    url
        Of the collector, with its path.
    service, instance
        What the process is, and which of several; OpenTelemetry's variables have the last word.

    Raises
    ------
    ValueError
        One of OpenTelemetry's variables asks for what there is not.
    """

    def __init__(self, url: str, service: str, instance: str) -> None:
        ours = {"service.name": service, "service.version": __version__, "service.instance.id": instance}
        self._resource = Resource.create(ours).merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("zpe", __version__)
        self._ids = RandomIdGenerator()
        self._processor = BatchSpanProcessor(_Exporter(url))

    def take(self, span: Span) -> None:
        """Deliver a span before long."""
        failed = span.error is not None
        attributes = {f"zpe.{name}": value for name, value in span.attributes.items() if value is not None}
        self._processor.on_end(
            ReadableSpan(
                name=span.name,
                context=_context(span.trace, span.number or self._ids.generate_span_id()),
                parent=_context(span.trace, span.parent, is_remote=True) if span.parent else None,
                resource=self._resource,
                attributes=attributes | ({"error.type": span.error} if failed else {}),
                status=Status(StatusCode.ERROR, span.error) if failed else Status(),
                start_time=span.began,
                end_time=max(span.began, span.ended),  # the clock may have been set
                instrumentation_scope=self._scope,
            )
        )

    def close(self, seconds: float) -> None:
        """Deliver what is left, for so long at most."""
        # The SDK's own end waits for a collector that does not answer.
        end = Thread(target=self._processor.shutdown, name="traces", daemon=True)
        end.start()
        end.join(seconds)


def _context(trace: int, number: int, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(trace, number, is_remote, TraceFlags(TraceFlags.SAMPLED))


class _Exporter(SpanExporter):
    """The SDK's exporter, which says once that the collector takes nothing, and once that it does again."""

    def __init__(self, url: str) -> None:
        asked = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL"
        )
        if asked and asked.strip() != _PROTOCOL:
            raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {asked}, and spans go by {_PROTOCOL}")
        session = requests.Session()
        session.hooks["response"].append(self._note)
        self._exporter = OTLPSpanExporter(endpoint=url, session=session)
        # What is wrong with a variable it has said by now; the rest would be lines for each attempt.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
        self._heard = ""
        self._takes = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._heard = "no answer"
        try:
            result = self._exporter.export(spans)
        except OSError as error:  # a certificate that is not there
            self._heard, result = type(error).__name__, SpanExportResult.FAILURE
        takes = result is SpanExportResult.SUCCESS
        if takes and not self._takes:
            log.info("the collector takes spans again")
        elif not takes and self._takes:
            log.warning("the collector takes no spans; they are dropped until it does", reason=self._heard)
        self._takes = takes
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _note(self, response: requests.Response, **_: Any) -> None:
        self._heard = f"status {response.status_code}"
