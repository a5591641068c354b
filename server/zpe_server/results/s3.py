"""Results in a bucket of S3, or of anything that speaks its protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from datetime import timedelta
from typing import TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from zpe_sdk.errors import StoreError
from zpe_server.results.base import Result
from zpe_server.settings import Settings

_SECONDS = 15
T = TypeVar("T")


class S3Results:
    """Three objects per job, below ``prefix/<job>/``.

    Parameters
    ----------
    settings
        Bucket, prefix, endpoint and region. Credentials are looked for where AWS's own tools do.
    """

    def __init__(self, settings: Settings) -> None:
        endpoint = settings.s3_endpoint
        self._store = S3Store(
            settings.s3_bucket,
            prefix=settings.s3_prefix,
            endpoint=endpoint,
            region=settings.s3_region,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": bool(endpoint and endpoint.startswith("http://")),
                "timeout": timedelta(seconds=_SECONDS),
                "connect_timeout": timedelta(seconds=5),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=_SECONDS)},
        )

    async def put(self, job_id: str, result: Result) -> None:
        """Store a result; see :class:`ResultStore`."""
        paths = _paths(job_id)
        texts = (result.document, result.summary, result.freqs)
        try:
            await _all(
                obstore.put_async(self._store, path, text.encode())
                for path, text in zip(paths, texts, strict=True)
            )
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def get(self, job_id: str) -> Result | None:
        """Return a result, or None if there is none."""
        try:
            document, summary, freqs = await _all(self._text(path) for path in _paths(job_id))
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise _away(error) from error
        return Result(document, summary, freqs)

    async def delete(self, job_ids: list[str]) -> None:
        """Delete results; those that do not exist do not matter."""
        paths = [path for job_id in job_ids for path in _paths(job_id)]
        try:
            for path in paths:
                await self._delete(path)
        except (BaseError, OSError) as error:
            raise _away(error) from error

    async def _delete(self, path: str) -> None:
        try:
            await obstore.delete_async(self._store, path)
        except FileNotFoundError:
            return

    async def _text(self, path: str) -> str:
        reply = await obstore.get_async(self._store, path)
        return bytes(await reply.bytes_async()).decode()


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Await all calls, then raise the first error: what is left running would outlive the event loop."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]


def _paths(job_id: str) -> tuple[str, str, str]:
    return f"{job_id}/result.json", f"{job_id}/summary.txt", f"{job_id}/freqs.csv"


def _away(error: Exception) -> StoreError:
    # The error's own text has URLs and request ids in it: for the log, through the cause, and not for users.
    return StoreError(
        f"the result store does not answer as it should ({type(error).__name__}); try again later",
        code="store_unavailable",
    )
