"""What administrators do about the service: failed jobs, switches, a glance at it, the audit trail."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from zpe_sdk.cli.context import connected
from zpe_sdk.cli.jobs import Json
from zpe_sdk.cli.output import as_json, moment, reply
from zpe_sdk.errors import InputError

if TYPE_CHECKING:
    from zpe_sdk.wire import DeadJobsReply

Code = Annotated[str | None, typer.Option(help="Only jobs that failed with this code.")]
JobIds = Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="Ids of dead jobs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which jobs these are, and do nothing.")]
Limit = Annotated[int, typer.Option(min=1, help="How many.")]


def dlq(
    context: typer.Context,
    code: Code = None,
    limit: Limit = 20,
    offset: Annotated[int, typer.Option(min=0, help="How many to skip first.")] = 0,
    json: Json = False,
) -> None:
    """List the dead-letter queue: jobs that failed for good, the newest first.

    Example: `zpe admin dlq --code scf_not_converged`
    """
    with connected(context) as client:
        found = client.admin.dead_jobs(limit=limit, offset=offset, code=code)
    rows = (
        (
            d.job.job_id,
            d.job.name,
            d.error.side,
            d.error.code,
            d.error.worker,
            moment(d.failed_at),
            d.error.message,
        )
        for d in found.jobs
    )
    reply(found, ("JOB", "NAME", "SIDE", "CODE", "WORKER", "FAILED", "MESSAGE"), rows, json=json)


def requeue(
    context: typer.Context,
    jobs: JobIds = None,
    code: Code = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Put dead jobs back into the queue; their finished SCFs are kept.

    Example: `zpe admin requeue --code worker_lost`
    """
    _check_choice(jobs, code)
    with connected(context) as client:
        found = client.admin.requeue(jobs or None, code=code, dry_run=dry_run)
    as_json(found) if json else _tell(found, "requeued", dry_run)


def discard(
    context: typer.Context,
    jobs: JobIds = None,
    code: Code = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Remove dead jobs from the dead-letter queue for good.

    Example: `zpe admin discard JOB`
    """
    _check_choice(jobs, code)
    with connected(context) as client:
        found = client.admin.discard(jobs or None, code=code, dry_run=dry_run)
    as_json(found) if json else _tell(found, "discarded", dry_run)


def flags(
    context: typer.Context,
    submission: Annotated[
        bool | None, typer.Option("--submission/--no-submission", help="Accept new jobs.")
    ] = None,
    dequeue: Annotated[
        bool | None, typer.Option("--dequeue/--no-dequeue", help="Give work to workers.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the operational switches, or set some.

    Example: `zpe admin flags --no-submission`
    """
    with connected(context) as client:
        if submission is None and dequeue is None:
            found = client.admin.flags()
        else:
            found = client.admin.set_flags(submission_enabled=submission, dequeue_enabled=dequeue)
    switches = {"submission": found.submission_enabled, "dequeue": found.dequeue_enabled}
    rows = ((name, "on" if state else "off") for name, state in switches.items())
    reply(found, ("SWITCH", "STATE"), rows, json=json)


def overview(context: typer.Context, json: Json = False) -> None:
    """Show the service at a glance: jobs, workers, the longest wait.

    Example: `zpe admin overview`
    """
    with connected(context) as client:
        found = client.admin.overview()
    oldest = found.oldest
    rows = [
        *((f"jobs {state}", count) for state, count in found.jobs.items()),
        ("jobs finished in the last hour", found.finished_by_hour[0]),
        ("dead-letter queue", found.dead),
        ("SCFs running", found.scfs_running),
        ("workers alive", f"{found.workers_alive} of {found.workers}"),
        ("waits the longest", f"{oldest.job_id}: {oldest.detail}" if oldest else "nothing"),
        ("replicas of the control plane", found.replicas),
        *(("their settings differ", difference) for difference in found.differences),
    ]
    reply(found, ("WHAT", "NOW"), rows, json=json)


def audit(context: typer.Context, limit: Limit = 50, json: Json = False) -> None:
    """Show the newest entries of the audit trail.

    Example: `zpe admin audit --limit 10`
    """
    with connected(context) as client:
        found = client.admin.audit(limit=limit)
    rows = ((moment(e.at), e.who, e.what, e.subject, e.address) for e in found.entries)
    reply(found, ("AT", "WHO", "WHAT", "SUBJECT", "FROM"), rows, json=json)


def _check_choice(jobs: list[str] | None, code: str | None) -> None:
    if bool(jobs) == bool(code):
        raise InputError("give jobs by id, or --code", code="bad_choice", field="JOB")


def _tell(found: DeadJobsReply, what: str, dry_run: bool) -> None:
    if dry_run:
        print("\n".join(found.done))
        print(f"{len(found.done)} would be {what}", file=sys.stderr)
    else:
        print(f"{len(found.done)} {what}")
    if found.skipped:
        print(f"not in the dead-letter queue: {', '.join(found.skipped)}", file=sys.stderr)
