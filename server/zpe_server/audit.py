"""The audit trail: acts of administrators and registrations."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import structlog

from zpe_sdk.wire import AuditEntry
from zpe_server.store import Store, key

log = structlog.get_logger(__name__)

KEPT = 10_000


async def record(
    store: Store, *, who: str, what: str, subject: str | None = None, address: str | None = None
) -> None:
    """Put an act on record: who did what to whom, from which address."""
    entry = AuditEntry(
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        who=who,
        what=what,
        subject=subject,
        address=address,
    )
    log.info("audit", **entry.model_dump(exclude={"at"}))
    await store.push(key("audit"), entry.model_dump_json(), keep=KEPT)


def token(token_id: str, name: str | None) -> str:
    """Return how the trail calls a token: its id is what it is revoked by."""
    return f"{name}, {token_id}" if name else token_id


async def trail(store: Store, limit: int) -> list[AuditEntry]:
    """Return the newest entries first."""
    return [AuditEntry(**json.loads(text)) for text in await store.texts(key("audit"), limit)]
