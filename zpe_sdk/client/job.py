"""A submitted job: how far it is, its result, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, Self

from zpe_sdk.client.async_job import AsyncJob, R_co, watched
from zpe_sdk.client.blocking import iterate, run
from zpe_sdk.client.progress import Bar, html, in_words
from zpe_sdk.wire import OVER, JobDetail, JobStatus

if TYPE_CHECKING:
    from zpe_sdk.result.partial import PartialSpectrum


class Job(Generic[R_co]):
    """A job on the control plane: :class:`AsyncJob`, blocking."""

    def __init__(self, job: AsyncJob[R_co]) -> None:
        self._async = job

    @property
    def id(self) -> str:
        """The job's id."""
        return self._async.id

    @property
    def last_status(self) -> JobStatus | None:
        """The status seen last; None before the first look."""
        return self._async.last_status

    @property
    def choices(self) -> str:
        """In words, what the client chose of the input because it was not given."""
        return self._async.choices

    @property
    def warnings(self) -> list[str]:
        """What the control plane warned of when it took the job."""
        return self._async.warnings

    @property
    def created(self) -> bool:
        """False if it was there already when it was submitted once (``once=True``)."""
        return self._async.created

    @property
    def url(self) -> str:
        """The job's page in the dashboard."""
        return self._async.url

    # Written by scripts/write_blocking.py from async_job.py: do not edit.

    def status(self) -> JobStatus:
        """Return where the job stands now."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.status())

    def result(self) -> R_co:
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
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.result())

    def partial(self) -> PartialSpectrum:
        """Return the partial spectrum of the SCFs finished so far: modes of some atoms, all others held.

        Raises
        ------
        InputError
            ``too_few_scfs``: no atom has its SCFs yet. ``job_over``: the job has finished, :meth:`result` has
            all modes; or it was cancelled.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.partial())

    def summary(self) -> str:
        """Return the summary of the finished job, a text for people."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.summary())

    def freqs_csv(self) -> str:
        """Return the frequencies of the finished job as CSV: a line per mode, in cm⁻¹ and meV.

        Of a relaxation or a single energy, a line per step, in eV and eV/Å.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.freqs_csv())

    def detail(self) -> JobDetail:
        """Return the job from inside: its request, SCFs, history and pinned physics."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.detail())

    def cancel(self) -> JobStatus:
        """Cancel the job; workers stop their SCFs of it.

        Raises
        ------
        ZPEError
            ``job_over``: it had finished or failed already.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.cancel())

    def requeue(self) -> JobStatus:
        """Put a failed job back into the queue; the SCFs it has are kept.

        Raises
        ------
        ZPEError
            ``not_in_dlq``.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.requeue())

    def update(
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
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.update(project=project, tags=tags, note=note, keep=keep))

    def resubmit(self) -> Job[R_co]:
        """Submit the same request, with all its settings, as a new job of yours."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return Job(run(self._async.resubmit()))

    # End of what is written.

    def events(self, timeout: float | None = None) -> Iterator[JobStatus]:
        """Yield the status now, and after each change until the job is over; see :meth:`AsyncJob.events`."""
        return iterate(self._async.events(timeout))

    def wait(self, timeout: float | None = None, *, progress: bool = True) -> Self:
        """Wait until the job is over, and raise its error if it failed; see :meth:`AsyncJob.wait`."""
        # Not AsyncJob.wait: a notebook's bar belongs to the thread of its cell.
        with Bar(shown=progress) as bar:
            for status in self.events(timeout):
                bar.show(status)
        return self.raise_for_status()

    def raise_for_status(self) -> Self:
        """Raise the error of the job if, when last looked at, it had failed or been cancelled."""
        self._async.raise_for_status()
        return self

    def __repr__(self) -> str:
        return f"<Job {self.id}{in_words(self.last_status)}>"

    def _repr_html_(self) -> str:
        return html(self.id, self.url, self.last_status)


def as_completed(
    jobs: Iterable[Job[R_co]], timeout: float | None = None, *, progress: bool = False
) -> Iterator[Job[R_co]]:
    """Yield each job when it is over, in whatever way; ``job.result()`` then tells which.

    As that of :mod:`concurrent.futures`: one after the other, the first to be over first.

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
        Some go on.

    Examples
    --------
    >>> for job in as_completed(client.submit_many(molecules)):
    ...     print(job.result())
    """
    by_async = {job._async: job for job in jobs}
    # Not `completed`: a notebook's bar belongs to the thread of its cell.
    with Bar(shown=progress, jobs=len(by_async)) as bar:
        for job, status in iterate(watched(by_async, timeout)):
            bar.show(status)
            if status.status in OVER:
                yield by_async[job]


def wait_all(
    jobs: Iterable[Job[R_co]], timeout: float | None = None, *, progress: bool = True
) -> list[Job[R_co]]:
    """Wait until all jobs are over, in whatever way, and return them; an interrupt ends only the waiting.

    Parameters
    ----------
    jobs, timeout, progress
        As for :func:`as_completed`; a bar is shown unless told otherwise.

    Raises
    ------
    TimeoutError
        Some go on.
    """
    all_jobs = list(jobs)
    for _ in as_completed(all_jobs, timeout, progress=progress):
        pass
    return all_jobs
