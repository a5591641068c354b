"""List the workers that may run your jobs, and manage your own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zpe_sdk.cli.context import Connection
from zpe_sdk.cli.jobs import Json
from zpe_sdk.cli.output import as_json, moment, table, write_secret
from zpe_sdk.client.enrolment import enrol_commands
from zpe_sdk.wire import Accepts

if TYPE_CHECKING:
    from zpe_sdk.wire import Me

app = typer.Typer(
    rich_markup_mode="markdown",
    invoke_without_command=True,
    help=__doc__,
)

WorkerId = Annotated[str, typer.Argument(metavar="WORKER", help="The id that `zpe workers` shows.")]
AcceptsArgument = Annotated[
    Accepts, typer.Argument(metavar="own|group|all", help="Yours alone, your groups' too, or everybody's.")
]


@app.callback()
def workers(context: typer.Context, json: Json = False) -> None:
    """List the workers that may run your jobs, your own first, and manage your own.

    Example: `zpe workers`
    """
    if context.invoked_subcommand:
        return
    connection: Connection = context.obj
    with connection.client() as client:
        found = client.workers.all()
    if json:
        as_json(found)
        return
    rows = (
        (
            w.target_id,
            w.name,
            "you" if w.mine else w.owner or "all",
            w.accepts,
            "draining" if w.draining else "alive" if w.alive else "silent",
            f"{w.engine} {w.engine_version or ''}" if w.engine else "",
            w.leases,
            moment(w.last_seen_at),
            "*" if found.active_target_id in (w.target_id, "mine" if w.mine else None) else "",
        )
        for w in found.targets
    )
    table(("WORKER", "NAME", "OWNER", "ACCEPTS", "STATE", "ENGINE", "LEASES", "LAST SEEN", "SELECTED"), rows)


@app.command("enroll-token")
def enroll_token(
    context: typer.Context,
    accepts: Annotated[
        Accepts, typer.Option(help="Whose jobs it takes: yours alone, your groups' too, or everybody's.")
    ] = "own",
    label: Annotated[str | None, typer.Option(help="A note on its purpose.")] = None,
    ttl: Annotated[int | None, typer.Option("--ttl", min=1, help="Seconds until it expires.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it to this file, which only you may read."),
    ] = None,
    json: Json = False,
) -> None:
    """Mint a token with which one worker of your own can enroll, once. It is shown only now.

    Example: `zpe workers enroll-token --accepts group`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        minted = client.workers.enroll_token(accepts=accepts, label=label, ttl_seconds=ttl)
    if json:
        as_json(minted)
        return
    if output:
        write_secret(minted.token, output)
    else:
        print(minted.token)
    print(
        f"good for one worker of {minted.owner} that accepts {minted.accepts}, "
        f"until {moment(minted.expires_at)} UTC. On the node:",
        file=sys.stderr,
    )
    print(enrol_commands(str(client.url))["terminal"], file=sys.stderr)


@app.command()
def accept(context: typer.Context, worker: WorkerId, accepts: AcceptsArgument, json: Json = False) -> None:
    """Change whose jobs a worker of yours takes from now on; what it has begun, it finishes.

    Example: `zpe workers accept WORKER group`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        done = client.workers.accept(worker, accepts)
    as_json(done) if json else print(f"accepts {accepts}")


@app.command()
def drain(
    context: typer.Context,
    worker: WorkerId,
    off: Annotated[bool, typer.Option("--off", help="Give it work again.")] = False,
    json: Json = False,
) -> None:
    """Give a worker of yours no new work; it finishes its current tasks.

    Example: `zpe workers drain WORKER`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        done = client.workers.drain(worker, not off)
    as_json(done) if json else print("works again" if off else "draining")


@app.command()
def revoke(context: typer.Context, worker: WorkerId, json: Json = False) -> None:
    """Shut a worker of yours out; others get what it has not finished.

    Example: `zpe workers revoke WORKER`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        done = client.workers.revoke(worker)
    as_json(done) if json else print("revoked")


@app.command()
def select(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A worker's name or id, a group, `mine` or `any`.")
    ],
    json: Json = False,
) -> None:
    """Choose where jobs run that do not say `--where`.

    Example: `zpe workers select mine`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        selected = client.workers.select(target)
    as_json(selected) if json else print(selected.active_target_id or "any")


def limit_rows(me: Me) -> list[tuple[str, str]]:
    """Return what somebody has and may have, as rows of a table."""

    def of(has: int, may: int | None) -> str:
        return str(has) if may is None else f"{has} of {may}"

    return [
        ("jobs queued or started", of(me.usage.jobs, me.limits.jobs)),
        ("SCFs running on workers of others", of(me.usage.scfs, me.limits.scfs)),
        ("bytes kept", of(me.usage.bytes, me.limits.bytes)),
        ("highest priority among all", str(me.limits.priority)),
        ("SCF hours this month", f"{me.usage.scf_hours:.1f}"),
    ]


def whoami(
    context: typer.Context,
    show_jobs: Annotated[
        bool | None,
        typer.Option("--show-jobs/--hide-jobs", help="Let your groups see your jobs and results, or not."),
    ] = None,
    json: Json = False,
) -> None:
    """Show who you are here, your groups, and whether these see your jobs.

    Example: `zpe whoami --show-jobs`
    """
    connection: Connection = context.obj
    with connection.client() as client:
        me = client.me() if show_jobs is None else client.show_jobs(show_jobs)
    if json:
        as_json(me)
        return
    table(
        ("", ""),
        [
            ("name", me.name),
            ("role", me.role),
            ("groups", ", ".join(me.groups)),
            ("groups see your jobs", "yes" if me.shows_jobs else "no"),
            *limit_rows(me),
        ],
    )
