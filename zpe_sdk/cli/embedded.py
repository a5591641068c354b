"""``zpe embedded``: a whole service on this machine, for a notebook server or whatever else runs in it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Annotated

import typer

from zpe_sdk.client.local_service import EMBEDDED_FOLDER, LocalService, local_service
from zpe_sdk.errors import ConfigError


def embedded(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND]...", help="What to run in it, with its arguments, after `--`."),
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder for jobs, results and logs.")] = EMBEDDED_FOLDER,
    mock: Annotated[bool, typer.Option("--mock", help="Use springs in place of pw.x.")] = False,
    pseudo_dir: Annotated[
        Path | None, typer.Option(envvar="ZPE_PSEUDO_DIR", help="Folder of the pseudopotential files.")
    ] = None,
    start_seconds: Annotated[
        float | None, typer.Option(min=0, help="How long it may take to start. [default: as it takes]")
    ] = None,
) -> None:
    """Start a control plane and a worker here, run a command that uses them, and stop everything with it.

    In the command, `ZPEClient()` and `zpe` find the service by themselves. Without a command, it runs until
    Ctrl-C.

    Example: `zpe embedded -- jupyter lab`
    """
    with local_service(
        data_dir, engine="mock" if mock else "qe", pseudo_dir=pseudo_dir, start_seconds=start_seconds
    ) as service:
        print(f"zpe: the service is at {service.url}; its data are in {service.folder}", file=sys.stderr)
        status = _run(command, service) if command else _wait()
    raise typer.Exit(status)


def _run(command: list[str], service: LocalService) -> int:
    environment = os.environ | {"ZPE_CONTROL_API_URL": service.url, "ZPE_TOKEN": service.token}
    if service.pseudo_dir:
        environment["ZPE_PSEUDO_DIR"] = str(service.pseudo_dir.resolve())
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise ConfigError(
            f"{command[0]} cannot be run: {error.strerror}", code="command_not_found", field="COMMAND"
        ) from None
    while True:
        # Ctrl-C is for the command, which has heard of it too and may have a question first.
        with contextlib.suppress(KeyboardInterrupt):
            return _status(process.wait())


def _status(code: int) -> int:
    return code if code >= 0 else 128 - code  # as shells have it


def _wait() -> int:
    print("zpe: its token is in the file admin-token there; Ctrl-C stops all", file=sys.stderr, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        Event().wait()
    return 0
