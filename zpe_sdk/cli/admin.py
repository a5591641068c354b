"""For administrators: tokens, workers, leases, the dead-letter queue, switches, the audit trail."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zpe_sdk.cli.context import Connection
from zpe_sdk.cli.jobs import Json
from zpe_sdk.cli.output import as_json, moment, table, write_secret
from zpe_sdk.cli.workers import limit_rows
from zpe_sdk.client.enrolment import enrol_commands
from zpe_sdk.errors import InputError
from zpe_sdk.wire import Accepts
from zpe_sdk.wire.names import PersonRole

if TYPE_CHECKING:
    from zpe_sdk.wire import DeadJobsReply, RevokeReply

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=__doc__,
)

Ttl = Annotated[int | None, typer.Option("--ttl", min=1, help="Seconds until it expires.")]
Label = Annotated[str | None, typer.Option(help="A note on its purpose.")]
Code = Annotated[str | None, typer.Option(help="Only jobs that failed with this code.")]
Limit = Annotated[int, typer.Option(min=1, help="How many.")]
ServerId = Annotated[str, typer.Argument(metavar="WORKER", help="The id that `zpe admin workers` shows.")]
ServerIds = Annotated[
    list[str], typer.Argument(metavar="WORKER...", help="The ids that `zpe admin workers` shows.")
]
JobIds = Annotated[list[str] | None, typer.Argument(metavar="[JOB]...", help="Ids of dead jobs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which jobs these are, and do nothing.")]


@app.command("enroll-token")
def enroll_token(
    context: typer.Context,
    label: Label = None,
    ttl: Ttl = None,
    owner: Annotated[
        str | None, typer.Option(help="The researcher whose worker it becomes; without it: nobody's.")
    ] = None,
    accepts: Annotated[
        Accepts | None, typer.Option(help="Whose jobs a worker with an owner takes. [default: own]")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it to this file, which only you may read."),
    ] = None,
    json: Json = False,
) -> None:
    """Mint a token with which one compute node can enroll, once. It is shown only now.

    Example: `zpe admin enroll-token --label lab-pc-3 --ttl 3600 -o enroll-token`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        minted = client.admin.enroll_token(label=label, ttl_seconds=ttl, owner=owner, accepts=accepts)
    if json:
        as_json(minted)
        return
    if output:
        write_secret(minted.token, output)
    else:
        print(minted.token)
    print(f"good for one worker, until {moment(minted.expires_at)} UTC. On the node:", file=sys.stderr)
    print(enrol_commands(str(client.url))["terminal"], file=sys.stderr)


@app.command("enroll-tokens")
def enroll_tokens(context: typer.Context, json: Json = False) -> None:
    """List the enroll tokens that nobody has used yet.

    Example: `zpe admin enroll-tokens`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.enroll_tokens()
    if json:
        as_json(found)
        return
    rows = (
        (t.token_id, t.label, t.owner, t.accepts, moment(t.created_at), moment(t.expires_at))
        for t in found.enroll_tokens
    )
    table(("TOKEN ID", "LABEL", "OWNER", "ACCEPTS", "MINTED", "EXPIRES"), rows)


@app.command()
def token(
    context: typer.Context,
    owner: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose: jobs carry the name, and the audit trail.")
    ],
    role: Annotated[
        PersonRole,
        typer.Option(metavar="researcher|observer|admin", help="An observer sees all, and changes nothing."),
    ] = "researcher",
    label: Label = None,
    ttl: Ttl = None,
    json: Json = False,
) -> None:
    """Mint a token of a person, for `zpe login` and the dashboard. It is shown only now.

    Example: `zpe admin token ada`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        minted = client.admin.api_token(owner, role=role, ttl_seconds=ttl, label=label)
    if json:
        as_json(minted)
    else:
        print(minted.token)


