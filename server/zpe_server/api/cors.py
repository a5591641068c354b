"""Which web pages may call the API from a browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zpe_sdk.http import ADMIN_TOKEN, IDEMPOTENCY_KEY, REQUEST_ID, VERSION
from zpe_server.settings import LOOPBACK

_THIS_MACHINE = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
_DAY = 86400


def cross_origin(origins: Sequence[str]) -> dict[str, Any]:
    """Return the options of Starlette's CORS middleware for pages of these origins.

    Cookies are never sent along: who calls says so with a token in a header, which no other page can add.
    """
    return {
        "allow_origins": [origin for origin in origins if origin != LOOPBACK],
        "allow_origin_regex": _THIS_MACHINE if LOOPBACK in origins else None,
        "allow_methods": ["GET", "POST", "PATCH", "DELETE"],
        "allow_headers": ["Authorization", "Content-Type", ADMIN_TOKEN, IDEMPOTENCY_KEY, REQUEST_ID, VERSION],
        # A page sees only these of a reply: the name of a download, and what to tell an administrator.
        "expose_headers": ["Content-Disposition", REQUEST_ID, "Retry-After"],
        "allow_credentials": False,
        "max_age": _DAY,
    }
