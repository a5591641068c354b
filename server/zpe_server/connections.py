"""Connections: how many there may be, and how long they may take before a request is known.

Slow clients cost a file descriptor each, and one who opens many shuts the others out.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from functools import lru_cache

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zpe_sdk.forwarded import Proxies, address_in, trusted_proxies

log = structlog.get_logger(__name__)

# As many descriptors as a process asks for; the hard limit may be less.
DESCRIPTORS = 65_536
# Of them stay free, for Redis, the result store and files.
RESERVED = 128
# A whole cluster may sit behind one address, with two connections for each of its workers.
EACH = 1024
# A request has to be there, up to the end of its headers, within so long and so many bytes.
HEADER_SECONDS = 10.0
HEADER_BYTES = 64 * 1024
# Who does not take its reply for so long is given up.
UNREAD_SECONDS = 60.0


def raise_descriptors() -> None:
    """Let this process, and those it starts, open as many connections as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Crowd:
    """Who is connected.

    Parameters
    ----------
    proxies
        They bring the connections of many, as this machine itself may.
    each, most
        How many connections one address, and all together, may have.
    """

    def __init__(self, proxies: Proxies, *, each: int, most: int) -> None:
        self._proxies = proxies
        self._each = each
        self._most = most
        self._count = 0
        self._by_address: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection, unless there are too many."""
        if self._count >= self._most:
            log.warning("connection refused: there are too many", connections=self._count)
            return False
        if self._by_address[address] >= self._each and not self._may_bring_many(address):
            log.warning("connection refused: there are too many from its address", address=address)
            return False
        self._count += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection no more."""
        self._count -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def _may_bring_many(self, address: str) -> bool:
        found = address_in(address)
        # Without an address, it is a socket of this machine.
        return found is None or found.is_loopback or address in self._proxies


@lru_cache(maxsize=1)
def crowd() -> Crowd:
    """Return who is connected to this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    return Crowd(trusted_proxies(), each=EACH, most=max(descriptors - RESERVED, descriptors // 2))


class Connection(HttpToolsProtocol):
    """Uvicorn's HTTP/1.1 connection, which has no limits of its own up to the end of the headers."""

    _address: str | None = None  # as long as it is counted
    _waits_for_headers = True
    _header_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not crowd().enter(address):
            self._refuse(b"503 Service Unavailable")
            return
        self._address = address
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless headers have no end."""
        if self._waits_for_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._address is None or self.transport.is_closing():
            return  # refused, or a websocket by now
        if self._waits_for_headers and self._header_bytes > HEADER_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")
        elif self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            # Nothing is being answered: a request begins, or the rest of one that has been answered comes.
            self._expect_headers()

    def on_headers_complete(self) -> None:
        """Begin with a request."""
        self._waits_for_headers = False
        self._cancel_deadline()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        self._waits_for_headers = True
        self._header_bytes = 0
        self._cancel_deadline()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over: it is a request that is answered."""
        self._leave()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        """Wait for somebody who does not read."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        if self._unread is not None:
            self._unread.cancel()
        super().resume_writing()

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None or self._header_bytes:
            self._refuse(b"408 Request Timeout")
        else:
            self.transport.close()  # all that was asked has been answered

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _leave(self) -> None:
        self._cancel_deadline()
        if self._unread is not None:
            self._unread.cancel()
        if self._address is not None:
            crowd().leave(self._address)
            self._address = None

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)
            self.transport.close()