@app.command()
def tokens(context: typer.Context, json: Json = False) -> None:
    """List the tokens of people that are in force.

    Example: `zpe admin tokens`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.api_tokens()
    if json:
        as_json(found)
        return
    rows = (
        (t.token_id, t.owner, t.role, t.label, moment(t.created_at), moment(t.expires_at))
        for t in found.tokens
    )
    table(("TOKEN ID", "NAME", "ROLE", "LABEL", "MINTED", "EXPIRES"), rows)


@app.command()
def revoke(
    context: typer.Context,
    worker: Annotated[str | None, typer.Option(help="A compute node, by its id.")] = None,
    token: Annotated[str | None, typer.Option(help="The token of a person, by its id.")] = None,
    enroll_token: Annotated[str | None, typer.Option(help="An enroll token, by its id.")] = None,
    and_its_results: Annotated[
        bool, typer.Option("--and-its-results", help="Also take back the results of this compute node.")
    ] = False,
    json: Json = False,
) -> None:
    """Revoke a compute node or a token.

    With `--and-its-results`, the node's SCFs that are kept for later jobs are dropped, unfinished jobs
    compute them again, and finished jobs that contain them are marked.

    Example: `zpe admin revoke --worker WORKER --and-its-results`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        calls: list[tuple[str | None, Callable[[str], RevokeReply]]] = [
            (worker, client.admin.revoke_worker),
            (token, client.admin.revoke_api_token),
            (enroll_token, client.admin.revoke_enroll_token),
        ]
        chosen = [(subject, call) for subject, call in calls if subject is not None]
        if len(chosen) != 1:
            raise typer.BadParameter("give one of --worker, --token and --enroll-token")
        if and_its_results:
            if worker is None:
                raise typer.BadParameter("--and-its-results is for a --worker")
            reply = client.admin.revoke_worker(worker, and_its_results=True)
        else:
            subject, call = chosen[0]
            reply = call(subject)
    if json:
        as_json(reply)
    elif and_its_results:
        print(
            f"{reply.revoked_count} revoked; {reply.scfs_dropped} kept SCFs dropped, "
            f"{reply.jobs_reopened} jobs compute again, {reply.jobs_marked} finished ones marked"
        )
    else:
        print(f"{reply.revoked_count} revoked")


@app.command()
def scfs(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option(help="Only SCFs of this owner's jobs.")] = None,
    worker: Annotated[str | None, typer.Option(help="Only SCFs of this compute node, by id or name.")] = None,
    version: Annotated[str | None, typer.Option(help="Only SCFs of this version of pw.x.")] = None,
    pseudopotential: Annotated[
        str | None, typer.Option(help="Only with this file, or the beginning of its SHA-256.")
    ] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Drop them: later jobs compute them again.")] = False,
    json: Json = False,
) -> None:
    """List the SCFs kept for later jobs, by origin, or drop some.

    Example: `zpe admin scfs --worker lab-pc-3 --drop`
    """
    connection: Connection = context.obj
    chosen = {"owner": owner, "worker": worker, "version": version, "pseudopotential": pseudopotential}
    with connection.client() as client:
        if drop:
            gone = client.admin.drop_scfs(**chosen)
            as_json(gone) if json else print(f"{gone.dropped} dropped")
            return
        found = client.admin.scfs(**chosen)
    if json:
        as_json(found)
        return
    rows = (
        (
            s.count,
            s.worker,
            s.server_id,
            s.engine_version,
            ", ".join(f"{name} {digest[:8]}" for name, digest in sorted(s.pseudopotentials.items())),
            s.owner,
        )
        for s in found.scfs
    )
    table(("SCFS", "WORKER", "ID", "VERSION", "PSEUDOPOTENTIALS", "OWNER"), rows)


