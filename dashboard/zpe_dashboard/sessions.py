"""Who is logged in: sessions in this process's memory, and how often a login may go wrong."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict, deque
from contextvars import ContextVar
from dataclasses import dataclass, field

from zpe_dashboard.words import Language
from zpe_sdk.client.async_client import AsyncZPEClient
from zpe_sdk.wire.names import PersonRole

SESSION_SECONDS = 12 * 3600.0
FAILURES_PER_MINUTE = 10
# So many addresses are remembered for their failed logins at most.
ADDRESSES = 10_000


@dataclass(eq=False)
class Session:
    """A login, from one browser.

    Attributes
    ----------
    client
        Calls the control plane with the token of whoever has logged in: the only place where the token is.
    name, role
        Who that is, and what they may do.
    language, dark, narrow
        How the pages look: chosen at login, changed on the pages.
    ended
        Set at logout or after ``SESSION_SECONDS``; all that belongs to the session ends with it.
    """

    client: AsyncZPEClient = field(repr=False)
    name: str = "admin"
    role: PersonRole = "admin"
    language: Language = "en"
    dark: bool = False
    narrow: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)


#: The session of the request that is being answered.
current_session: ContextVar[Session] = ContextVar("current_session")


class Sessions:
    """The sessions in force. The key of one is 256 random bits; it exists here and in the cookie alone."""

    def __init__(self, seconds: float = SESSION_SECONDS) -> None:
        self.seconds = seconds
        self._sessions: dict[str, Session] = {}
        self._closing: set[asyncio.Future[None]] = set()

    def begin(self, session: Session) -> str:
        """Take a session in; return its key."""
        key = secrets.token_urlsafe(32)
        self._sessions[key] = session
        asyncio.get_running_loop().call_later(self.seconds, self.end, key)
        return key

    def find(self, key: str | None) -> Session | None:
        """Return the session of a key, if it is in force."""
        return self._sessions.get(key) if key else None

    def end(self, key: str | None) -> None:
        """End a session; ending it twice is harmless."""
        if session := self._sessions.pop(key or "", None):
            session.ended.set()
            closing = asyncio.ensure_future(session.client.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


class Attempts:
    """Failed logins by address, within the last minute."""

    def __init__(self, per_minute: int = FAILURES_PER_MINUTE) -> None:
        self._per_minute = per_minute
        self._failures: defaultdict[str, deque[float]] = defaultdict(deque)

    def allowed(self, address: str) -> bool:
        """Tell whether this address may try again."""
        failures = self._failures.get(address)
        if failures is None:
            return True
        while failures and failures[0] < time.monotonic() - 60:
            failures.popleft()
        if not failures:
            del self._failures[address]
        return len(failures) < self._per_minute

    def failed(self, address: str) -> None:
        """Count a failure."""
        if len(self._failures) >= ADDRESSES and address not in self._failures:
            del self._failures[next(iter(self._failures))]
        self._failures[address].append(time.monotonic())
