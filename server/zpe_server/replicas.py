"""The replicas of a control plane: each tells its settings, so that those which differ are found.

What one replica accepts another would refuse, if their tokens or limits are not the same, and how a job fares
would depend on which one is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping

import structlog
from pydantic import SecretStr

from zpe_sdk.errors import StoreError
from zpe_server.settings import Settings
from zpe_server.store import Store
from zpe_server.tokens import hash_of
from zpe_server.transitions.base import items
from zpe_server.transitions.service import NoteReplica

log = structlog.get_logger(__name__)

# All replicas are asked so often; one that was not heard of for longer than two of these is gone.
NOTE_SECONDS = 60.0
ALIVE_SECONDS = 2.5 * NOTE_SECONDS
# Of each process alone.
_OWN = {"redis_url", "data_dir", "oidc_ca_bundle", "log_level", "log_json"}
# Enough of a secret's hash to tell two apart.
_MARK_LENGTH = 12


class Replicas:
    """One replica, and what it knows of the others."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._told = json.dumps(shared_settings(settings))
        self.name = f"{socket.gethostname()}, process {os.getpid()}"

    async def run(self) -> None:
        """Tell the settings again and again, and warn of differences when there are others than before."""
        before: list[str] = []
        while True:
            try:
                now = differences(await self.note())
                if now != before:
                    for difference in now:
                        log.warning("replicas of this control plane have different settings", what=difference)
                    if not now:
                        log.info("all replicas of this control plane have the same settings")
                before = now
            except StoreError as error:  # said by others
                log.debug("the store is away", reason=str(error))
            await asyncio.sleep(NOTE_SECONDS)

    async def note(self) -> dict[str, dict[str, str]]:
        """Tell the settings of this replica; return those of all, by name."""
        return await self._note(self._told)

    async def leave(self) -> None:
        """Say that this replica ends."""
        await self._note("")

    async def _note(self, told: str) -> dict[str, dict[str, str]]:
        reply = await self._store.transition(
            NoteReplica(replica=self.name, settings=told, alive_ms=ALIVE_SECONDS * 1000)
        )
        return {entry["replica"]: json.loads(entry["settings"]) for entry in items(reply["replicas"])}


def shared_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that replicas must have in common, as texts; of a secret, a part of its hash."""
    return {name: _text(getattr(settings, name)) for name in sorted(set(Settings.model_fields) - _OWN)}


def differences(replicas: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Say in a sentence for each setting how the replicas differ in it."""
    sentences = []
    for name in sorted({name for settings in replicas.values() for name in settings}):
        # One of another version may not know it.
        values = {replica: told[name] for replica, told in sorted(replicas.items()) if name in told}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{value} ({replica})" for replica, value in values.items())
            sentences.append(f"ZPE_{name.upper()} is {told}")
    return sentences


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return f"sha256 {hash_of(value.get_secret_value())[:_MARK_LENGTH]}…"
    return "not set" if value is None else ", ".join(value) if isinstance(value, tuple) else str(value)
