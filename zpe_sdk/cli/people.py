"""``zpe whoami``, and what administrators do about people: tokens, groups, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from zpe_sdk.cli import options
from zpe_sdk.cli.context import connected
from zpe_sdk.cli.jobs import Json
from zpe_sdk.cli.output import as_json, moment, reply, write_secret
from zpe_sdk.wire.names import PersonRole

if TYPE_CHECKING:
    from zpe_sdk.wire import Me


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
    with connected(context) as client:
        me = client.me() if show_jobs is None else client.show_jobs(show_jobs)
    rows = [
        ("name", me.name),
        ("role", me.role),
        ("groups", ", ".join(me.groups)),
        ("groups see your jobs", "yes" if me.shows_jobs else "no"),
        *_limits(me),
    ]
    reply(me, ("", ""), rows, json=json)


def token(
    context: typer.Context,
    owner: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose: jobs carry the name, and the audit trail.")
    ],
    role: Annotated[
        PersonRole,
        typer.Option(metavar="researcher|observer|admin", help="An observer sees all, and changes nothing."),
    ] = "researcher",
    label: options.Label = None,
    ttl: options.Ttl = None,
    output: options.SecretFile = None,
    json: Json = False,
) -> None:
    """Mint a token of a person, for `zpe login` and the dashboard. It is shown only now.

    Example: `zpe admin token ada -o ada.token`
    """
    with connected(context) as client:
        minted = client.admin.api_token(owner, role=role, ttl_seconds=ttl, label=label)
    if json:
        as_json(minted)
    elif output:
        write_secret(minted.token, output)
    else:
        print(minted.token)


def tokens(context: typer.Context, json: Json = False) -> None:
    """List the tokens of people that are in force.

    Example: `zpe admin tokens`
    """
    with connected(context) as client:
        found = client.admin.api_tokens()
    rows = (
        (t.token_id, t.owner, t.role, t.label, moment(t.created_at), moment(t.expires_at))
        for t in found.tokens
    )
    reply(found, ("TOKEN ID", "NAME", "ROLE", "LABEL", "MINTED", "EXPIRES"), rows, json=json)


def groups(context: typer.Context, json: Json = False) -> None:
    """List the groups of researchers.

    Example: `zpe admin groups`
    """
    with connected(context) as client:
        found = client.admin.groups()
    rows = ((g.name, ", ".join(g.members)) for g in found.groups)
    reply(found, ("GROUP", "MEMBERS"), rows, json=json)


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
    with connected(context) as client:
        found = client.admin.group(name, add=add or (), remove=remove or ())
    as_json(found) if json else print(", ".join(found.members) or "nobody is left")


def owners(context: typer.Context, json: Json = False) -> None:
    """List the researchers: their groups, workers of their own, what they have and may have.

    Example: `zpe admin owners`
    """
    with connected(context) as client:
        found = client.admin.owners()
    rows = (
        (o.name, ", ".join(o.groups), o.workers, *(value for _, value in _limits(o))) for o in found.owners
    )
    reply(
        found,
        ("OWNER", "GROUPS", "WORKERS", "JOBS", "SCFS", "BYTES", "PRIORITY", "SCF HOURS"),
        rows,
        json=json,
    )


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
    given = {"priority": priority, "jobs": jobs, "scfs": scfs, "bytes": bytes_}
    with connected(context) as client:
        if usual or any(value is not None for value in given.values()):
            found = client.admin.limit(owner, **given)
        else:
            found = client.admin.owner(owner)
    reply(found, ("", ""), [("groups", ", ".join(found.groups)), *_limits(found)], json=json)


def retention(
    context: typer.Context,
    owner: Annotated[str | None, typer.Argument(metavar="[OWNER", help="The researcher.")] = None,
    project: Annotated[str | None, typer.Argument(metavar="PROJECT]", help="The project.")] = None,
    days: Annotated[float | None, typer.Option(help="For how long, once a job is over.")] = None,
    usual: Annotated[bool, typer.Option("--usual", help="As for all.")] = False,
    json: Json = False,
) -> None:
    """Say how long the jobs of a project are remembered once they are over, or show of which that is said.

    What would go sooner than before stays for a day.

    Example: `zpe admin retention ada screening --days 90`
    """
    with connected(context) as client:
        if owner is None:
            found = client.admin.retention()
            rows = [(each.owner, each.project, f"{each.days:g}") for each in found.projects]
            reply(found, ("OWNER", "PROJECT", "DAYS"), rows, json=json)
            return
        if project is None or (days is None) != usual:
            raise typer.BadParameter("give OWNER and PROJECT, and either --days or --usual")
        said = client.admin.retain(owner, project, days)
    for_how_long = "as all" if said.days is None else f"for {said.days:g} days"
    as_json(said) if json else print(
        f"jobs of {said.project} are remembered {for_how_long} once they are over; {said.jobs} are"
    )


def _limits(me: Me) -> list[tuple[str, str]]:
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
