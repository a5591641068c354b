"""Operational switches, kept in Redis so that all replicas obey them at once."""

from __future__ import annotations

from zpe_sdk.wire import Flags
from zpe_server.store import Store, key


class Switches:
    """Whether jobs may be submitted, and whether work is given out. Both are on unless switched off."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self) -> Flags:
        """Return all switches."""
        found = await self._store.fields(key("flags"))
        return Flags(**{name: found.get(name) != "0" for name in Flags.model_fields})

    async def set(self, flags: Flags) -> None:
        """Set those that are not None."""
        values = {name: str(int(value)) for name, value in flags.model_dump(exclude_none=True).items()}
        if values:
            await self._store.set_fields(key("flags"), values)
        if flags.dequeue_enabled:
            await self._store.publish("work 1000000")
