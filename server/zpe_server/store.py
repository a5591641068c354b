"""The one door to Redis: its connection, its key names and its transitions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import MovedError, RedisError, ResponseError

from zpe_sdk.errors import ConfigError, StoreError
from zpe_server.measures import STORE
from zpe_server.transitions.base import Reply, Transition
from zpe_server.transitions.scripts import source

# One hash tag for all keys: every transition touches a single slot of a Redis Cluster.
PREFIX = "{zpe}:"
# Redis does one thing at a time: more connections would not be quicker.
CONNECTIONS = 32
TURN_SECONDS = 20.0
_PROBE_SECONDS = 5


def key(*parts: str) -> str:
    """Return a key's full name, e.g. ``key("job", job_id)``."""
    return PREFIX + ":".join(parts)


def month() -> str:
    """Return the month that it is in UTC, e.g. ``2026-11``."""
    return datetime.now(UTC).strftime("%Y-%m")


def home_of(moved: MovedError, options: dict[str, Any]) -> dict[str, Any]:
    """Return where our keys are, as a node of a cluster says; without a host it is that of the node."""
    return {"host": moved.host or options["host"], "port": moved.port}


def at_home(connection: redis.Redis) -> redis.Redis:
    """Return a blocking connection; in a cluster, one to the node that has our keys."""
    try:
        connection.exists(key("probe"))
    except MovedError as moved:
        pool = connection.connection_pool
        pool.disconnect()
        pool.connection_kwargs |= home_of(moved, pool.connection_kwargs)
        pool.reset()
    return connection


def refuse_cluster(info: Mapping[str, Any]) -> None:
    """See to it that RQ can work on a Redis, by its INFO: in a cluster, its keys would be on several nodes.

    Raises
    ------
    ConfigError
        ``redis_cluster``: this is a Redis Cluster.
    """
    if info.get("redis_mode") == "cluster":
        raise ConfigError(
            "RQ cannot work on a Redis Cluster: for ZPE_COMPUTE_MODE=remote-queue take a Redis that is none; "
            "remote-http works on both",
            code="redis_cluster",
            field="ZPE_REDIS_URL",
        )


@contextmanager
def as_store_errors() -> Iterator[None]:
    """Raise :class:`StoreError` for what Redis or the way to it is to blame for."""
    try:
        yield
    except (RedisError, OSError) as error:
        # A plain error out of a script is a fault of ours, which no waiting mends; a full or read-only Redis
        # says so from within scripts too, but in classes of their own or as MISCONF.
        if type(error) is ResponseError and "user_script" in str(error) and "MISCONF" not in str(error):
            raise
        raise StoreError(
            f"Redis does not answer as it should ({type(error).__name__}); try again later",
            code="store_unavailable",
        ) from error


