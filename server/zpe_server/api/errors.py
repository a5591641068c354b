"""From errors to replies: one shape for all, and never a 500 for what a client sent."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from zpe_sdk.codes import status_of
from zpe_sdk.errors import Side, ZPEError
from zpe_sdk.http import REQUEST_ID
from zpe_sdk.wire import ErrorInfo, ErrorReply
from zpe_sdk.wire.messages import in_words

log = structlog.get_logger(__name__)

# Of the faults of a request, so many are named.
_TOLD = 10
_RETRY_AFTER = {429: "60", 503: "5"}


def reply(
    status: int, side: Side, code: str, message: str, *, request_id: str | None, field: str | None = None
) -> JSONResponse:
    """Return an error reply."""
    info = ErrorInfo(side=side, code=code, message=message, request_id=request_id, field=field)
    headers = {"Retry-After": _RETRY_AFTER[status]} if status in _RETRY_AFTER else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = ErrorReply(detail=message, error=info).model_dump(mode="json", exclude_none=True)
    return JSONResponse(body, status_code=status, headers=headers)


def reply_to(error: ZPEError, *, request_id: str | None) -> JSONResponse:
    """Return the reply that tells of an error."""
    status = status_of(error.code, error.side)
    if status == 503:
        log.warning("request refused", side=error.side, code=error.code, reason=_cause(error))
    return reply(status, error.side, error.code, error.message, request_id=request_id, field=error.field)


def install(app: FastAPI) -> None:
    """Answer all errors of an app in the one shape."""
    app.add_exception_handler(ZPEError, _zpe_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def _request_id(request: Request) -> str | None:
    found: str | None = getattr(request.state, "request_id", None)
    return found


async def _zpe_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ZPEError)
    return reply_to(error, request_id=_request_id(request))


def _cause(error: ZPEError) -> str:
    return f"{error.message}: {error.__cause__}" if error.__cause__ else error.message


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # What was sent is left out of the reply: it may hold a token.
    problems = [
        ("body", e["ctx"]["error"])
        if e["type"] == "json_invalid"
        else (".".join(str(part) for part in e["loc"][1:])[:200] or "body", in_words(e))
        for e in error.errors()[:_TOLD]
    ]
    message = "; ".join(f"{field}: {text}" for field, text in problems)
    return reply(
        422, "input", "invalid_request", message, request_id=_request_id(request), field=problems[0][0]
    )


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    codes = {
        404: "no_such_page",
        405: "method_not_allowed",
        408: "body_too_slow",
        413: "body_too_large",
    }
    code = codes.get(error.status_code, "bad_request")
    answer = reply(error.status_code, "input", code, str(error.detail), request_id=_request_id(request))
    answer.headers.update(error.headers or {})
    return answer


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    request_id = _request_id(request)
    answer = reply(
        500,
        "config",
        "internal_error",
        "the control plane has a fault; its log has more",
        request_id=request_id,
    )
    # This handler runs outside of all middleware: the header has to be set here.
    if request_id:
        answer.headers[REQUEST_ID] = request_id
    return answer