@app.command()
def workers(
    context: typer.Context,
    revoked: Annotated[bool, typer.Option("--revoked", help="Also those that were shut out.")] = False,
    json: Json = False,
) -> None:
    """List the compute nodes and what they run now, the most recently active first.

    Example: `zpe admin workers`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.workers(revoked=revoked)
    if json:
        as_json(found)
        return
    rows = []
    for w in found.workers:
        state = "revoked" if w.revoked else "draining" if w.draining else "alive" if w.alive else "silent"
        engine = f"{w.capabilities.engine} {w.capabilities.engine_version or ''}" if w.capabilities else ""
        zpe = (w.capabilities and w.capabilities.zpe_version) or ""
        tags = ", ".join(w.capabilities.tags) if w.capabilities else ""
        runs = (f"{s.job_name or s.job_id[:8]} SCF {s.task + 1} ({s.seconds:.0f} s)" for s in w.running)
        seen = moment(w.last_seen_at)
        rows.append(
            (
                *(w.server_id, w.name, w.owner, w.accepts, state, engine, zpe, tags),
                *(", ".join(runs), w.scf_done, w.scf_failed, seen),
            )
        )
    table(
        (
            "WORKER",
            "NAME",
            "OWNER",
            "ACCEPTS",
            "STATE",
            "ENGINE",
            "ZPE",
            "TAGS",
            "RUNS NOW",
            "DONE",
            "FAILED",
            "LAST SEEN",
        ),
        rows,
    )


@app.command()
def drain(
    context: typer.Context,
    workers: ServerIds,
    off: Annotated[bool, typer.Option("--off", help="Give it work again.")] = False,
    json: Json = False,
) -> None:
    """Give compute nodes no new work; they finish their current tasks.

    Example: `zpe admin drain WORKER WORKER`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        done = [client.admin.drain(worker, not off) for worker in workers]
    as_json(done) if json else print("works again" if off else "draining")


@app.command()
def accept(
    context: typer.Context,
    worker: ServerId,
    accepts: Annotated[
        Accepts, typer.Argument(metavar="own|group|all", help="Its owner's, the groups' too, or everybody's.")
    ],
    json: Json = False,
) -> None:
    """Change whose jobs a compute node with an owner takes from now on.

    Example: `zpe admin accept WORKER all`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        done = client.admin.accept(worker, accepts)
    as_json(done) if json else print(f"accepts {accepts}")


@app.command()
def groups(context: typer.Context, json: Json = False) -> None:
    """List the groups of researchers.

    Example: `zpe admin groups`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.groups()
    if json:
        as_json(found)
        return
    table(("GROUP", "MEMBERS"), ((g.name, ", ".join(g.members)) for g in found.groups))


