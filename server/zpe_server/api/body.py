"""Bodies of requests: what holds others up, or could be read and not be written again, is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

# Half of a character: JSON can spell it, UTF-8 cannot hold it.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Route(APIRoute):
    """A route whose JSON holds characters only."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of a request."""
        handle = super().get_route_handler()

        async def with_body(request: Request) -> Response:
            return await handle(_Body(request.scope, request.receive))

        return with_body


class _Body(Request):
    async def json(self) -> Any:
        text = await self.body()
        # Millions of empty lists are read and thrown away slowly; they are counted fast.
        if sum(map(text.count, (b",", b"[", b"{"))) > self.state.most_values:
            raise json.JSONDecodeError("holds too many values", "", 0)
        try:
            value = await super().json()
        except RecursionError:
            raise json.JSONDecodeError("is nested too deep", "", 0) from None
        if _SURROGATE.search(text) and (field := _half(value)):
            raise json.JSONDecodeError(f"{field}: holds a character that UTF-8 cannot", "", 0)
        return value


def _half(value: Any, field: str = "body") -> str | None:
    """Return where half a character stands, if anywhere."""
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                return field
        case dict():
            for name, item in value.items():
                if found := _half(name, field) or _half(item, f"{field}.{name}"):
                    return found
        case list():
            for n, item in enumerate(value):
                if found := _half(item, f"{field}.{n}"):
                    return found
    return None
