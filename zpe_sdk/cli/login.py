"""``zpe login``: keep a token where clients of this account find it."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from zpe_sdk.cli.context import Connection


def register(app: typer.Typer) -> None:
    """Add the command to ``zpe``."""
    app.command("login")(login)


def login(
    context: typer.Context,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The control plane.", envvar="ZPE_CONTROL_API_URL")
    ],
) -> None:
    """Check a token and keep it for later commands and notebooks, in a file that only you may read.

    The token is asked for, or read from standard input; it is never an argument, which others could see.

    Example: `zpe login https://zpe.example.org`
    """
    from zpe_sdk.client.blocking_client import ZPEClient
    from zpe_sdk.client.settings import Login

    connection: Connection = context.obj
    piped = not sys.stdin.isatty()
    token = sys.stdin.readline().strip() if piped else getpass("Token: ").strip()
    with ZPEClient(
        url,
        token,
        insecure=connection.insecure,
        ca_bundle=connection.ca_bundle,
        retry_seconds=connection.retry_seconds,
    ) as client:
        client.jobs(limit=1)
    ca_bundle = Path(connection.ca_bundle).resolve() if connection.ca_bundle else None
    Login(url=url, token=token, insecure=connection.insecure, ca_bundle=ca_bundle).save()
    print(f"Logged in to {client.url}; the token is kept in {Login.path()}", file=sys.stderr)
