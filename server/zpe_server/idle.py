"""Per-process cache of idle workers' last answers, to spare Redis.

All of it holds only as long as news from Redis would be heard (:class:`zpe_server.events.Events`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from zpe_server.events import Events

# Now and then it is asked all the same.
_REMEMBERED_SECONDS = 300.0

_Process = tuple[str, str]  # of a worker: its id, and which instance of it


@dataclass(frozen=True)
class Asks:
    """What a worker asks for: whole jobs or shares, and what it can run."""

    whole: bool
    digest: str


@dataclass(frozen=True)
class _Fruitless:
    """When a worker last found nothing: its request, the latest news of work then, and the time."""

    asks: Asks
    lease_key: str | None
    generation: int
    at: float


@dataclass(frozen=True)
class _Heard:
    """What a worker without leases last heard, as of a count of changes, and when."""

    draining: bool
    changes: int
    at: float


class IdleWorkers:
    """The workers that found no work, and those that hold no lease."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._fruitless: dict[_Process, _Fruitless] = {}
        self._heard: dict[_Process, _Heard] = {}
        self._seen: dict[str, float | None] = {}

    def would_find_nothing(self, worker: str, instance: str, asks: Asks, lease_key: str | None) -> bool:
        """Tell whether a worker that asks again need not look, since nothing has changed.

        A request that is sent again after a lost reply looks: there may be a lease by its key.
        """
        last = self._fruitless.get((worker, instance))
        fruitless = (
            last is not None
            and self._events.listening
            and last.generation == self._events.generation
            and last.asks == asks
            and lease_key not in (None, last.lease_key)
            and time.monotonic() - last.at < _REMEMBERED_SECONDS
        )
        if fruitless:
            self._seen.setdefault(worker, None)
        return fruitless

    def found_nothing(
        self, worker: str, instance: str, asks: Asks, lease_key: str | None, generation: int
    ) -> None:
        """Remember that a worker looked in vain, as of the news of work number ``generation``."""
        self._fruitless[worker, instance] = _Fruitless(asks, lease_key, generation, time.monotonic())

    def found_work(self, worker: str, instance: str) -> None:
        """Forget that a worker once looked in vain."""
        self._fruitless.pop((worker, instance), None)

    def draining(self, worker: str, instance: str, *, memory_free_gb: float | None) -> bool | None:
        """Return whether a worker without leases is drained; None: that has to be asked.

        What memory it has free is noted when it need not be asked.
        """
        last = self._heard.get((worker, instance))
        if last is None or not self._events.listening or last.changes != self._events.principals_changed:
            return None
        self._seen[worker] = memory_free_gb
        return last.draining

    def hears(self, worker: str, instance: str, *, draining: bool, changes: int) -> None:
        """Remember whether a worker is drained, as of ``changes`` of tokens and drains."""
        self._heard[worker, instance] = _Heard(draining, changes, time.monotonic())

    def ends(self, worker: str) -> None:
        """Forget a worker that says goodbye; another process of it, if there is one, is asked about again."""
        self._fruitless = {who: last for who, last in self._fruitless.items() if who[0] != worker}
        self._heard = {who: last for who, last in self._heard.items() if who[0] != worker}
        self._seen.pop(worker, None)

    def seen(self) -> dict[str, float | None]:
        """Return who was answered from here since the last call, and forget what is old.

        With each worker the memory that it has free (GB), None if it has not told.
        """
        since = time.monotonic() - _REMEMBERED_SECONDS
        self._fruitless = {who: last for who, last in self._fruitless.items() if last.at > since}
        self._heard = {who: last for who, last in self._heard.items() if last.at > since}
        seen, self._seen = self._seen, {}
        return seen
