"""``zpe serve``: the control plane on uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import redis
import structlog
import typer
import uvicorn
from pydantic import SecretStr

from zpe_sdk.errors import ConfigError
from zpe_sdk.forwarded import trusted_proxies
from zpe_sdk.logging import configure_logging
from zpe_server.connections import Connection, raise_descriptors
from zpe_server.embedded import embedded_redis
from zpe_server.environment import DASHBOARD, LOCAL_URL, REDIS_URL, read_settings
from zpe_server.planner import Planner
from zpe_server.settings import LOOPBACK, Settings
from zpe_server.store import refuse_cluster

if TYPE_CHECKING:
    from fastapi import FastAPI

log = structlog.get_logger(__name__)

_READABLE: dict[str, Any] = {"exists": True, "dir_okay": False, "readable": True}
_REPLY_SECONDS = 5
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the embedded Redis [ZPE_DATA_DIR; default: zpe-data].")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of server processes.")] = 1,
    tls_cert: Annotated[
        Path | None,
        typer.Option(envvar="ZPE_TLS_CERT", help="PEM file of the server's certificate.", **_READABLE),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(envvar="ZPE_TLS_KEY", help="PEM file of its private key.", **_READABLE)
    ] = None,
    dev: Annotated[
        bool,
        typer.Option(
            "--dev",
            help="Make an admin token in the data folder, let pages of this machine call; loopback only.",
        ),
    ] = False,
    dashboard: Annotated[
        bool,
        typer.Option(
            envvar="ZPE_DASHBOARD", help="Have the dashboard at /dashboard (with --workers 1, if installed)."
        ),
    ] = True,
) -> None:
    """Run the control plane: accepts jobs, gives work to workers, keeps results.

    Needs no Quantum ESPRESSO. Uses the Redis of ZPE_REDIS_URL, or runs one of
    its own in --data-dir. All other settings are environment variables, such
    as ZPE_ADMIN_TOKEN and ZPE_LEASE_TTL_SECONDS.

    Example:  ZPE_ADMIN_TOKEN=$(openssl rand -hex 32) zpe serve --port 8000
    """
    settings = read_settings()
    trusted_proxies()  # a wrong name in it is told here
    if data_dir is not None:
        settings = settings.model_copy(update={"data_dir": data_dir})
    _check_folder(settings.data_dir)
    if dev:
        settings = _for_development(settings, host)
    if (tls_cert is None) != (tls_key is None):
        raise ConfigError("give --tls-cert and --tls-key together", code="bad_tls", field="--tls-key")
    configure_logging(settings.log_level, settings.log_json)
    raise_descriptors()
    # uvicorn ends by the signal it was sent, once it has shut down; we have a Redis to close after it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.ExitStack() as stack:
        if settings.redis_url is None:
            url = stack.enter_context(embedded_redis(settings.data_dir / "redis"))
            log.info("embedded Redis", data=str((settings.data_dir / "redis").resolve()))
        else:
            url = settings.redis_url.get_secret_value()
            if settings.compute_mode == "remote-queue":
                _check_for_queue(url)
        # The environment is how they reach the factory below, also in processes of its own.
        os.environ[REDIS_URL] = url
        os.environ["ZPE_DATA_DIR"] = str(settings.data_dir)
        # Python processes that it starts import nothing from the folder in which it was started.
        os.environ["PYTHONSAFEPATH"] = "1"
        os.environ["ZPE_CORS_ORIGINS"] = ",".join(settings.cors_origins)
        if settings.admin_token:
            os.environ["ZPE_ADMIN_TOKEN"] = settings.admin_token.get_secret_value()
        scheme = "https" if tls_cert else "http"
        log.info("control plane", url=f"{scheme}://{host}:{port}", workers=workers)
        here = "127.0.0.1" if host == "0.0.0.0" else host
        os.environ[LOCAL_URL] = f"{scheme}://{f'[{here}]' if ':' in here else here}:{port}"
        os.environ[DASHBOARD] = str(int(dashboard and workers == 1))
        options: dict[str, Any] = {
            "factory": True,
            "host": host,
            "port": port,
            "ssl_certfile": tls_cert,
            "ssl_keyfile": tls_key,
            "http": Connection,
            "proxy_headers": False,  # ours believes only whom it is told to
            "log_config": None,
            "access_log": False,
            "timeout_graceful_shutdown": 10,
        }
        if workers > 1:
            uvicorn.run("zpe_server.factory:app", workers=workers, **options)
            return
        server = _Server(options)
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
        if not server.started:
            sys.exit(1)


class _Server(uvicorn.Server):
    """A server that loads what plans inputs beside what answers requests, not after it."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(uvicorn.Config(self._app, **options))
        self._planner = Planner()

    def _app(self) -> FastAPI:
        from zpe_server.factory import app

        return app(self._planner)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, then serve until a signal comes."""
        ahead = asyncio.create_task(self._planner.begin())
        # Where it breaks, the application begins anew.
        ahead.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.to_thread(self.config.load)
        await super().serve(sockets)


def _check_for_queue(url: str) -> None:
    connection = redis.Redis.from_url(
        url, socket_timeout=_REPLY_SECONDS, socket_connect_timeout=_REPLY_SECONDS
    )
    # One that is away now may come later: a control plane waits for its Redis.
    with connection, contextlib.suppress(redis.RedisError):
        refuse_cluster(dict(connection.info("server")))


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"nothing can be written to {folder} ({error.strerror}); set ZPE_DATA_DIR or --data-dir to a "
            "folder of this account",
            code="bad_data_dir",
            field="ZPE_DATA_DIR",
        ) from None


def _for_development(settings: Settings, host: str) -> Settings:
    if host not in _LOOPBACK:
        raise ConfigError("--dev is for this machine alone: --host 127.0.0.1", code="bad_dev", field="--host")
    if not settings.cors_origins:
        settings = settings.model_copy(update={"cors_origins": (LOOPBACK,)})
    if settings.admin_token is not None:
        return settings
    path = settings.data_dir / "admin-token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"zpea_{secrets.token_urlsafe(32)}\n")
    typer.echo(f"Admin token in {path}:  export ZPE_TOKEN=$(cat {path})", err=True)
    return settings.model_copy(update={"admin_token": SecretStr(path.read_text().strip())})
