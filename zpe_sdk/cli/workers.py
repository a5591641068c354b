"""List the workers that may run your jobs, and manage your own; an administrator manages all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zpe_sdk.cli import options
from zpe_sdk.cli.context import connected
from zpe_sdk.cli.jobs import Json
from zpe_sdk.cli.output import as_json, moment, reply, write_secret
from zpe_sdk.client.enrolment import enrol_commands
from zpe_sdk.wire import Accepts, EnrollTokenReply, Presence

app = typer.Typer(
    rich_markup_mode="markdown",
    invoke_without_command=True,
    help=__doc__,
)

WorkerId = Annotated[str, typer.Argument(metavar="WORKER", help="The id that `zpe workers` shows.")]
WorkerIds = Annotated[
    list[str], typer.Argument(metavar="WORKER...", help="The ids that `zpe workers` shows.")
]
AcceptsArgument = Annotated[
    Accepts,
    typer.Argument(metavar="own|group|all", help="Its owner's alone, the groups' too, or everybody's."),
]


@app.callback()
def workers(context: typer.Context, json: Json = False) -> None:
    """List the workers that may run your jobs, your own first, and manage your own.

    Example: `zpe workers`
    """
    if context.invoked_subcommand:
        return
    with connected(context) as client:
        found = client.workers.all()
    rows = (
        (
            w.target_id,
            w.name,
            "you" if w.mine else w.owner or "all",
            w.accepts,
            state_of(w),
            f"{w.engine} {w.engine_version or ''}" if w.engine else "",
            w.leases,
            moment(w.last_seen_at),
            "*" if found.active_target_id in (w.target_id, *(["mine"] if w.mine else [])) else "",
        )
        for w in found.targets
    )
    columns = ("WORKER", "NAME", "OWNER", "ACCEPTS", "STATE", "ENGINE", "LEASES", "LAST SEEN", "SELECTED")
    reply(found, columns, rows, json=json)


@app.command("enroll-token")
def enroll_token(
    context: typer.Context,
    accepts: Annotated[
        Accepts, typer.Option(help="Whose jobs it takes: yours alone, your groups' too, or everybody's.")
    ] = "own",
    label: options.Label = None,
    ttl: options.Ttl = None,
    output: options.SecretFile = None,
    json: Json = False,
) -> None:
    """Mint a token with which one worker of your own can enroll, once. It is shown only now.

    Example: `zpe workers enroll-token --accepts group`
    """
    with connected(context) as client:
        minted = client.workers.enroll_token(accepts=accepts, label=label, ttl_seconds=ttl)
    show_token(minted, str(client.url), output, json=json)


def state_of(worker: Presence) -> str:
    """Return a worker's state in a word; what it is told to do goes first, while it is there to do it."""
    return "draining" if worker.alive and worker.draining else worker.state


def show_token(minted: EnrollTokenReply, url: str, output: Path | None, *, json: bool) -> None:
    """Print an enroll token, or write it to a file, and say how a worker enrols with it."""
    if json:
        as_json(minted)
        return
    if output:
        write_secret(minted.token, output)
    else:
        print(minted.token)
    whose = f" of {minted.owner} that accepts {minted.accepts}" if minted.owner else ""
    until = f"{moment(minted.expires_at)} UTC"
    print(f"good for one worker{whose}, until {until}. On the node:", file=sys.stderr)
    print(enrol_commands(url)["terminal"], file=sys.stderr)


@app.command()
def accept(context: typer.Context, worker: WorkerId, accepts: AcceptsArgument, json: Json = False) -> None:
    """Change whose jobs a worker with an owner takes from now on; what it has begun, it finishes.

    Example: `zpe workers accept WORKER group`
    """
    with connected(context) as client:
        done = client.workers.accept(worker, accepts)
    as_json(done) if json else print(f"accepts {accepts}")


@app.command()
def drain(
    context: typer.Context,
    workers: WorkerIds,
    off: Annotated[bool, typer.Option("--off", help="Give it work again.")] = False,
    json: Json = False,
) -> None:
    """Give workers no new work; they finish their current tasks.

    Example: `zpe workers drain WORKER WORKER`
    """
    with connected(context) as client:
        done = [client.workers.drain(worker, not off) for worker in workers]
    as_json(done) if json else print("works again" if off else "draining")


@app.command()
def revoke(context: typer.Context, worker: WorkerId, json: Json = False) -> None:
    """Shut a worker of yours out; others get what it has not finished.

    Example: `zpe workers revoke WORKER`
    """
    with connected(context) as client:
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
    with connected(context) as client:
        selected = client.workers.select(target)
    as_json(selected) if json else print(selected.active_target_id or "any")
