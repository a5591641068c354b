"""Jobs as a list that knows how many there are in all, and how they are shown in a notebook."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from zpe_sdk.client.async_job import given_tags
from zpe_sdk.client.progress import html_table
from zpe_sdk.errors import InputError
from zpe_sdk.wire import JobState, JobStatus

if TYPE_CHECKING:
    from zpe_sdk.client.async_job import AsyncJob
    from zpe_sdk.client.job import Job


J = TypeVar("J", bound="AsyncJob[Any] | Job[Any]")
K = TypeVar("K", bound="AsyncJob[Any] | Job[Any]")


class Listing(list[J]):
    """Jobs that were asked for.

    Attributes
    ----------
    total
        How many there are in all; more than ``len()`` if only some were asked for.
    """

    def __init__(self, jobs: Iterable[J], total: int) -> None:
        super().__init__(jobs)
        self.total = total

    def each(self, make: Callable[[J], K]) -> Listing[K]:
        """Return a listing of what is made of each job."""
        return Listing(map(make, self), self.total)

    def by_name(self) -> dict[str, J]:
        """Return the first job of each name, which is the newest unless they are listed otherwise.

        One without a name has its id.
        """
        named: dict[str, J] = {}
        for job in self:
            named.setdefault((job.last_status and job.last_status.name) or job.id, job)
        return named

    def _repr_html_(self) -> str:
        rows = [_row(job) for job in self]
        more = f"<p>{len(self)} of {self.total} jobs</p>" if self.total > len(self) else ""
        return html_table(("job", "project", "name", "formula", "status", "SCFs", "submitted"), rows) + more


def _row(job: Any) -> tuple[str, ...]:
    status: JobStatus | None = job.last_status
    if status is None:
        return (job.id, "", "", "", "", "", "")
    done = f"{status.progress.done}/{status.progress.total}"
    submitted = status.created_at[:16].replace("T", " ")
    named = (status.project or "", status.name or "", status.formula or "")
    return (job.id[:8], *named, status.status, done, submitted)


def selection(
    status: JobState | Iterable[JobState] | None,
    project: str | None,
    tags: Iterable[str],
    since: datetime | date | str | None,
    until: datetime | date | str | None,
    search: str | None,
    owner: str | None,
) -> dict[str, Any]:
    """Return the parameters of a call that say which jobs are meant.

    Raises
    ------
    InputError
        ``bad_request``: ``since`` or ``until`` is no time.
    """
    return {
        "status": [status] if isinstance(status, str) else list(status or ()),
        "project": project,
        "tag": given_tags(tags),
        "since": moment(since, "since"),
        "until": moment(until, "until"),
        "search": search,
        "owner": owner,
    }


def moment(value: datetime | date | str | None, field: str) -> str | None:
    """Return a time as the API takes it; a day begins at midnight, and without a zone local time is meant.

    Raises
    ------
    InputError
        ``bad_request``: it is no time in ISO 8601.
    """
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InputError(
                f"{field}: {value!r} is no date such as 2026-03-31, nor a time such as 2026-03-31T18:00",
                code="bad_request",
                field=field,
            ) from None
    elif not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return value.astimezone(UTC).isoformat()


def warn_of_expiry(found: Iterable[JobStatus], now: datetime | None = None) -> None:
    """Warn if jobs are soon forgotten: within the last quarter of the time for which they are kept."""
    now = now or datetime.now(UTC)
    soon = sorted(
        expires for status in found if (expires := _expiry(status)) and _is_near(status, expires, now)
    )
    if soon:
        what = "1 job and its result" if len(soon) == 1 else f"{len(soon)} jobs and their results"
        warnings.warn(
            f"{what} will be forgotten, from {soon[0].astimezone():%Y-%m-%d %H:%M} on; "
            "job.update(keep=True) keeps one",
            stacklevel=2,
        )


def _expiry(status: JobStatus) -> datetime | None:
    # Nobody misses a job that was cancelled.
    if status.expires_at is None or status.status == "cancelled":
        return None
    return datetime.fromisoformat(status.expires_at)


def _is_near(status: JobStatus, expires: datetime, now: datetime) -> bool:
    kept = expires - datetime.fromisoformat(status.finished_at or status.updated_at)
    return expires - now < kept / 4
