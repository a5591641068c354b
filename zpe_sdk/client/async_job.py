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
from zpe_sdk.wire import (
    OVER,
    JobDetail,
    JobReply,
    JobRequest,
    JobStatus,
    LabelChanges,
    PartialReply,
    ResultReply,
)

if TYPE_CHECKING:
    from zpe_sdk.client.connection import Connection
    from zpe_sdk.result.kinds import AnyResult
    from zpe_sdk.result.partial import PartialSpectrum
    from zpe_sdk.result.result import ZPEResult

# The result of a job: of vibrations unless the call that made the job says otherwise.
R_co = TypeVar("R_co", bound="AnyResult", covariant=True, default="ZPEResult")
# Of one request; the control plane allows 30 s.
_POLL_SECONDS = 25.0
_QUEUED_SECONDS = 5.0
# So many requests wait at a time, whatever the number of jobs.
_WAITING = 50


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
    created
        False if it was there already when it was submitted once (``once=True``).
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
        self.created = True

    @property
    def url(self) -> str:
        """The job's page in the dashboard."""
        return f"{str(self._connection.url).rstrip('/')}/dashboard/#/job/{quote(self.id, safe='')}"

    async def status(self) -> JobStatus:
        """Return where the job stands now."""
        return await self._look()

    async def events(self, timeout: float | None = None) -> AsyncGenerator[JobStatus, None]:
        """Yield the status now, and after each change of the job or of why it waits, until it is over.

        Parameters
        ----------
        timeout
            Seconds to go on at most; None: as long as it takes.

        Raises
        ------
        TimeoutError
            The job goes on.
        """
        async with aclosing(self._events(timeout)) as events:
            async for status in events:
                yield status

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

    async def update(
        self,
        *,
        project: str | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
        keep: bool | None = None,
    ) -> JobStatus:
        """Change what is written on the job; what is not given stays.

        Parameters
        ----------
        project
            Its project; ``""``: none.
        tags
            All its tags; ``[]``: none.
        note
            A text; ``""``: none.
        keep
            Whether it and its result are kept after the usual time.

        Raises
        ------
        InputError
            ``bad_request``, naming the field.
        """
        self.last_status = await self._connection.call(
            "PATCH",
            self._path,
            JobStatus,
            body=LabelChanges,
            fields={
                "project": project,
                "tags": None if tags is None else given_tags(tags),
                "note": note,
                "keep": keep,
            },
        )
        return self.last_status

    async def resubmit(self) -> AsyncJob[R_co]:
        """Submit the same request, with all its settings, as a new job of yours."""
        return await submit_fields(self._connection, dict(await self.detail()))

    def raise_for_status(self) -> Self:
        """Raise the error of the job if, when last looked at, it had failed or been cancelled."""
        if error := _job_error(self.last_status):
            raise error
        return self

    async def _events(
        self, timeout: float | None, some: asyncio.Semaphore | None = None, share: float = 1.0
    ) -> AsyncGenerator[JobStatus, None]:
        """Yield what :meth:`events` does, with requests that take turns with those of other jobs."""
        end = inf if timeout is None else monotonic() + timeout
        turn = some or asyncio.Semaphore()
        async with turn:
            status = await self._look()
        yield status
        while status.status not in OVER:
            async with turn:
                left = end - monotonic()
                if left <= 0:
                    raise TimeoutError(f"job {self.id} is {status.status} after {timeout:g} s; it goes on")
                # Why a job waits changes with the workers and not with the job: nothing wakes us then.
                longest = _POLL_SECONDS if status.progress.running else _QUEUED_SECONDS
                seconds = min(left, longest * min(1.0, share))
                newer = await self._look(wait_seconds=seconds, after=status.version)
            if newer != status:
                yield newer
            status = newer

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
        return html(self.id, self.url, self.last_status)


async def submit_fields(connection: Connection, fields: Mapping[str, Any]) -> AsyncJob[Any]:
    """Submit a job whose request has these fields."""
    # One key for all attempts of this call: a reply that was lost makes no second job.
    key = {IDEMPOTENCY_KEY: uuid.uuid4().hex}
    reply = await connection.call(
        "POST", "/calc/zpe/jobs", JobReply, body=JobRequest, fields=fields, headers=key
    )
    job: AsyncJob[Any] = AsyncJob(connection, reply.job_id)
    job.warnings, job.created = reply.warnings, reply.created
    return job


def given_tags(tags: Iterable[str]) -> list[str]:
    """Return tags as a list; a text is one tag and not its letters."""
    return [tags] if isinstance(tags, str) else list(tags)


async def completed(
    jobs: Iterable[AsyncJob[R_co]], timeout: float | None = None, *, progress: bool = False
) -> AsyncGenerator[AsyncJob[R_co], None]:
    """Yield each job when it is over, in whatever way; ``await job.result()`` then tells which.

    Parameters
    ----------
    jobs
        Jobs of one client or of several.
    timeout
        Seconds to wait at most; None: as long as it takes.
    progress
        Show one bar that counts the SCFs of all.

    Raises
    ------
    TimeoutError
        Some go on after ``timeout`` seconds.
    """
    all_jobs = list(jobs)
    with Bar(shown=progress, jobs=len(all_jobs)) as bar:
        async with aclosing(watched(all_jobs, timeout)) as seen:
            async for job, status in seen:
                bar.show(status)
                if status.status in OVER:
                    yield job


async def watched(
    jobs: Iterable[AsyncJob[R_co]], timeout: float | None = None
) -> AsyncGenerator[tuple[AsyncJob[R_co], JobStatus], None]:
    """Yield the status of each job, and after each change, until all are over.

    Raises
    ------
    TimeoutError
        Some go on after ``timeout`` seconds.
    """
    all_jobs = list(jobs)
    some = asyncio.Semaphore(_WAITING)
    seen: asyncio.Queue[tuple[AsyncJob[R_co], JobStatus] | None] = asyncio.Queue()

    async def watch(job: AsyncJob[R_co]) -> None:
        async with aclosing(job._events(timeout, some, share=_WAITING / len(all_jobs))) as events:
            async for status in events:
                seen.put_nowait((job, status))

    tasks = [asyncio.ensure_future(watch(job)) for job in all_jobs]
    all_over = asyncio.gather(*tasks)
    all_over.add_done_callback(lambda _: seen.put_nowait(None))
    try:
        while (item := await seen.get()) is not None:
            yield item
        await all_over
    finally:
        for task in tasks:
            task.cancel()


async def wait_all(
    jobs: Iterable[AsyncJob[R_co]], timeout: float | None = None, *, progress: bool = True
) -> list[AsyncJob[R_co]]:
    """Wait until all jobs are over, in whatever way, and return them; an interrupt ends only the waiting.

    Parameters
    ----------
    jobs, timeout, progress
        As for :func:`as_completed`.

    Raises
    ------
    TimeoutError
        Some go on after ``timeout`` seconds.
    """
    all_jobs = list(jobs)
    async with aclosing(completed(all_jobs, timeout, progress=progress)) as ended:
        async for _ in ended:
            pass
    return all_jobs


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
