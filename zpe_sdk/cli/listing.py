"""``zpe jobs`` and ``zpe update``: jobs found again, and what is written on them."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Annotated

import typer

from zpe_sdk.cli import options
from zpe_sdk.cli.context import connected
from zpe_sdk.cli.jobs import JobId, Json
from zpe_sdk.cli.output import as_json, moment, table
from zpe_sdk.plain import plain
from zpe_sdk.wire import JobOrder

if TYPE_CHECKING:
    from zpe_sdk.wire import JobStatus


COLUMNS = ("JOB", "STATUS", "SCFS", "FORMULA", "NAME", "PROJECT", "OWNER", "ZPE/eV", "SUBMITTED")


def jobs(
    context: typer.Context,
    state: options.OfState = None,
    project: options.OfProject = None,
    job_tag: options.OfTags = None,
    since: options.Since = None,
    until: options.Until = None,
    search: options.Search = None,
    owner: options.OfOwner = None,
    order: Annotated[
        JobOrder, typer.Option(help="By time of submission, or by a value; -VALUE: downwards.")
    ] = "newest",
    limit: Annotated[int, typer.Option(min=1, help="How many jobs.")] = 20,
    offset: Annotated[int, typer.Option(min=0, help="How many to skip first.")] = 0,
    json: Json = False,
) -> None:
    """List jobs, the newest first.

    Example: `zpe jobs --project screening --state failed --state cancelled`
    """
    with connected(context) as client, warnings.catch_warnings(record=True) as warned:
        found = client.jobs(
            status=options.states(state),
            project=project,
            tags=job_tag or (),
            since=since,
            until=until,
            search=search,
            owner=owner,
            order=order,
            limit=limit,
            offset=offset,
        )
    listed = [job.last_status for job in found if job.last_status is not None]
    if json:
        as_json(listed)
    else:
        table(COLUMNS, map(_row, listed))
        if found.total > len(listed):
            print(f"zpe: {len(listed)} of {found.total} jobs; --limit shows more", file=sys.stderr)
    for warning in warned:
        text = str(warning.message).replace("job.update(keep=True)", "`zpe update JOB --keep`")
        print(plain(f"zpe: warning: {text}"), file=sys.stderr)


def update(
    context: typer.Context,
    job: JobId,
    project: Annotated[str | None, typer.Option(help="Its project; an empty text: none.")] = None,
    job_tag: Annotated[
        list[str] | None,
        typer.Option(help="All its tags, one each time; an empty text: none."),
    ] = None,
    note: Annotated[str | None, typer.Option(help="A text; an empty one: none.")] = None,
    keep: Annotated[bool | None, typer.Option(help="Keep the job and its result for good, or not.")] = None,
    json: Json = False,
) -> None:
    """Change what is written on a job; what is not given stays.

    Example: `zpe update JOB --project screening --keep`
    """
    with connected(context) as client:
        tags = None if job_tag is None else [tag for tag in job_tag if tag]
        found = client.job(job).update(project=project, tags=tags, note=note, keep=keep)
    if json:
        as_json(found)
    else:
        print(found.job_id)


def _row(job: JobStatus) -> tuple[str | None, ...]:
    done = f"{job.progress.done}/{job.progress.total}"
    named = (job.formula, job.name, job.project, job.owner)
    zpe_ev = None if job.zpe_ev is None else f"{job.zpe_ev:.4f}"
    return (job.job_id, job.status, done, *named, zpe_ev, moment(job.created_at))
