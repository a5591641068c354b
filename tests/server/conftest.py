"""What the tests of the control plane share: an empty store in a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.processes import RedisServer
from zpe_server.store import Store


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(redis_cluster: RedisServer) -> AsyncIterator[Store]:
    store = Store(redis_cluster.url)
    await store.redis.flushdb()
    yield store
    await store.close()
