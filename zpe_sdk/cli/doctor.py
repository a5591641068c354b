"""``zpe doctor``: is this machine fit to be a compute node, or to carry the control plane?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from zpe_sdk.checks import Check
from zpe_sdk.cli.context import Connection
from zpe_sdk.cli.jobs import Json
from zpe_sdk.cli.output import as_json, table
from zpe_sdk.extras import loaded
from zpe_sdk.plain import plain

# Where the control plane's own checks come from, if it is installed here.
GROUP = "zpe.doctor"


def doctor(
    context: typer.Context,
    server: Annotated[
        bool, typer.Option("--server", help="Check the machine of the control plane: Redis, tokens, results.")
    ] = False,
    pseudo_dir: Annotated[Path | None, typer.Option(help="As for `zpe worker`.")] = None,
    pw: Annotated[str | None, typer.Option(metavar="PATH", help="As for `zpe worker`.")] = None,
    work_dir: Annotated[Path | None, typer.Option(help="As for `zpe worker`.")] = None,
    json: Json = False,
) -> None:
    """Check this machine and its settings, and say how to fix what is wrong.

    Looks at the same ZPE_ variables as `zpe worker` (with --server: as `zpe serve`). Uses up no enroll
    token and computes nothing. Exit status 1 if anything failed.

    Example: `zpe --url https://zpe.example.org doctor --pseudo-dir ~/pseudo`
    """
    if server:
        checks = list(_server_checks()())
    else:
        connection: Connection = context.obj
        checks = list(
            _worker_checks(
                {
                    "control_api_url": connection.url,
                    "insecure": connection.insecure or None,
                    "ca_bundle": connection.ca_bundle,
                    "pseudo_dir": pseudo_dir,
                    "pw_path": pw,
                    "work_dir": work_dir,
                }
            )
        )
    as_json(checks) if json else _show(checks)
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)


def _worker_checks(options: dict[str, object]) -> Iterable[Check]:
    from zpe_sdk.worker.doctor import worker_checks
    from zpe_sdk.worker.settings import settings_from

    return worker_checks(settings_from({name: value for name, value in options.items() if value is not None}))


def _server_checks() -> Callable[[], Iterable[Check]]:
    [entry] = entry_points(group=GROUP, name="server")
    checks: Callable[[], Iterable[Check]] = loaded(entry, "zpe doctor --server")
    return checks


def _show(checks: list[Check]) -> None:
    table(("CHECK", "STATE", "FOUND"), ((check.name, check.state, check.found) for check in checks))
    for check in checks:
        if check.hint:
            print(plain(f"{check.state}: {check.name}: {check.hint}"))
