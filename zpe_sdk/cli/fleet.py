"""What administrators do about workers: how they get in, what they run, what they have computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from zpe_sdk.cli import options
from zpe_sdk.cli.context import connected
from zpe_sdk.cli.jobs import Json
from zpe_sdk.cli.output import as_json, moment, reply
from zpe_sdk.cli.workers import show_token, state_of
from zpe_sdk.wire import Accepts

if TYPE_CHECKING:
    from zpe_sdk.wire import RevokeReply, WorkerStatus


def enroll_token(
    context: typer.Context,
    label: options.Label = None,
    ttl: options.Ttl = None,
    owner: Annotated[
        str | None, typer.Option(help="The researcher whose worker it becomes; without it: nobody's.")
    ] = None,
    accepts: Annotated[
        Accepts | None, typer.Option(help="Whose jobs a worker with an owner takes. [default: own]")
    ] = None,
    output: options.SecretFile = None,
    json: Json = False,
) -> None:
    """Mint a token with which one compute node can enroll, once. It is shown only now.

    Example: `zpe admin enroll-token --label lab-pc-3 --ttl 3600 -o enroll-token`
    """
    with connected(context) as client:
        minted = client.admin.enroll_token(label=label, ttl_seconds=ttl, owner=owner, accepts=accepts)
    show_token(minted, str(client.url), output, json=json)


def enroll_tokens(context: typer.Context, json: Json = False) -> None:
    """List the enroll tokens that nobody has used yet.

    Example: `zpe admin enroll-tokens`
    """
    with connected(context) as client:
        found = client.admin.enroll_tokens()
    rows = (
        (t.token_id, t.label, t.owner, t.accepts, moment(t.created_at), moment(t.expires_at))
        for t in found.enroll_tokens
    )
    reply(found, ("TOKEN ID", "LABEL", "OWNER", "ACCEPTS", "MINTED", "EXPIRES"), rows, json=json)


def workers(
    context: typer.Context,
    revoked: Annotated[bool, typer.Option("--revoked", help="Also those that were shut out.")] = False,
    json: Json = False,
) -> None:
    """List the compute nodes and what they run now, the most recently active first.

    Example: `zpe admin workers`
    """
    with connected(context) as client:
        found = client.admin.workers(revoked=revoked)
    columns = (
        *("WORKER", "NAME", "OWNER", "ACCEPTS", "STATE", "ENGINE", "ZPE", "TAGS", "CORES", "GB", "GB FREE"),
        *("RUNS NOW", "DONE", "FAILED", "LAST SEEN"),
    )
    reply(found, columns, map(_row, found.workers), json=json)


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
    with connected(context) as client:
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
            done = client.admin.revoke_worker(worker, and_its_results=True)
        else:
            subject, call = chosen[0]
            done = call(subject)
    if json:
        as_json(done)
    elif and_its_results:
        print(
            f"{done.revoked_count} revoked; {done.scfs_dropped} kept SCFs dropped, "
            f"{done.jobs_reopened} jobs compute again, {done.jobs_marked} finished ones marked"
        )
    else:
        print(f"{done.revoked_count} revoked")


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
    chosen = {"owner": owner, "worker": worker, "version": version, "pseudopotential": pseudopotential}
    with connected(context) as client:
        if drop:
            gone = client.admin.drop_scfs(**chosen)
            as_json(gone) if json else print(f"{gone.dropped} dropped")
            return
        found = client.admin.scfs(**chosen)
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
    reply(found, ("SCFS", "WORKER", "ID", "VERSION", "PSEUDOPOTENTIALS", "OWNER"), rows, json=json)


def leases(context: typer.Context, json: Json = False) -> None:
    """List the leases in force, the first to expire first.

    Example: `zpe admin leases`
    """
    with connected(context) as client:
        found = client.admin.leases()
    rows = (
        (s.lease_id, s.job_id, s.job_name, s.worker, len(s.tasks), f"{s.expires_in_seconds:.0f} s")
        for s in found.leases
    )
    reply(found, ("LEASE", "JOB", "NAME", "WORKER", "SCFS", "EXPIRES IN"), rows, json=json)


def release_lease(
    context: typer.Context,
    lease: Annotated[str, typer.Argument(metavar="LEASE", help="The id that `zpe admin leases` shows.")],
    json: Json = False,
) -> None:
    """Release a lease; its unfinished SCFs go to other workers.

    Example: `zpe admin release-lease LEASE`
    """
    with connected(context) as client:
        done = client.admin.release_lease(lease)
    as_json(done) if json else print("released")


def _row(worker: WorkerStatus) -> tuple[object, ...]:
    able = worker.capabilities
    runs = (f"{s.job_name or s.job_id[:8]} SCF {s.task + 1} ({s.seconds:.0f} s)" for s in worker.running)
    state = "revoked" if worker.revoked else state_of(worker)
    return (
        *(worker.server_id, worker.name, worker.owner, worker.accepts, state),
        f"{able.engine} {able.engine_version or ''}" if able else "",
        able and able.zpe_version,
        ", ".join(able.tags) if able else "",
        *(able and able.cores, able and able.memory_gb, worker.memory_free_gb),
        *(", ".join(runs), worker.scf_done, worker.scf_failed, moment(worker.last_seen_at)),
    )
