"""The way to the control plane: proxies, certificates, the length of replies, and what no waiting mends."""

from __future__ import annotations

import importlib.util
import ipaddress
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx

from zpe_sdk.errors import ConfigError

_PROXY_SCHEMES = {"http", "https", "socks5", "socks5h"}
_PROBE_SECONDS = 3.0
# The longest lease: 10 000 SCFs of an input of 4 MB, and what an optimiser remembers.
REPLY_BYTES = 16 * 2**20
# The longest result: Hessian and modes of 1000 mobile atoms, nine million numbers each.
RESULT_BYTES = 512 * 2**20
# OpenSSL's names for an answer that is no TLS.
_NO_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL"}


def options(url: httpx.URL, ca_bundle: Path | None = None) -> dict[str, Any]:
    """Return the arguments of a :class:`Transport` that say how to get to a control plane.

    Raises
    ------
    ConfigError
        ``bad_proxy``, ``insecure_proxy`` or ``bad_ca_bundle``.
    """
    # httpx would take the environment's proxies for this machine too, and say nothing of plain HTTP.
    return {"proxy": proxy_for(url), "verify": tls(ca_bundle), "trust_env": False}


class Transport(httpx.HTTPTransport):
    """Brings replies that are not longer than ``most_bytes``; else a ConfigError, ``bad_reply``.

    Other arguments are those of :func:`options`.
    """

    def __init__(self, *, most_bytes: int = REPLY_BYTES, **options: Any) -> None:
        super().__init__(**options)
        self._most_bytes = most_bytes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its reply is not read yet."""
        return _bounded(super().handle_request(_unpacked(request)), self._most_bytes)


class AsyncTransport(httpx.AsyncHTTPTransport):
    """As :class:`Transport`, for an event loop."""

    def __init__(self, *, most_bytes: int = REPLY_BYTES, **options: Any) -> None:
        super().__init__(**options)
        self._most_bytes = most_bytes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its reply is not read yet."""
        return _bounded(await super().handle_async_request(_unpacked(request)), self._most_bytes)


def _unpacked(request: httpx.Request) -> httpx.Request:
    # A few kilobytes that are unpacked fill any memory.
    request.headers["Accept-Encoding"] = "identity"
    return request


def _bounded(response: httpx.Response, most_bytes: int) -> httpx.Response:
    response.stream = _Bounded(response, most_bytes)
    return response


