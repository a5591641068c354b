"""HTTP connection to the control plane: token, TLS, retries, and errors out of replies."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from pydantic import ValidationError

from zpe_sdk import http
from zpe_sdk.client.settings import ClientSettings
from zpe_sdk.errors import InputError, StoreError, ZPEError
from zpe_sdk.transport import RESULT_BYTES, AsyncTransport, options, unreachable
from zpe_sdk.version import __version__
from zpe_sdk.wire import Message
from zpe_sdk.wire.messages import in_words

if TYPE_CHECKING:
    from tenacity import RetryCallState

M = TypeVar("M", bound=Message)
# Not structlog's: unless it is configured it writes to standard output, which is the caller's.
log = logging.getLogger(__name__)


class Connection:
    """Calls of one control plane's API with one token, from whatever event loop runs.

    Parameters
    ----------
    settings
        Where the control plane is, and the token for it.
    timeout
        As httpx takes it: seconds, or an :class:`httpx.Timeout`.
    retry_seconds
        For how long a control plane that does not answer is tried again.
    transport
        In place of the network, e.g. an :class:`httpx.ASGITransport`.

    Raises
    ------
    ConfigError
        ``bad_url``, ``insecure_url``, ``bad_ca_bundle``, ``bad_proxy``, ``insecure_proxy``.
    """

    def __init__(
        self,
        settings: ClientSettings,
        *,
        timeout: float | httpx.Timeout,
        retry_seconds: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = http.base_url(settings.control_api_url, insecure=settings.insecure)
        # Whatever is needed to make this connection again elsewhere; no token goes into a pickle.
        self._options = {
            "url": str(self.url),
            "insecure": settings.insecure,
            "ca_bundle": settings.ca_bundle,
            "timeout": timeout,
            "retry_seconds": retry_seconds,
        }
        self._token = settings.token
        self._transport = transport
        self._way = {} if transport else options(self.url, settings.ca_bundle)
        self._timeout = httpx.Timeout(timeout)
        self._retry_seconds = retry_seconds
        self._open: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (_made_again, (self._options,))

    async def call(
        self,
        method: str,
        path: str,
        reply: type[M],
        *,
        body: type[Message] | None = None,
        fields: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> M:
        """Send ``fields`` as a message of the kind ``body`` and read the reply as a ``reply``.

        ``more`` is that of :meth:`send`.

        Raises
        ------
        InputError
            ``bad_request``: the fields make no such message.
        ConfigError
            ``not_a_control_plane``, ``bad_reply``.
        ZPEError
            What the control plane answers, or ``unreachable``.
        """
        message = None if body is None else _checked(body, fields or {})
        response = await self.send(method, path, body=message, **more)
        return http.read_reply(response, reply)

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Message | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        extra_seconds: float = 0.0,
    ) -> httpx.Response:
        """Send a request until it is answered, and raise the error that the answer carries.

        ``extra_seconds`` is how long the control plane may take longer than usual (a long poll).
        """
        from tenacity import AsyncRetrying  # with tornado, where that is installed

        timeout = httpx.Timeout(self._timeout)
        if timeout.read is not None:
            timeout.read += extra_seconds
        client = self._client()
        request = client.build_request(
            method,
            path,
            json=None if body is None else body.model_dump(mode="json", exclude_none=True),
            params={name: value for name, value in (params or {}).items() if value is not None},
            headers={http.REQUEST_ID: uuid.uuid4().hex, http.VERSION: __version__, **(headers or {})},
            timeout=timeout,
        )
        try:
            async for attempt in AsyncRetrying(**http.retrying(self._retry_seconds, self._tell)):
                with attempt:
                    response = await client.send(request)
                    if not _is_final(response):
                        response.raise_for_status()
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
        except httpx.HTTPStatusError as error:
            response = error.response
        http.raise_for_error(response)
        return response

    async def close(self) -> None:
        """Close what is open; a later call opens it again."""
        if self._open:
            await self._client().aclose()
            self._open = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def _client(self) -> httpx.AsyncClient:
        """Return the connections of the running loop; those of another loop (or process) are of no use."""
        loop = asyncio.get_running_loop()
        if self._open is None or self._open[0] is not loop:
            client = httpx.AsyncClient(
                base_url=self.url,
                headers={"Authorization": f"Bearer {self._token.get_secret_value()}"},
                timeout=self._timeout,
                transport=self._transport or AsyncTransport(most_bytes=RESULT_BYTES, **self._way),
            )
            self._open = (loop, client)
        return self._open[1]

    def _tell(self, state: RetryCallState) -> None:
        if state.attempt_number == 1:
            log.warning("%s does not answer; trying for %g s", self.url.host, self._retry_seconds)


def _checked(kind: type[Message], fields: Mapping[str, Any]) -> Message:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        raise InputError(f"{field}: {in_words(problem)}", code="bad_request", field=field) from None


def _is_final(response: httpx.Response) -> bool:
    """Tell whether the control plane itself has answered: only its store may be back in a moment."""
    try:
        http.raise_for_error(response)
    except StoreError:
        return False
    except ZPEError:
        pass
    return True


def _made_again(options: Mapping[str, Any]) -> Connection:
    """Make a connection that was pickled again, with the token that is found here."""
    settings = ClientSettings.find(
        options["url"], None, insecure=options["insecure"], ca_bundle=options["ca_bundle"], pseudo_dir=None
    )
    return Connection(settings, timeout=options["timeout"], retry_seconds=options["retry_seconds"])
