"""Real processes for tests and benchmarks: Redis servers, control planes, workers."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx
import redis

ZPE = str(Path(sys.executable).parent / "zpe")
# Seconds to wait for what comes within a second or two on a machine that has nothing else to do.
PATIENCE = 240.0
H2 = """&CONTROL
  title = '{title}'
/
&SYSTEM
  ibrav = 1, A = 6.0, nat = 2, ntyp = 1, ecutwfc = 20.0
/
&ELECTRONS
/
ATOMIC_SPECIES
H 1.008 H.pbe-kjpaw.UPF
ATOMIC_POSITIONS angstrom
H 0.0 0.0 0.0
H 0.0 0.0 0.75
K_POINTS gamma
"""


def h2(title: str = "") -> str:
    """Return a small input; its title scripts failures of the mock engine."""
    return H2.format(title=title)


def environment(**settings: object) -> dict[str, str]:
    """Return this process's environment with no settings but those given, and the pw.x that tests run."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ZPE_", "OTEL_")) or name == "ZPE_PW_PATH"
    }
    return kept | {name: str(value) for name, value in settings.items()}


class Process(subprocess.Popen[bytes]):
    """A process whose output goes to a file; in a ``with`` block, it ends with the block.

    Parameters
    ----------
    command
        The program and its arguments.
    log
        Where its output goes, after what is there; by default, nowhere.
    options
        As for :class:`subprocess.Popen`.
    """

    started: ClassVar[list[Process]] = []

    def __init__(self, command: Sequence[str | Path], log: Path | None = None, **options: Any) -> None:
        self.log = log or Path(os.devnull)
        self._expected = False
        with self.log.open("ab") as output:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            super().__init__(command, **(streams | options))
        self._command = " ".join(map(str, command))
        self.started.append(self)

    @property
    def died(self) -> bool:
        """Whether it ended with an error although nobody asked it to end."""
        return not self._expected and self.poll() not in (None, 0, -signal.SIGKILL, -signal.SIGTERM)

    @property
    def account(self) -> str:
        """What it is, how it ended, and the last lines of its log."""
        code = self.poll()
        state = "runs" if code is None else f"ended with {code}"
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])
        return f"{self._command} (process {self.pid}) {state}; its log:\n{tail}"

    def send_signal(self, sig: int) -> None:
        """Send a signal; it may end from now on."""
        self._expected = True
        super().send_signal(sig)

    def wait(self, timeout: float | None = PATIENCE) -> int:
        """Wait until it has ended; kill it and fail if it does not."""
        self._expected = True
        try:
            return super().wait(timeout)
        except subprocess.TimeoutExpired:
            account = self.account
            self.kill()
            raise AssertionError(f"it did not end within {timeout} s: {account}") from None

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            self.kill()
        self.wait()


