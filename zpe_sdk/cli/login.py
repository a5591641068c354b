"""``zpe login``: keep a token where clients of this account find it."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated

import typer

from zpe_sdk.cli.context import Connection
from zpe_sdk.errors import ConfigError
from zpe_sdk.plain import plain


def login(
    context: typer.Context,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The control plane.", envvar="ZPE_CONTROL_API_URL")
    ],
    device: Annotated[
        bool | None,
        typer.Option(
            "--device/--with-token",
            help="Log in at the issuer that the control plane names, with any browser; or give a token. "
            "[default: at a terminal, the issuer if there is one]",
        ),
    ] = None,
) -> None:
    """Log in, and keep a token for later commands and notebooks, in a file that only you may read.

    Where the control plane has an issuer of logins, a browser does it: here or on another machine. Else the
    token of an administrator is asked for, or read from standard input; it is never an argument, which others
    could see.

    Example: `zpe login https://zpe.example.org`
    """
    from zpe_sdk.client.blocking_client import ZPEClient
    from zpe_sdk.client.device import device_token, login_options
    from zpe_sdk.client.settings import Login

    connection: Connection = context.obj
    ca_bundle = Path(connection.ca_bundle).resolve() if connection.ca_bundle else None
    at_terminal = sys.stdin.isatty()
    by_issuer = None
    if device or (device is None and at_terminal):
        options = login_options(url, insecure=connection.insecure, ca_bundle=ca_bundle)
        if device and not options.issuer:
            raise ConfigError("this control plane has no issuer of logins", code="no_device_login")
        by_issuer = (
            device_token(options.issuer, options, _show, ca_bundle=ca_bundle) if options.issuer else None
        )
    token = by_issuer or (getpass("Token: ") if at_terminal else sys.stdin.readline()).strip()
    with ZPEClient(
        url,
        token,
        insecure=connection.insecure,
        ca_bundle=connection.ca_bundle,
        retry_seconds=connection.retry_seconds,
    ) as client:
        if by_issuer:
            token = client.keep_login().token
        else:
            client.jobs(limit=1)
    Login(url=url, token=token, insecure=connection.insecure, ca_bundle=ca_bundle).save()
    print(f"Logged in to {client.url}; the token is kept in {Login.path()}", file=sys.stderr)


def _show(address: str, code: str) -> None:
    print(f"Open {plain(address)} in a browser, and enter the code {plain(code)}", file=sys.stderr)