class Store:
    """Redis, as the control plane uses it.

    All methods raise :class:`StoreError` ``store_unavailable`` if Redis is unreachable, full or refusing.

    Parameters
    ----------
    url
        Where Redis is, e.g. ``redis://127.0.0.1:6379/0`` or ``unix:///path/redis.sock``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._home: dict[str, Any] = {}
        self._connect()

    def _connect(self) -> None:
        # A burst of requests waits for its turn; the usual pool would refuse it.
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            self._url, decode_responses=True, max_connections=CONNECTIONS, timeout=TURN_SECONDS
        )
        pool.connection_kwargs |= self._home
        self.redis = redis.asyncio.Redis.from_pool(pool)
        self._scripts: dict[str, Any] = {}

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[None]:
        """Raise store errors, as all methods do.

        In a cluster, the next request goes to the node that has our keys, or, if that one does not answer any
        more, to the node of the URL again, which tells who has them now.
        """
        asked = self.redis
        try:
            with as_store_errors():
                yield
        except StoreError as error:
            if isinstance(error.__cause__, MovedError):
                home = home_of(error.__cause__, asked.connection_pool.connection_kwargs)
            elif isinstance(error.__cause__, (redis.ConnectionError, redis.TimeoutError, OSError)):
                home = {}
            else:
                raise
            if asked is self.redis and home != self._home:  # else somebody was faster, or there is no cluster
                self._home = home
                self._connect()
                with suppress(RedisError, OSError):
                    await asked.aclose()
            raise

    def __repr__(self) -> str:
        # The URL may hold a password.
        return "Store()"

    async def transition(self, request: Transition[Reply]) -> Reply:
        """Run one atomic transition: a single round trip to Redis."""
        if request.script not in self._scripts:
            self._scripts[request.script] = self.redis.register_script(source(request.script))
        async with self._asked():
            with STORE.labels(request.script).time():
                reply = await self._scripts[request.script](keys=[PREFIX], args=request.argv())
        decoded: Reply = json.loads(reply)
        return decoded

    async def fields(self, name: str) -> dict[str, str]:
        """Return all fields of a hash; none if there is no such key."""
        async with self._asked():
            found: Any = await self.redis.hgetall(name)
        return dict(found)

    async def set_fields(self, name: str, values: dict[str, str]) -> None:
        """Set fields of a hash."""
        async with self._asked():
            await self.redis.hset(name, mapping=dict[Any, Any](values))

    async def page(
        self, name: str, offset: int, limit: int, *, lowest_first: bool = False
    ) -> tuple[list[str], int]:
        """Return members of a sorted set, highest score first by default, and how many there are in all."""
        async with self._asked(), self.redis.pipeline(transaction=False) as pipeline:
            pipeline.zrange(name, offset, offset + limit - 1, desc=not lowest_first)
            pipeline.zcard(name)
            members, total = await pipeline.execute()
        return members, total

    async def newest(
        self, names: list[str], limit: int, *, since: int | None = None, until: int | None = None
    ) -> list[str]:
        """Return the members of several sorted sets, highest score first, of scores in [since, until)."""
        above = "-inf" if since is None else since
        below = "+inf" if until is None else f"({until}"
        async with self._asked(), self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.zrevrangebyscore(name, below, above, start=0, num=limit, withscores=True)
            found: list[list[tuple[str, float]]] = await pipeline.execute()
        scores = dict(pair for pairs in found for pair in pairs)
        # As Redis has it: by name where scores are equal.
        return sorted(scores, key=lambda member: (scores[member], member), reverse=True)[:limit]

    async def many_fields(self, names: list[str]) -> list[dict[str, str]]:
        """Return all fields of several hashes, in one round trip."""
        async with self._asked(), self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hgetall(name)
            found: list[dict[str, str]] = await pipeline.execute()
        return found

    async def members(self, name: str) -> set[str]:
        """Return the members of a set."""
        return (await self.many_members([name]))[0]

    async def many_members(self, names: list[str]) -> list[set[str]]:
        """Return the members of several sets, in one round trip."""
        async with self._asked(), self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.smembers(name)
            found: list[set[str]] = await pipeline.execute()
        return found

    async def has_members(self, name: str, members: list[str]) -> list[bool]:
        """Tell of each whether it is in a sorted set, in one round trip."""
        async with self._asked(), self.redis.pipeline(transaction=False) as pipeline:
            for member in members:
                pipeline.zscore(name, member)
            found: list[float | None] = await pipeline.execute()
        return [score is not None for score in found]

    async def existing(self, names: list[str]) -> list[bool]:
        """Tell of each key whether there is one, in one round trip."""
        async with self._asked(), self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.exists(name)
            found: list[int] = await pipeline.execute()
        return [bool(count) for count in found]

    async def delete(self, *names: str) -> int:
        """Delete keys; return how many there were."""
        async with self._asked():
            return int(await self.redis.delete(*names))

    async def count(self, name: str, *, seconds: int) -> int:
        """Count one more; return the count since the first within the last ``seconds``."""
        async with self._asked(), self.redis.pipeline(transaction=True) as pipeline:
            pipeline.set(name, 0, ex=seconds, nx=True)  # EXPIRE … NX would need Redis 7
            pipeline.incr(name)
            _, count = await pipeline.execute()
        return int(count)

    async def scan(self, pattern: str, count: int) -> AsyncIterator[list[str]]:
        """Yield the names of all keys of a pattern, about ``count`` at a time; a name may come twice."""
        cursor, found = 0, list[Any]()
        while True:
            async with self._asked():
                cursor, found = await self.redis.scan(cursor, match=pattern, count=count)
            if found:
                yield [str(name) for name in found]
            if cursor == 0:
                return

    async def scan_index(self, name: str, count: int) -> AsyncIterator[list[str]]:
        """Yield all members of a sorted set, about ``count`` at a time; one may come twice."""
        cursor, found = 0, list[Any]()
        while True:
            async with self._asked():
                cursor, found = await self.redis.zscan(name, cursor, count=count)
            if found:
                yield [str(member) for member, _ in found]
            if cursor == 0:
                return

    async def push(self, name: str, text: str, *, keep: int) -> None:
        """Put a text in front of a list that is kept at most ``keep`` long."""
        async with self._asked(), self.redis.pipeline(transaction=True) as pipeline:
            pipeline.lpush(name, text)
            pipeline.ltrim(name, 0, keep - 1)
            await pipeline.execute()

    async def texts(self, name: str, limit: int) -> list[str]:
        """Return the first ``limit`` texts of a list; 0: all of them."""
        async with self._asked():
            found: Any = await self.redis.lrange(name, 0, limit - 1)
        return list(found)

    async def many_texts(self, names: list[str], limit: int) -> list[list[str]]:
        """Return the first ``limit`` texts of several lists, in one round trip."""
        async with self._asked(), self.redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.lrange(name, 0, limit - 1)
            found: list[list[str]] = await pipeline.execute()
        return found

    async def publish(self, message: str) -> None:
        """Tell all replicas."""
        async with self._asked():
            await self.redis.publish(key("events"), message)

    async def ping(self) -> None:
        """Raise unless Redis answers and takes writes: it may be full, read-only or without a disk."""
        async with self._asked():
            # Refused by such a Redis whether the key is there or not; written once in that time.
            await self.redis.set(key("probe"), "", ex=_PROBE_SECONDS, nx=True)

    async def close(self) -> None:
        """Close all connections."""
        await self.redis.aclose()