def wait_until(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Poll a condition.

    Fails at once if a process has died meanwhile that :class:`Process` started, and after minutes if all of
    them still run: a busy machine may take its time.
    """
    deadline = time.monotonic() + seconds
    while not true():
        dead = [process.account for process in Process.started if process.died]
        assert not dead or true(), "\n\n".join(dead)
        if time.monotonic() > deadline:
            running = [process.account for process in Process.started if process.poll() is None]
            raise AssertionError("\n\n".join([f"still not true after {seconds:.0f} s", *running]))
        time.sleep(0.02)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on.

    Not one that the system chooses: of those it gives to any connection, before a server has begun to listen.
    In cluster mode, Redis takes the port 10 000 above as well.
    """
    while True:
        port = 10_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def _ended_unless_ready(process: Process) -> Iterator[None]:
    """End a server that does not become ready: nobody else knows of it yet."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


class RedisServer:
    """A redis-server on a unix socket, which keeps its data when it is killed and started again.

    In cluster mode it is a cluster of one: it refuses what touches keys of two slots.
    """

    def __init__(self, folder: Path, *, cluster: bool = False) -> None:
        self.folder = folder
        self.cluster = cluster
        self.url = f"unix://{folder / 'redis.sock'}"
        self.process: Process | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed"
        options = {"port": "0", "unixsocket": "redis.sock", "dir": ".", "save": "", "appendonly": "yes"}
        if self.cluster:  # whose bus needs a port
            options |= {"cluster-enabled": "yes", "bind": "127.0.0.1", "port": str(free_port())}
            options |= {"cluster-port": str(free_port())}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self.process = Process(
            # Its title would overwrite the environment, by which the reaper knows it.
            [program, *arguments, "--appendfsync", "always", "--set-proc-title", "no"],
            self.folder / "redis.log",
            cwd=self.folder,
        )
        with _ended_unless_ready(self.process):
            self._wait()

    def _wait(self) -> None:
        wait_until(self._answers)
        if self.cluster:
            if "cluster_slots_assigned:0" in self._cluster_info():  # started again, it has them still
                redis.Redis.from_url(self.url).execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: "cluster_state:ok" in self._cluster_info())

    def _answers(self) -> bool:
        with contextlib.suppress(redis.exceptions.RedisError):
            return bool(redis.Redis.from_url(self.url).ping())
        return False

    def _cluster_info(self) -> list[str]:
        info: bytes = redis.Redis.from_url(self.url).execute_command("CLUSTER", "INFO")
        return info.decode().split()

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@dataclass
class ControlPlane:
    """A control plane as a process, with its data in a folder."""

    folder: Path
    settings: dict[str, object] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    admin_token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    port: int = 0
    process: Process | None = None
    workers: list[Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens; with TLS if its settings have a certificate."""
        return f"{'https' if 'ZPE_TLS_CERT' in self.settings else 'http'}://127.0.0.1:{self.port}"

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """What to trust: the authority that signed its certificate."""
        if "CA" not in self.settings:
            return True
        return ssl.create_default_context(cafile=str(self.settings["CA"]))

    @property
    def log(self) -> str:
        """All that the control plane has logged."""
        return (self.folder / "server.log").read_text()

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        if not self.port:
            self.port = free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = Process(
            [
                *(ZPE, "serve", "--port", str(self.port), "--data-dir", str(self.folder / "data")),
                *self.arguments,
            ],
            self.folder / "server.log",
            # Their workers compute with springs, unless a test says otherwise.
            env=environment(
                **({"ZPE_ADMIN_TOKEN": self.admin_token, "ZPE_DEFAULT_ENGINE": "mock"} | self.settings)
            ),
        )
        with _ended_unless_ready(self.process):
            wait_until(self._ready)

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.process.account
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz", verify=self.verify).status_code == 200
        return False

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it and its workers with SIGTERM."""
        processes = [*self.workers, *([self.process] if self.process else [])]
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()

    def api(self, token: str | None = None) -> httpx.Client:
        """Return an HTTP client, the administrator's unless another token is given."""
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token or self.admin_token}"},
            timeout=PATIENCE,
            verify=self.verify,
        )

    def enroll_token(self) -> str:
        """Mint an enroll token."""
        with self.api() as api:
            return str(
                api.post("/calc/zpe/compute/enroll-tokens", json={}).raise_for_status().json()["token"]
            )

    def researcher_token(self, owner: str) -> str:
        """Mint a researcher's token."""
        with self.api() as api:
            reply = api.post("/calc/zpe/admin/tokens", json={"owner": owner}).raise_for_status()
            return str(reply.json()["token"])

    def register(self, **more: Any) -> dict[str, Any]:
        """Enrol a worker by hand; return the reply with its token."""
        with self.api() as api:
            reply = api.post(
                "/calc/zpe/compute/servers/register", json={"token": self.enroll_token(), **more}
            )
            return dict(reply.raise_for_status().json())

    def worker(self, name: str = "worker", **settings: object) -> Process:
        """Start a worker process, with the mock engine unless told otherwise."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        defaults: dict[str, object] = {
            "ZPE_CONTROL_API_URL": self.url,
            "ZPE_WORKER_MODE": "mock",
            "ZPE_WORKER_NAME": name,
            "ZPE_WORK_DIR": folder,
        }
        if not (folder / "identity.json").exists():
            defaults["ZPE_ENROLL_TOKEN"] = self.enroll_token()
        process = Process(
            [sys.executable, "-m", "zpe_sdk.worker"],
            folder / "worker.log",
            env=environment(**(defaults | settings)),
        )
        self.workers.append(process)
        return process


def running_in(folder: Path) -> dict[int, str]:
    """Return process id -> program name of what runs in a folder."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found[int(process.name)] = (process / "comm").read_text().strip()
        except OSError:  # ended meanwhile, or somebody else's
            continue
    return found