class _Bounded(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a reply, as long as it has not too many bytes."""

    def __init__(self, response: httpx.Response, most_bytes: int) -> None:
        self._stream = response.stream
        self._packing = response.headers.get("Content-Encoding", "identity")
        self._most_bytes = most_bytes
        self._count = 0

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._stream, httpx.SyncByteStream)
        self._check_packing()
        for part in self._stream:
            yield self._counted(part)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._stream, httpx.AsyncByteStream)
        self._check_packing()
        async for part in self._stream:
            yield self._counted(part)

    def close(self) -> None:
        assert isinstance(self._stream, httpx.SyncByteStream)
        self._stream.close()

    async def aclose(self) -> None:
        assert isinstance(self._stream, httpx.AsyncByteStream)
        await self._stream.aclose()

    def _check_packing(self) -> None:
        if self._packing != "identity":
            raise _refused("is compressed, which was not asked for")

    def _counted(self, part: bytes) -> bytes:
        self._count += len(part)
        if self._count > self._most_bytes:
            raise _refused(f"is longer than {self._most_bytes // 2**20} MiB")
        return part


def _refused(why: str) -> ConfigError:
    return ConfigError(f"the reply of the control plane is refused: it {why}", code="bad_reply")


def proxy_for(url: httpx.URL) -> httpx.URL | None:
    """Return the proxy that the environment has for a control plane; None: the way is direct.

    ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` count, in large or small letters. This
    machine is never reached through a proxy.

    Raises
    ------
    ConfigError
        ``bad_proxy``: it cannot be used; ``insecure_proxy``: it would read the token.
    """
    if is_loopback(url.host) or urllib.request.proxy_bypass(url.netloc.decode()):
        return None
    proxies = urllib.request.getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    if not named:
        return None
    variable = f"{url.scheme if proxies.get(url.scheme) else 'all'}_PROXY".upper()
    try:
        proxy = httpx.URL(named if "://" in named else f"http://{named}")
    except httpx.InvalidURL:
        proxy = httpx.URL("")
    if proxy.scheme not in _PROXY_SCHEMES or not proxy.host:
        raise ConfigError(
            f"{variable} names no proxy that can be used: it must look like http://proxy.example.org:3128",
            code="bad_proxy",
            field=variable,
        )
    if proxy.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ConfigError(
            f"{variable} names a SOCKS proxy ({proxy.host}), for which a package is missing: "
            f"`pip install socksio`, or name {url.host} in NO_PROXY",
            code="bad_proxy",
            field=variable,
        )
    if url.scheme == "http":
        raise ConfigError(
            f"refusing to send a token to {url.host} over plain HTTP through the proxy {proxy.host} "
            f"({variable}), which could read it; use https://, or name {url.host} in NO_PROXY",
            code="insecure_proxy",
            field=variable,
        )
    return proxy


def tls(ca_bundle: Path | None, *, field: str = "ZPE_CA_BUNDLE") -> ssl.SSLContext:
    """Return what to verify servers with: the usual authorities, or those of a PEM file.

    ``field`` is the setting that names the file.

    Raises
    ------
    ConfigError
        ``bad_ca_bundle``: the file is missing or holds no certificates.
    """
    if ca_bundle is None:
        return httpx.create_ssl_context()  # SSL_CERT_FILE and SSL_CERT_DIR count
    try:
        return ssl.create_default_context(cafile=str(ca_bundle))
    except OSError as error:
        raise ConfigError(
            f"{ca_bundle} cannot be used as a CA bundle: {error.strerror or error}",
            code="bad_ca_bundle",
            field=field,
        ) from error


def lasting(error: httpx.TransportError) -> ConfigError | None:
    """Return the error for a fault of the way that no waiting mends; None if it may pass."""
    url = error.request.url
    fault = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    if isinstance(error, httpx.ProxyError) and str(error)[:1] == "4":  # a status and its reason
        return ConfigError(
            f"the proxy refuses the way to {_place(url)}: {error}; correct HTTPS_PROXY, or name {url.host} "
            "in NO_PROXY",
            code="bad_proxy",
            field="HTTPS_PROXY",
        )
    if fault is not None and (fault.reason or "") in _NO_TLS:
        return ConfigError(
            f"{_place(url)} answers in plain HTTP: its address does not begin with https://",
            code="wrong_scheme",
            field="ZPE_CONTROL_API_URL",
        )
    # A server that is ended during a handshake says good-bye in the middle of it: that passes.
    if fault is not None and not isinstance(fault, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        why = getattr(fault, "verify_message", "") or fault.reason or str(fault)
        return ConfigError(
            f"no trusted connection to {_place(url)}: {why}. Of a private authority, give the PEM file: "
            "ZPE_CA_BUNDLE (--ca-bundle, ca_bundle=)",
            code="tls_failed",
            field="ZPE_CA_BUNDLE",
        )
    silent = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError)
    if silent and url.scheme == "http" and _speaks_tls(url):
        return ConfigError(
            f"{_place(url)} answers over TLS only: its address begins with https://",
            code="wrong_scheme",
            field="ZPE_CONTROL_API_URL",
        )
    return None


def unreachable(url: httpx.URL, error: httpx.TransportError) -> ConfigError:
    """Return the error for a control plane that cannot be reached, naming only its host."""
    if named := lasting(error):
        return named
    proxy = proxy_for(url)
    way = f" through the proxy {_place(proxy)}" if proxy else ""
    return ConfigError(
        f"the control plane at {_place(url)} cannot be reached{way} ({type(error).__name__}: {error})",
        code="control_plane_unreachable",
        field="ZPE_CONTROL_API_URL",
    )


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _place(url: httpx.URL) -> str:
    return f"{url.host}:{url.port}" if url.port else url.host


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _speaks_tls(url: httpx.URL) -> bool:
    """Tell whether a server that was silent to plain HTTP shakes hands over TLS; no token is sent."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((url.host, url.port or 80), timeout=_PROBE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=url.host),
        ):
            return True
    except OSError:
        return False
