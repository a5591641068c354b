"""News from Redis for the requests that wait: there is work, or a job, a token or a drain has changed.

Each server process holds one subscription. Waiting costs Redis nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from redis.exceptions import RedisError

from zpe_server.store import Store, key

log = structlog.get_logger(__name__)

_RECONNECT_SECONDS = 0.5
_SILENCE_SECONDS = 15.0


class Waiter:
    """A request that waits for news. It is registered before it looks, so that no news is missed."""

    def __init__(self, generation: int) -> None:
        self._news = asyncio.Event()
        self.generation = generation

    @property
    def woken(self) -> bool:
        """Whether there is news since the last wait."""
        return self._news.is_set()

    def wake(self, generation: int) -> None:
        """Tell it that there is news."""
        self.generation = generation
        self._news.set()

    async def wait(self, seconds: float) -> bool:
        """Wait for news; return False if there was none in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        news = self._news.is_set()
        self._news.clear()
        return news


class Events:
    """The waiters of this process, and the subscription that wakes them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._generation = 0
        self.closing = False
        self.principals_changed = 0  # how often
        self._heard_at = float("-inf")
        self._epoch = ""
        self._for_work: dict[Waiter, None] = {}  # in order of arrival
        self._for_job: dict[str, set[Waiter]] = {}

    @contextmanager
    def work(self) -> Iterator[Waiter]:
        """Register a waiter for work."""
        waiter = Waiter(self._generation)
        self._for_work[waiter] = None
        try:
            yield waiter
        finally:
            del self._for_work[waiter]
            # A waiter that leaves with an unused wake-up passes it to the next.
            if waiter.woken:
                self.pass_on(waiter)

    @contextmanager
    def job(self, job_id: str) -> Iterator[Waiter]:
        """Register a waiter for changes of one job."""
        waiter = Waiter(self._generation)
        waiters = self._for_job.setdefault(job_id, set())
        waiters.add(waiter)
        try:
            yield waiter
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._for_job.pop(job_id, None)

    def pass_on(self, waiter: Waiter) -> None:
        """Wake one who has not heard the news that ``waiter`` could do nothing with."""
        for other in self._for_work:
            if other.generation < waiter.generation:
                other.wake(waiter.generation)
                return

    def close(self) -> None:
        """Send everybody home: the process is about to end."""
        self.closing = True
        self.wake_all()

    def wake_all(self) -> None:
        """Wake everybody: something may have happened unheard."""
        self._generation += 1
        for waiter in [*self._for_work, *(w for waiters in self._for_job.values() for w in waiters)]:
            waiter.wake(self._generation)

    @property
    def listening(self) -> bool:
        """Whether news would be heard. If not, what is remembered here may be out of date.

        Each sweep of each server is heard, so that silence tells of a connection that is dead.
        """
        return time.monotonic() - self._heard_at < _SILENCE_SECONDS

    @property
    def generation(self) -> int:
        """Number of the latest news of work."""
        return self._generation

    def forget_principals(self) -> None:
        """Invalidate the cached tokens and drain flags."""
        self.principals_changed += 1

    def _hear(self, message: str) -> None:
        kind, _, subject = message.partition(" ")
        if kind == "principals":
            self.forget_principals()
        elif kind == "sweep" and subject != self._epoch:  # another store than what is remembered comes from
            self._epoch = subject
            self.forget_principals()
            self.wake_all()  # it may hold work that nobody has told of
        elif kind == "job":
            for waiter in self._for_job.get(subject, ()):
                waiter.wake(self._generation)
        elif kind == "work":
            self._generation += 1
            for waiter, _n in zip(list(self._for_work), range(int(float(subject))), strict=False):
                waiter.wake(self._generation)

    async def listen(self) -> None:
        """Keep the subscription up, for ever."""
        while True:
            try:
                async with self._store.redis.pubsub() as subscription:
                    await subscription.subscribe(key("events"))
                    self.wake_all()
                    self.forget_principals()
                    while message := await subscription.get_message(timeout=_SILENCE_SECONDS):
                        self._heard_at = time.monotonic()
                        if message["type"] == "message":
                            self._hear(message["data"])
                    raise TimeoutError
            except (RedisError, OSError) as error:  # TimeoutError is an OSError
                self._heard_at = float("-inf")
                log.warning("no news from Redis; connecting again", reason=type(error).__name__)
            await asyncio.sleep(_RECONNECT_SECONDS)