@app.command()
def group(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="GROUP", help="The group.")],
    add: Annotated[list[str] | None, typer.Option(help="Who joins it; may be given again.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="Who leaves it; may be given again.")] = None,
    json: Json = False,
) -> None:
    """Change who is in a group of researchers; it begins with its first member and ends with its last.

    Example: `zpe admin group surfaces --add ada --add grace`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.group(name, add=add or (), remove=remove or ())
    as_json(found) if json else print(", ".join(found.members) or "nobody is left")


@app.command()
def owners(context: typer.Context, json: Json = False) -> None:
    """List the researchers: their groups, workers of their own, what they have and may have.

    Example: `zpe admin owners`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.owners()
    if json:
        as_json(found)
        return
    rows = (
        (o.name, ", ".join(o.groups), o.workers, *(value for _, value in limit_rows(o))) for o in found.owners
    )
    table(("OWNER", "GROUPS", "WORKERS", "JOBS", "SCFS", "BYTES", "PRIORITY", "SCF HOURS"), rows)


@app.command()
def limits(
    context: typer.Context,
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The researcher.")],
    priority: Annotated[
        int | None, typer.Option(help="The highest priority that counts against the jobs of others.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="How many jobs may be queued or started.")] = None,
    scfs: Annotated[int | None, typer.Option(help="How many SCFs workers of others may run at once.")] = None,
    bytes_: Annotated[
        int | None, typer.Option("--bytes", help="How much may be kept of requests and results.")
    ] = None,
    usual: Annotated[bool, typer.Option("--usual", help="What goes for all.")] = False,
    json: Json = False,
) -> None:
    """Show what a researcher has and may have, or say what they may; what is not given goes as for all.

    Example: `zpe admin limits ada --priority 10 --jobs 500`
    """
    connection: Connection = context.obj
    given = {"priority": priority, "jobs": jobs, "scfs": scfs, "bytes": bytes_}
    with connection.client() as client:
        if usual or any(value is not None for value in given.values()):
            found = client.admin.limit(owner, **given)
        else:
            found = client.admin.owner(owner)
    if json:
        as_json(found)
    else:
        table(("", ""), [("groups", ", ".join(found.groups)), *limit_rows(found)])


@app.command()
def leases(context: typer.Context, json: Json = False) -> None:
    """List the leases in force, the first to expire first.

    Example: `zpe admin leases`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.leases()
    if json:
        as_json(found)
        return
    rows = (
        (s.lease_id, s.job_id, s.worker, len(s.tasks), f"{s.expires_in_seconds:.0f} s") for s in found.leases
    )
    table(("LEASE", "JOB", "WORKER", "SCFS", "EXPIRES IN"), rows)


@app.command("release-lease")
def release_lease(
    context: typer.Context,
    lease: Annotated[str, typer.Argument(metavar="LEASE", help="The id that `zpe admin leases` shows.")],
    json: Json = False,
) -> None:
    """Release a lease; its unfinished SCFs go to other workers.

    Example: `zpe admin release-lease LEASE`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        done = client.admin.release_lease(lease)
    as_json(done) if json else print("released")


@app.command()
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
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.dead_jobs(limit=limit, offset=offset, code=code)
    if json:
        as_json(found)
        return
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
    table(("JOB", "NAME", "SIDE", "CODE", "WORKER", "FAILED", "MESSAGE"), rows)


@app.command()
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
    connection: Connection = context.obj
    _check_choice(jobs, code)
    with connection.client() as client:
        found = client.admin.requeue(jobs or None, code=code, dry_run=dry_run)
    as_json(found) if json else _tell(found, "requeued", dry_run)


@app.command()
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
    connection: Connection = context.obj
    _check_choice(jobs, code)
    with connection.client() as client:
        found = client.admin.discard(jobs or None, code=code, dry_run=dry_run)
    as_json(found) if json else _tell(found, "discarded", dry_run)


@app.command()
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
    connection: Connection = context.obj
    with connection.client() as client:
        if submission is None and dequeue is None:
            found = client.admin.flags()
        else:
            found = client.admin.set_flags(submission_enabled=submission, dequeue_enabled=dequeue)
    if json:
        as_json(found)
        return
    switches = {"submission": found.submission_enabled, "dequeue": found.dequeue_enabled}
    table(("SWITCH", "STATE"), ((name, "on" if state else "off") for name, state in switches.items()))


@app.command()
def overview(context: typer.Context, json: Json = False) -> None:
    """Show the service at a glance: jobs, workers, the longest wait.

    Example: `zpe admin overview`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.overview()
    if json:
        as_json(found)
        return
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
    table(("WHAT", "NOW"), rows)


@app.command()
def audit(context: typer.Context, limit: Limit = 50, json: Json = False) -> None:
    """Show the newest entries of the audit trail.

    Example: `zpe admin audit --limit 10`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.admin.audit(limit=limit)
    if json:
        as_json(found)
        return
    rows = ((moment(e.at), e.who, e.what, e.subject, e.address) for e in found.entries)
    table(("AT", "WHO", "WHAT", "SUBJECT", "FROM"), rows)


def _check_choice(jobs: list[str] | None, code: str | None) -> None:
    if bool(jobs) == bool(code):
        raise InputError("give jobs by id, or --code", code="bad_choice", field="JOB")


def _tell(reply: DeadJobsReply, what: str, dry_run: bool) -> None:
    print("\n".join(reply.done) if dry_run else f"{len(reply.done)} {what}")
    if reply.skipped:
        print(f"not in the dead-letter queue: {', '.join(reply.skipped)}", file=sys.stderr)
