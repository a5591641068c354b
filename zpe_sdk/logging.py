"""Logs of both planes: one JSON object per line on standard error, or readable lines in a terminal.

``request_id`` and ``job_id`` come from :mod:`structlog.contextvars`; bind them where work begins::

    with structlog.contextvars.bound_contextvars(request_id=request_id, job_id=job_id):
        log.info("task done", task=3)

Nothing that looks like a secret gets out, wherever in a record it stands.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import structlog
from pydantic import BeforeValidator
from structlog.types import EventDict, Processor, WrappedLogger

from zpe_sdk.plain import plain, plain_lines

# For settings; small letters will do.
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(str.upper)]

REDACTED = "[redacted]"

# Fields that have several lines; any other would begin a line that nobody has logged.
_OF_LINES = {"exception", "stack"}

_SECRET_NAME = re.compile(r"(^|_)(token|secret|password|authorization|cookie|api_?key)$", re.I)
_SECRET_VALUE = re.compile(
    r"(?P<token>\bzpe_?[a-z]*_[A-Za-z0-9_\-]{16,})"  # our tokens: zpe<kind>_<random>
    r"|(?P<bearer>(?<=bearer )[^\s\"',]+)"
    r"|(?P<userinfo>(?<=://)[^/\s@]+(?=@))",  # redis://user:password@host
    re.I,
)


def configure_logging(
    level: str = "INFO", json: bool | None = None, *, for_people: Processor | None = None
) -> None:
    """Send all logs of this process, the standard library's included, to standard error.

    Parameters
    ----------
    level
        Lowest level shown: ``"DEBUG"``, ``"INFO"``, ``"WARNING"`` or ``"ERROR"``.
    json
        JSON lines or lines for people; default: JSON unless standard error is a terminal.
    for_people
        Renders a record for people; default: all of it, field by field.
    """
    if json is None:
        json = not sys.stderr.isatty()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _without_colours,
        structlog.processors.format_exc_info,
        redact,
    ]
    # JSON escapes what could command a terminal; lines for people do not.
    rendering: list[Processor] = (
        [structlog.processors.JSONRenderer(default=str)]
        if json
        else [_plain, for_people or structlog.dev.ConsoleRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,  # what is not shown costs nothing
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "urllib3"):  # a line per request, heartbeats included
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _without_colours(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn's second copy of its messages
    return event


def _plain(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = plain_lines(value) if name in _OF_LINES else plain(value)
    return event


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Structlog processor: blank whatever has a secret's name or looks like a secret."""
    return {name: value if name.startswith("_") else _redacted(name, value) for name, value in event.items()}


def _redacted(name: str, value: Any) -> Any:
    if value is not None and _SECRET_NAME.search(name):
        return REDACTED
    if isinstance(value, str):
        return _SECRET_VALUE.sub(REDACTED, value)
    if isinstance(value, Mapping):
        return {key: _redacted(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(name, item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _SECRET_VALUE.sub(REDACTED, str(value))
