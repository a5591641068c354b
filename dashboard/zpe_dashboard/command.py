"""``zpe dashboard``: the dashboard alone, for a control plane that runs elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import structlog
import typer
import uvicorn
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from zpe_dashboard.app import PREFIX, connect_to, mount
from zpe_sdk.cli.context import Connection
from zpe_sdk.client.device import login_options
from zpe_sdk.client.settings import Login
from zpe_sdk.errors import ConfigError
from zpe_sdk.forwarded import Forwarded, trusted_proxies
from zpe_sdk.http import base_url
from zpe_sdk.logging import Level, configure_logging
from zpe_sdk.transport import options

log = structlog.get_logger(__name__)


_LEVELS = get_args(get_args(Level)[0])


def _level(given: str) -> str:
    if given.upper() not in _LEVELS:
        raise typer.BadParameter(f"not one of {', '.join(_LEVELS)}")
    return given.upper()


def dashboard(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8050,
    control_url: Annotated[
        str | None,
        typer.Option(
            "--url", envvar="ZPE_CONTROL_API_URL", help="The control plane; default: that of `zpe login`."
        ),
    ] = None,
    log_level: Annotated[
        str,
        typer.Option(
            envvar="ZPE_LOG_LEVEL",
            callback=_level,
            help="DEBUG, INFO, WARNING or ERROR.",
        ),
    ] = "INFO",
) -> None:
    """Run the administrators' dashboard for a control plane elsewhere.

    You log in with the administrator's token in the browser. `zpe serve` has the
    dashboard of its own at /dashboard; this is for one on another machine.

    Example:  zpe dashboard --url https://zpe.example.org
    """
    connection: Connection | None = context.obj
    url = (
        control_url
        or (connection.url if connection else None)
        or (login.url if (login := Login.load()) else None)
    )
    if url is None:
        raise ConfigError(
            "no control plane: give --url or set ZPE_CONTROL_API_URL",
            code="url_missing",
            field="ZPE_CONTROL_API_URL",
        )
    insecure = bool(connection and connection.insecure)
    ca_bundle = connection.ca_bundle if connection else None
    options(base_url(url, insecure=insecure), Path(ca_bundle) if ca_bundle else None)
    configure_logging(log_level, None)
    app = FastAPI(openapi_url=None)
    app.add_middleware(Forwarded, proxies=trusted_proxies())
    app.get("/")(_home)
    bundle = Path(ca_bundle) if ca_bundle else None
    mount(
        app,
        connect_to(url, insecure=insecure, ca_bundle=ca_bundle),
        partial(login_options, url, insecure=insecure, ca_bundle=bundle),
        place=url.rstrip("/"),
        issuer_ca_bundle=bundle,
    )
    log.info("dashboard", url=f"http://{host}:{port}{PREFIX}/", control_plane=url)
    uvicorn.run(
        app,
        host=host,
        port=port,
        proxy_headers=False,  # ours believes only whom it is told to
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=3,
    )


async def _home() -> RedirectResponse:
    return RedirectResponse(f"{PREFIX}/")
