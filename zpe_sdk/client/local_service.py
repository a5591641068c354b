"""A whole service of one's own on this machine: control plane, store and a worker, as processes.

This process starts one for each folder, however many clients ask for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TextIO

import httpx

from zpe_sdk.errors import ConfigError
from zpe_sdk.keeper import keep
from zpe_sdk.transport import options
from zpe_sdk.wire import EngineName

Engine = Literal["qe", "mock"]
EMBEDDED_FOLDER = Path("zpe-data/notebook")
_PSEUDO_DIRS = (Path("/usr/share/espresso/pseudo"),)
_ENGINES: dict[Engine, EngineName] = {"qe": "espresso", "mock": "mock"}
# The control plane closes its connections and its store in this time; then it is killed.
_GRACE_SECONDS = 20.0


@dataclass(frozen=True)
class LocalService:
    """A running service: where it is, how to get in, where it keeps its data and logs, and its files."""

    url: str
    token: str = field(repr=False)
    folder: Path = Path()
    pseudo_dir: Path | None = None


@contextmanager
def local_service(
    folder: Path,
    *,
    engine: Engine = "qe",
    pseudo_dir: Path | None = None,
    settings: Mapping[str, str] | None = None,
    start_seconds: float | None = None,
) -> Iterator[LocalService]:
    """Run a control plane and a worker on this machine for the ``with`` block.

    All of it ends with the block, and also if this process dies. Jobs and results stay in ``folder`` and are
    there again the next time.

    Parameters
    ----------
    folder
        Where everything is kept.
    engine
        ``qe`` runs pw.x; ``mock`` computes forces of springs.
    pseudo_dir
        Folder of the pseudopotential files; default: ``ZPE_PSEUDO_DIR``, or that of Debian's package.
    settings
        More ``ZPE_`` variables for both processes.
    start_seconds
        How long the control plane may take to start; None: as long as it lives.

    Raises
    ------
    ConfigError
        ``extra_missing``: the server is not installed; ``pw_not_found``: no pw.x here, or no such folder;
        ``service_not_started``: the control plane ended, or takes longer.
    """
    if find_spec("zpe_server") is None:
        raise ConfigError(
            "the control plane is not installed here: pip install 'zpe[server,embedded]'",
            code="extra_missing",
        )
    pseudo_dir = pseudo_dir or _pseudo_dir()
    if engine == "qe" and (shutil.which("pw.x") is None or pseudo_dir is None):
        raise ConfigError(
            "there is no pw.x here, or no folder of pseudopotentials: install Quantum ESPRESSO "
            "(Debian: apt install quantum-espresso quantum-espresso-data), or take the mock engine",
            code="pw_not_found",
        )
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    before, port = _ports(folder)
    token = _admin_token(folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ZPE_")}
    environment = kept | {"ZPE_DEFAULT_ENGINE": _ENGINES[engine]} | dict(settings or {})
    if pseudo_dir:
        environment["ZPE_PSEUDO_DIR"] = str(pseudo_dir.resolve())
    service = LocalService(f"http://127.0.0.1:{port}", token, folder, pseudo_dir)
    with ExitStack() as stack:
        control_plane = stack.enter_context(
            _process(
                [
                    sys.executable,
                    "-m",
                    "zpe_sdk.cli",
                    "serve",
                    "--port",
                    str(port),
                    "--data-dir",
                    str(folder),
                ],
                environment | {"ZPE_ADMIN_TOKEN": token},
                folder / "control-plane.log",
            )
        )
        work_dir = folder / "worker"
        environment |= {
            "ZPE_CONTROL_API_URL": service.url,
            "ZPE_WORK_DIR": str(work_dir),
            "ZPE_WORKER_MODE": engine,
        }
        # A worker knows its control plane by the URL.
        enrols = port != before or not (work_dir / "identity.json").exists()
        # Most of a start goes by in loading modules, so both do that side by side, and the worker waits for
        # its enroll token at a pipe.
        with _pipe() as (reading, writing):
            if enrols:
                environment["ZPE_ENROLL_FILE"] = f"/dev/fd/{reading.fileno()}"
            command = [sys.executable, "-m", "zpe_sdk.worker"]
            stack.enter_context(_process(command, environment, folder / "worker.log", reading))
            with httpx.Client(base_url=service.url, **options(httpx.URL(service.url))) as calls:
                _wait_until_ready(service, calls, control_plane, start_seconds)
                if enrols:
                    writing.write(_enroll_token(service, calls))
        yield service


@contextmanager
def _process(
    command: list[str], environment: Mapping[str, str], log: Path, *inherited: TextIO
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            keep(command, grace=_GRACE_SECONDS),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=dict(environment),
            start_new_session=True,
            pass_fds=[file.fileno() for file in inherited],
        )
    try:
        yield process
    finally:
        if process.stdin:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        process.wait()


@contextmanager
def _pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """Make a pipe for the ``with`` block; who reads it sees its end when the block has ended, however."""
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as reads, open(writing, "w", encoding="utf-8") as writes:
        yield reads, writes


def _wait_until_ready(
    service: LocalService,
    calls: httpx.Client,
    control_plane: subprocess.Popen[bytes],
    start_seconds: float | None,
) -> None:
    deadline = math.inf if start_seconds is None else time.monotonic() + start_seconds
    while (status := control_plane.poll()) is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if calls.get("/readyz").status_code == httpx.codes.OK:
                return
        time.sleep(0.05)
    log = service.folder / "control-plane.log"
    last = log.read_text(errors="replace").strip().splitlines()[-1:]
    what = (
        f"the control plane is still starting after {start_seconds:g} s (start_seconds= gives it longer)"
        if status is None
        else f"the control plane ended with status {status} while it was starting"
    )
    raise ConfigError(f"{what}; the end of {log}: {''.join(last)}", code="service_not_started")


def _enroll_token(service: LocalService, calls: httpx.Client) -> str:
    from zpe_sdk.wire import EnrollTokenReply

    reply = calls.post(
        "/calc/zpe/compute/enroll-tokens",
        json={"label": "this machine"},
        headers={"Authorization": f"Bearer {service.token}"},
    )
    return EnrollTokenReply.model_validate(reply.raise_for_status().json()).token


def _pseudo_dir() -> Path | None:
    named = os.environ.get("ZPE_PSEUDO_DIR")
    return Path(named) if named else next((path for path in _PSEUDO_DIRS if path.is_dir()), None)


def _admin_token(folder: Path) -> str:
    path = folder / "admin-token"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"zpea_{secrets.token_urlsafe(32)}\n")
    return path.read_text().strip()


def _ports(folder: Path) -> tuple[int, int]:
    """Return the port of the last time (or 0), and a free one: the same if possible, so that URLs last."""
    path = folder / "port"
    before = int(path.read_text()) if path.exists() else 0
    with socket.socket() as probe:
        # As the server itself does it: a port it has just left is free again.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", before))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    path.write_text(f"{port}\n")
    return before, port


@dataclass
class Embedded:
    """A service that this process has started, with what it was started."""

    stack: ExitStack
    service: LocalService
    options: dict[str, Any]

    def close(self) -> None:
        """Stop it."""
        _running.pop(self.service.folder, None)
        self.stack.close()


_running: dict[Path, Embedded] = {}


async def start_embedded(
    folder: Path,
    *,
    engine: Engine,
    pseudo_dir: Path | None,
    settings: Mapping[str, str] | None,
    start_seconds: float | None = None,
) -> Embedded:
    """Return the service of a folder: the one that runs if it was started with the same, else a new one.

    Parameters and errors are those of :func:`local_service`.
    """
    folder = folder.resolve()
    start = partial(local_service, folder, engine=engine, pseudo_dir=pseudo_dir, settings=settings)
    running = _running.get(folder)
    # A cell that is run again gets what it has started before.
    if running is None or running.options != start.keywords:
        if running is not None:
            await asyncio.to_thread(running.close)
        stack = ExitStack()
        # It waits for processes, and calls them blocking: not on this loop.
        service = await asyncio.to_thread(lambda: stack.enter_context(start(start_seconds=start_seconds)))
        running = _running[folder] = Embedded(stack, service, start.keywords)
    return running
