"""Who may come in: bearer tokens, roles, and what refused requests hear."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from zpe_sdk.errors import AuthError
from zpe_sdk.http import ADMIN_TOKEN
from zpe_server.measures import LOGINS_REJECTED
from zpe_server.plane import Plane
from zpe_server.tokens import ANONYMOUS, SCRAPER, Principal, Role

log = structlog.get_logger(__name__)

_bearer = HTTPBearer(auto_error=False, description="A worker's, a researcher's or the administrator's token")
_admin_token = APIKeyHeader(
    name=ADMIN_TOKEN, auto_error=False, description="The administrator's token, where no bearer token is sent"
)


async def plane_of(request: Request) -> Plane:  # FastAPI runs what is not async in a thread
    """Return this process's control plane."""
    plane: Plane = request.app.state.plane
    return plane


async def address_of(request: Request) -> str:
    """Return where a request came from."""
    return request.client.host if request.client else "unknown"


InPlane = Annotated[Plane, Depends(plane_of)]
Address = Annotated[str, Depends(address_of)]
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
AdminToken = Annotated[str | None, Depends(_admin_token)]


async def principal_of(plane: Plane, bearer: HTTPAuthorizationCredentials | None, address: str) -> Principal:
    """Return whose token came with a request.

    Raises
    ------
    AuthError
        ``no_token``, ``bad_token``, ``too_many_failures``.
    """
    if bearer is None or not bearer.credentials:
        raise AuthError("this call needs a token: Authorization: Bearer <token>", code="no_token")
    try:
        return await plane.tokens.authenticate(bearer.credentials)
    except AuthError:
        await refuse(plane, address)
        raise


async def refuse(plane: Plane, address: str) -> None:
    """Count a failed authentication.

    A valid token is never held up: with 256 random bits there is nothing to guess, what is limited is noise.

    Raises
    ------
    AuthError
        ``too_many_failures``: there were too many from this address within a minute.
    """
    LOGINS_REJECTED.inc()
    count = await plane.tokens.count_failure(address)
    if count > plane.settings.failed_logins_per_minute:
        raise AuthError("too many failed logins from this address; wait a minute", code="too_many_failures")
    log.warning("failed authentication", address=address, within_a_minute=count)


def _refused(who: Principal, wanted: Role) -> AuthError:
    return AuthError(f"this call is for the role {wanted}; this token is of {who.role}", code="forbidden")


async def worker(plane: InPlane, bearer: Bearer, address: Address) -> Principal:
    """Let workers in."""
    who = await principal_of(plane, bearer, address)
    if who.role != "worker":
        raise _refused(who, "worker")
    return who


def _check_looks(who: Principal, request: Request) -> None:
    """Refuse an observer whatever is more than a look."""
    if who.role == "observer" and request.method not in ("GET", "HEAD"):
        raise AuthError("this token may look at everything, and change nothing", code="forbidden")


def _given(
    bearer: HTTPAuthorizationCredentials | None, admin_token: str | None
) -> HTTPAuthorizationCredentials | None:
    """Return the bearer token, or in its absence what was sent as the administrator's."""
    if bearer is None and admin_token:
        return HTTPAuthorizationCredentials(scheme="Bearer", credentials=admin_token)
    return bearer


async def researcher(
    request: Request, plane: InPlane, bearer: Bearer, admin_token: AdminToken, address: Address
) -> Principal:
    """Let researchers and administrators in, observers to look, and anybody where no token is needed."""
    bearer = _given(bearer, admin_token)
    if not plane.settings.researcher_auth and bearer is None:
        return ANONYMOUS
    who = await principal_of(plane, bearer, address)
    if who.role == "worker":
        raise _refused(who, "researcher")
    _check_looks(who, request)
    return who


async def admin(
    request: Request, plane: InPlane, bearer: Bearer, admin_token: AdminToken, address: Address
) -> Principal:
    """Let administrators in, and observers as far as they look."""
    if not plane.tokens.has_admin:
        raise AuthError(
            "there is no administrator: start the control plane with ZPE_ADMIN_TOKEN set", code="no_admin"
        )
    who = await principal_of(plane, _given(bearer, admin_token), address)
    if who.role not in ("admin", "observer"):
        raise _refused(who, "admin")
    _check_looks(who, request)
    return who


async def scraper(
    request: Request, plane: InPlane, bearer: Bearer, admin_token: AdminToken, address: Address
) -> Principal:
    """Let whoever collects metrics in: with a token for that alone, or an administrator's."""
    if bearer is not None and plane.tokens.may_scrape(bearer.credentials):
        return SCRAPER
    return await admin(request, plane, bearer, admin_token, address)


Worker = Annotated[Principal, Depends(worker)]
Researcher = Annotated[Principal, Depends(researcher)]
Admin = Annotated[Principal, Depends(admin)]
Scraper = Annotated[Principal, Depends(scraper)]
