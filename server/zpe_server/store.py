"""The one door to Redis: its connection, its key names and its transitions."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from zpe_sdk.errors import StoreError

# One hash tag for all keys: every transition touches a single slot of a Redis Cluster.
PREFIX = "{zpe}:"


def key(*parts: str) -> str:
    """Return a key's full name, e.g. ``key("job", job_id)``."""
    return PREFIX + ":".join(parts)


@cache
def script(name: str) -> str:
    """Return the source of a transition, with what all transitions share in front of it."""
    folder = files("zpe_server") / "lua"
    return "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("lib", name))


class Store:
    """Redis, as the control plane uses it.

    Parameters
    ----------
    url
        Where Redis is, e.g. ``redis://127.0.0.1:6379/0`` or ``unix:///path/redis.sock``.
    """

    def __init__(self, url: str) -> None:
        self.redis = redis.asyncio.from_url(url, decode_responses=True)
        self._scripts: dict[str, Any] = {}

    def __repr__(self) -> str:
        # The URL may hold a password.
        return "Store()"

    async def transition(self, name: str, /, *texts: str, **arguments: object) -> dict[str, Any]:
        """Run one atomic transition: a single round trip to Redis.

        Parameters
        ----------
        name
            File name in ``lua/`` without its ending.
        *texts
            Large texts, handed over as they are.
        **arguments
            Small arguments, handed over as one JSON object.

        Raises
        ------
        StoreError
            ``store_unavailable``: Redis is unreachable, full or refusing.
        """
        if name not in self._scripts:
            self._scripts[name] = self.redis.register_script(script(name))
        try:
            reply = await self._scripts[name](keys=[PREFIX], args=[json.dumps(arguments), *texts])
        except RedisError as error:
            raise StoreError(
                f"Redis does not answer as it should ({type(error).__name__}); try again later",
                code="store_unavailable",
            ) from error
        decoded: dict[str, Any] = json.loads(reply)
        return decoded

    async def close(self) -> None:
        """Close all connections."""
        await self.redis.aclose()
