"""Results in Redis, beside the jobs."""

from __future__ import annotations

from zpe_sdk.errors import StoreError
from zpe_server.results.base import Result
from zpe_server.store import Store, key


class RedisResults:
    """One hash per job.

    Parameters
    ----------
    store
        Redis.
    max_bytes
        The largest result document that is accepted.
    """

    def __init__(self, store: Store, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes

    async def put(self, job_id: str, result: Result) -> None:
        """Store a result; see :class:`ResultStore`."""
        size = len(result.document.encode())
        if size > self._max_bytes:
            raise StoreError(
                f"the result has {size} bytes and ZPE_MAX_RESULT_BYTES allows {self._max_bytes} in Redis: "
                "set ZPE_RESULT_STORE=s3 and requeue the job; its SCFs are kept",
                code="result_too_large",
            )
        await self._store.set_fields(
            key("result", job_id),
            {"document": result.document, "summary": result.summary, "freqs": result.freqs},
        )

    async def get(self, job_id: str) -> Result | None:
        """Return a result, or None if there is none."""
        found = await self._store.fields(key("result", job_id))
        return Result(**found) if found else None

    async def delete(self, job_ids: list[str]) -> None:
        """Delete results; those that do not exist do not matter."""
        if job_ids:
            await self._store.delete(*(key("result", job_id) for job_id in job_ids))
