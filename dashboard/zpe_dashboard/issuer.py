"""Logins at the issuer that the control plane names: in a tab of its own, while the login page waits here."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from zpe_dashboard.words import Language
from zpe_sdk.client.device import DeviceLogin
from zpe_sdk.errors import StoreError, ZPEError
from zpe_sdk.wire import LoginOptions

log = structlog.get_logger(__name__)

# How long it is remembered what the control plane says of logins.
_OPTIONS_SECONDS = 60.0
# So many may wait at once.
_MOST = 100


@dataclass
class Waiting:
    """A login that somebody does at the issuer, and how their pages are to look."""

    login: DeviceLogin
    language: Language
    dark: bool
    narrow: bool
    polled: float = float("-inf")


class IssuerLogins:
    """The logins that wait for somebody. The key of one is 256 random bits; it is here and in a cookie alone.

    Parameters
    ----------
    options
        Asks the control plane how one logs in.
    ca_bundle
        PEM file of private authorities that count for the issuer beside the usual ones.
    """

    def __init__(self, options: Callable[[], LoginOptions], ca_bundle: Path | None = None) -> None:
        self._ask = options
        self._ca_bundle = ca_bundle
        self._options = LoginOptions()
        self._asked = float("-inf")
        self._waiting: dict[str, Waiting] = {}

    async def host(self) -> str:
        """Return where one may log in; empty: with a token only, as far as is known."""
        options = await self._known()
        return urlsplit(options.issuer).hostname or "" if options.issuer and options.client_id else ""

    async def begin(self, *, language: Language, dark: bool, narrow: bool) -> str:
        """Begin a login; return its key.

        Raises
        ------
        ZPEError
            See :class:`DeviceLogin`; ``busy``: too many wait.
        """
        for key, waiting in list(self._waiting.items()):
            if waiting.login.ends < time.monotonic():
                self.end(key)
        if len(self._waiting) >= _MOST:
            raise StoreError("too many logins are under way; try again in a few minutes", code="busy")
        options = await self._known()
        login = await asyncio.to_thread(DeviceLogin, options.issuer or "", options, ca_bundle=self._ca_bundle)
        key = secrets.token_urlsafe(32)
        self._waiting[key] = Waiting(login, language, dark, narrow)
        return key

    def find(self, key: str | None) -> Waiting | None:
        """Return the login of a key, if it still waits."""
        waiting = self._waiting.get(key) if key else None
        return waiting if waiting and waiting.login.ends > time.monotonic() else None

    async def poll(self, waiting: Waiting) -> str | None:
        """Return the token once somebody has logged in, asking the issuer no more often than it wants.

        Raises
        ------
        ZPEError
            See :meth:`DeviceLogin.poll`.
        """
        if time.monotonic() - waiting.polled < waiting.login.pause:
            return None
        waiting.polled = time.monotonic()
        return await asyncio.to_thread(waiting.login.poll)

    def end(self, key: str | None) -> None:
        """Forget a login; doing it twice is harmless."""
        if waiting := self._waiting.pop(key or "", None):
            waiting.login.close()

    async def _known(self) -> LoginOptions:
        if time.monotonic() - self._asked > _OPTIONS_SECONDS:
            # Before it is asked: one visitor in a minute waits for a control plane that is away.
            self._asked = time.monotonic()
            try:
                self._options = await asyncio.to_thread(self._ask)
            except ZPEError as error:
                log.warning("the control plane does not say how one logs in", reason=str(error))
        return self._options
