"""A submitted job, for asynchronous code: how far it is, its result, and what can be done with it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Self, cast
from urllib.parse import quote

from typing_extensions import TypeVar

from zpe_sdk.client.progress import Bar, html, in_words
from zpe_sdk.errors import BY_SIDE, ComputeError, InputError, ZPEError
from zpe_sdk.http import IDEMPOTENCY_KEY
from zpe_sdk.plain import plain_lines
from zpe_sdk.wire import OVER, JobDetail, JobReply, JobRequest, JobStatus, PartialReply, ResultReply

if TYPE_CHECKING:
    from zpe_sdk.client.connection import Connection
    from zpe_sdk.result.kinds import AnyResult
    from zpe_sdk.result.partial import PartialSpectrum
    from zpe_sdk.result.result import ZPEResult

# The result of a job: of vibrations unless the call that made the job says otherwise.
R_co = TypeVar("R_co", bound="AnyResult", covariant=True, default="ZPEResult")
# Of one request; the control plane allows 30 s.
_POLL_SECONDS = 25.0


class AsyncJob(Generic[R_co]):
    """A job on the control plane. Get one from ``client.submit(…)``, ``client.job(id)`` or ``client.jobs()``.

    Attributes
    ----------
    id
        The job's id.
    last_status
        The status seen last; None before the first look.
    choices
        In words, what :meth:`AsyncZPEClient.submit` chose of the input because it was not given.
    warnings
        What the control plane warned of when it took the job.
    """

    def __init__(self, connection: Connection, job_id: str, last_status: JobStatus | None = None) -> None:
        if not isinstance(job_id, str) or not job_id:
            raise InputError(f"a job's id is a text, not {job_id!r}", code="bad_job_id", field="job_id")
        self._connection = connection
        self._path = f"/calc/zpe/jobs/{quote(job_id, safe='')}"
        self.id = job_id
        self.last_status = last_status
        self.choices = ""
        self.warnings: list[str] = []

    async def status(self) -> JobStatus:
        """Return where the job stands now."""
        return await self._look()

    async def events(self, timeout: float | None = None) -> AsyncGenerator[JobStatus, None]:
        """Yield the status now, and after each change until the job is over.

        Parameters
        ----------
        timeout
            Seconds to go on at most; None: as long as it takes.

        Raises
        ------
        TimeoutError
            The job goes on.
        """
        end = inf if timeout is None else monotonic() + timeout
        status = await self._look()
        yield status
        while status.status not in OVER:
            left = end - monotonic()
            if left <= 0:
                raise TimeoutError(f"job {self.id} is {status.status} after {timeout:g} s; it goes on")
            newer = await self._look(wait_seconds=min(left, _POLL_SECONDS), after=status.version)
            if newer.version != status.version:
                yield newer
            status = newer

    async def wait(self, timeout: float | None = None, *, progress: bool = True) -> Self:
        """Wait until the job is over. An interrupt ends the waiting, not the job.

        Parameters
        ----------
        timeout
            Seconds to wait at most; None: as long as it takes.
        progress
            Show a bar that counts the SCFs, or tells how far the relaxation is.

        Raises
        ------
        TimeoutError
            The job goes on.
        ZPEError
            Why the job failed, as the class of the side at fault; ``job_cancelled`` if it was cancelled.
        """
        with Bar(shown=progress) as bar:
            async for status in self.events(timeout):
                bar.show(status)
        return self.raise_for_status()

    async def result(self) -> R_co:
        """Return the result of the finished job: of vibrations, of a relaxation or of a single energy.

        From a worker of another make, which sends frequencies and ZPE alone, it is a
        :class:`zpe_sdk.BareResult`; that says what is missing.

        Raises
        ------
        InputError
            ``not_finished``.
        ZPEError
            Why the job failed, if it did.
        """
        try:
            reply = await self._connection.call("GET", f"{self._path}/result", ResultReply)
        except ZPEError as error:
            raise await self._why_none(error) from None
        # It brings scipy, which nobody needs who submits a job or looks how far it is.
        from zpe_sdk.result.kinds import read_result

        return cast("R_co", read_result(reply.result))

    async def partial(self) -> PartialSpectrum:
        """Return the partial spectrum of the SCFs finished so far: modes of some atoms, all others held.

        Raises
        ------
        InputError
            ``too_few_scfs``: no atom has its SCFs yet. ``job_over``: the job has finished, :meth:`result` has
            all modes; or it was cancelled.
        """
        reply = await self._connection.call("GET", f"{self._path}/partial", PartialReply)
        from zpe_sdk.result.partial import PartialSpectrum

        return PartialSpectrum(reply)

    async def summary(self) -> str:
        """Return the summary of the finished job, a text for people."""
        return await self._file("summary")

    async def freqs_csv(self) -> str:
        """Return the frequencies of the finished job as CSV: a line per mode, in cm⁻¹ and meV.

        Of a relaxation or a single energy, a line per step, in eV and eV/Å.
        """
        return await self._file("freqs")

    async def detail(self) -> JobDetail:
        """Return the job from inside: its request, SCFs, history and pinned physics."""
        return await self._connection.call("GET", f"{self._path}/detail", JobDetail)

    async def cancel(self) -> JobStatus:
        """Cancel the job; workers stop their SCFs of it.

        Raises
        ------
        ZPEError
            ``job_over``: it had finished or failed already.
        """
        return await self._act("cancel")

    async def requeue(self) -> JobStatus:
        """Put a failed job back into the queue; the SCFs it has are kept.

        Raises
        ------
        ZPEError
            ``not_in_dlq``.
        """
        return await self._act("requeue")

    async def resubmit(self) -> AsyncJob[R_co]:
        """Submit the same request, with all its settings, as a new job of yours."""
        return await submit_fields(self._connection, dict(await self.detail()))

    def raise_for_status(self) -> Self:
        """Raise the error of the job if, when last looked at, it had failed or been cancelled."""
        if error := _job_error(self.last_status):
            raise error
        return self

    async def _look(self, wait_seconds: float | None = None, after: int | None = None) -> JobStatus:
        self.last_status = await self._connection.call(
            "GET",
            self._path,
            JobStatus,
            params={"wait_seconds": wait_seconds, "after": after},
            extra_seconds=wait_seconds or 0.0,
        )
        return self.last_status

    async def _act(self, what: str) -> JobStatus:
        self.last_status = await self._connection.call("POST", f"{self._path}/{what}", JobStatus)
        return self.last_status

    async def _file(self, kind: str) -> str:
        try:
            response = await self._connection.send("GET", f"{self._path}/files", params={"kind": kind})
        except ZPEError as error:
            raise await self._why_none(error) from None
        return plain_lines(response.text)  # a worker may have written it

    async def _why_none(self, error: ZPEError) -> ZPEError:
        """Return why there is no result: the failure of the job says more than that it is not finished."""
        if error.code != "not_finished":
            return error
        return _job_error(await self._look()) or error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}{in_words(self.last_status)}>"

    def _repr_html_(self) -> str:
        return html(self.id, self.last_status)


async def submit_fields(connection: Connection, fields: Mapping[str, Any]) -> AsyncJob[Any]:
    """Submit a job whose request has these fields."""
    # One key for all attempts of this call: a reply that was lost makes no second job.
    key = {IDEMPOTENCY_KEY: uuid.uuid4().hex}
    reply = await connection.call(
        "POST", "/calc/zpe/jobs", JobReply, body=JobRequest, fields=fields, headers=key
    )
    return AsyncJob(connection, reply.job_id)


async def completed(
    jobs: Iterable[AsyncJob[R_co]], timeout: float | None = None
) -> AsyncGenerator[AsyncJob[R_co], None]:
    """Yield each job when it is over, in whatever way; ``await job.result()`` then tells which.

    Raises
    ------
    TimeoutError
        Some go on after ``timeout`` seconds.
    """

    async def over(job: AsyncJob[R_co]) -> AsyncJob[R_co]:
        async with aclosing(job.events(timeout)) as events:
            async for _ in events:
                pass
        return job

    tasks = [asyncio.ensure_future(over(job)) for job in jobs]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()


def _job_error(status: JobStatus | None) -> ZPEError | None:
    """Return what made the job end without a result, with the worker's traceback as a note."""
    if status is None or status.status not in ("failed", "cancelled"):
        return None
    info = status.error
    if info is None:
        code = "job_cancelled" if status.status == "cancelled" else "job_failed"
        return ComputeError(status.detail or f"job {status.job_id} is {status.status}", code=code)
    message = f"{info.message} (on {info.worker})" if info.worker else info.message
    error = BY_SIDE[info.side](message, code=info.code, field=info.field, request_id=info.request_id)
    if info.traceback:
        error.add_note(f"On the worker:\n{info.traceback}")
    return error
