"""A Redis of our own: a real server process with its data in a folder, started and ended with us.

Every write is on disk before it is acknowledged (``appendfsync always``), so what a client was told
survives a SIGKILL of the server and of this process. The server listens on a unix socket only.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
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
from zpe_server.programs import Program, check_readable, note_writer, server_program

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_RESTART_SECONDS = 0.5
# One that was ready, ended, and ends again so often before it is ready, is given up.
_RESTARTS = 5
_SOCKET_PATH_MAX = 100  # the kernel's limit is 108 bytes


@contextmanager
def embedded_redis(folder: Path) -> Iterator[str]:
    """Run a Redis server with its data in ``folder`` for the ``with`` block; give its URL.

    A server that dies is started again; one that cannot be started any more ends this process. If this
    process dies, of whatever cause, the server ends too.

    Raises
    ------
    ConfigError
        ``redis_not_found``: no server program; ``data_dir_in_use``: another control plane has the folder;
        ``data_of_other_server``: this program cannot read what is in the folder; ``bad_data_dir``.
    StoreError
        ``redis_not_started``: the server ended at once; the message has the last line of its log.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_account(folder)
    program = server_program()
    with _socket_path(folder) as socket, _locked(folder, socket):
        url = f"unix://{socket}"
        check_readable(folder, program)
        stop, started, ended = threading.Event(), threading.Event(), threading.Event()

        def keep_running() -> None:
            # The kernel ends a child with the thread that started it: this one lives as long as we do.
            in_vain = 0
            while not stop.is_set():
                server = _start(program, folder, socket)
                started.set()
                was_ready = _watch(server, url, stop)
                if stop.is_set():
                    _end(server)
                    return
                ended.set()
                in_vain = 0 if was_ready else in_vain + 1
                if in_vain == _RESTARTS:
                    log.error("the embedded Redis does not start any more", reason=_last_line(folder))
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                log.error("the embedded Redis ended; starting it again", status=server.returncode)
                stop.wait(_RESTART_SECONDS)

        keeper = threading.Thread(target=keep_running, name="embedded-redis", daemon=True)
        keeper.start()
        try:
            started.wait()
            _wait_until_ready(url, folder, ended)
            note_writer(folder, program)
            yield url
        finally:
            gave_up = not keeper.is_alive()
            stop.set()
            keeper.join()
            if gave_up:
                raise _not_started(folder)


def running_url(folder: Path) -> str | None:
    """Return the URL of the server that another process runs on the data in a folder; None: nobody does."""
    try:
        with (folder / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return f"unix://{(folder / 'lock').read_text().strip()}"


def _check_account(folder: Path) -> None:
    """Refuse to leave files of root's in a folder of another account, which could not write them any more."""
    owner = folder.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise ConfigError(
            f"{folder} belongs to another account: run this as that account, sudo -u '#{owner}' zpe …",
            code="bad_data_dir",
            field="ZPE_DATA_DIR",
        )


def _start(program: Program, folder: Path, socket: Path) -> subprocess.Popen[bytes]:
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
        [program.path, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us: the store goes last
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _watch(server: subprocess.Popen[bytes], url: str, stop: threading.Event) -> bool:
    """Wait until a server has ended or is to end; tell whether it was ready for a moment."""
    ready = False
    with redis.Redis.from_url(url, socket_timeout=1) as connection:
        while server.poll() is None and not stop.wait(0.1):
            if not ready:
                with contextlib.suppress(redis.RedisError):
                    ready = bool(connection.ping())
    return ready


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
                raise _not_started(folder) from error


def _not_started(folder: Path) -> StoreError:
    return StoreError(f"the embedded Redis does not start: {_last_line(folder)}", code="redis_not_started")


def _last_line(folder: Path) -> str:
    """Return what the server has said last; the line that it goes away says nothing."""
    file = folder / "redis.log"
    lines = file.read_text(errors="replace").splitlines() if file.exists() else []
    return next(
        (line for line in reversed(lines) if line.strip() and "bye bye" not in line), "it says nothing"
    )


@contextmanager
def _locked(folder: Path, socket: Path) -> Iterator[None]:
    """Keep others from a folder; the file says where the server listens."""
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another control plane uses the data in {folder}",
                code="data_dir_in_use",
                field="ZPE_DATA_DIR",
            ) from None
        file.truncate(0)
        file.write(f"{socket}\n")
        file.flush()
        yield


@contextmanager
def _socket_path(folder: Path) -> Iterator[Path]:
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="zpe-") as short:
        yield Path(short) / "redis.sock"
