"""Where a request came from, if a proxy passes it on: for whatever of ours listens behind one.

Uvicorn's own middleware believes every proxy on this machine, and takes any text it is told for an address.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any

from zpe_sdk.errors import ConfigError

VARIABLE = "FORWARDED_ALLOW_IPS"

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class Proxies:
    """The proxies whose word is taken, by default none.

    Parameters
    ----------
    names
        Addresses and networks, separated by commas; ``*`` is every address.

    Raises
    ------
    ConfigError
        ``bad_setting``: one of them is neither.
    """

    def __init__(self, names: str = "") -> None:
        self._networks: list[_Network] = []
        for name in (part.strip() for part in names.split(",")):
            if name == "*":
                self._networks += [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
            elif name:
                try:
                    self._networks.append(ipaddress.ip_network(name))
                except ValueError:
                    raise ConfigError(
                        f"{VARIABLE}: must be addresses or networks of proxies, separated by commas, such as "
                        "127.0.0.1,10.1.0.0/16",
                        code="bad_setting",
                        field=VARIABLE,
                    ) from None

    def __contains__(self, address: str) -> bool:
        found = address_in(address) if self._networks else None
        return found is not None and any(found in network for network in self._networks)

    def origin(self, chain: Iterable[str]) -> str | None:
        """Return the address that a chain of proxies speaks for; None if it names none.

        Parameters
        ----------
        chain
            What ``X-Forwarded-For`` holds, nearest proxy last. Each vouches for the entry it added; so the
            last one counts that is not a trusted proxy itself.
        """
        origin: str | None = None
        for text in reversed(list(chain)):
            found = address_in(text)
            if found is None:
                break
            origin = str(found)
            if origin not in self:
                break
        return origin


@lru_cache(maxsize=1)
def trusted_proxies() -> Proxies:
    """Return the proxies that ``FORWARDED_ALLOW_IPS`` names.

    Raises
    ------
    ConfigError
        ``bad_setting``.
    """
    return Proxies(os.environ.get(VARIABLE, ""))


def address_in(text: str) -> _Address | None:
    """Return the IP address that a text is, with or without a port; None if it is anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A zone (fe80::1%eth0) may be any text.
    if isinstance(found, ipaddress.IPv6Address):
        return found.ipv4_mapped or (None if found.scope_id else found)
    return found


class Forwarded:
    """ASGI middleware that gives a request the address and the scheme that a trusted proxy tells.

    Parameters
    ----------
    app
        What to wrap.
    proxies
        Whom to believe.
    """

    def __init__(self, app: App, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Handle one request."""
        client = scope.get("client")
        if scope["type"] in ("http", "websocket") and client and client[0] in self._proxies:
            scope = {**scope, **self._told(scope)}
        await self._app(scope, receive, send)

    def _told(self, scope: Scope) -> Scope:
        told: Scope = {}
        chain: list[str] = []
        for name, value in scope["headers"]:
            text = value.decode("latin-1").strip()
            if name == b"x-forwarded-for":
                chain += text.split(",")
            elif name == b"x-forwarded-proto" and text in ("http", "https"):
                websocket = scope["type"] == "websocket"
                told["scheme"] = text.replace("http", "ws") if websocket else text
        if origin := self._proxies.origin(chain):
            told["client"] = (origin, 0)
        return told
