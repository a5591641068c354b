"""What others feel while somebody attacks: ``python -m benchmarks.doors``.

A real control plane with room for 1024 descriptors to begin with, as systemd gives. Attackers run in a
process of their own; beside them ``/healthz``, a lease and a heartbeat are asked for, one after the other,
each on a new connection. Everything runs on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import multiprocessing
import resource
import selectors
import socket
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import psutil

from benchmarks.planning import supercell
from tests.processes import ControlPlane

GIVE_UP_SECONDS = 120.0
# Of bodies: as the control plane has them (zpe_server.api.gate).
VALUES, VALUES_OF_A_REPORT = 20_000, 50_000
_ESCAPED = r"\n\u0041\u2192"
_HEAD = "POST /calc/zpe/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True)
class Target:
    """Whom an attack is on; ``token`` is a researcher's, ``worker`` a compute node's."""

    port: int
    token: str
    worker: str

    def connect(self) -> socket.socket:
        """Open a connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=GIVE_UP_SECONDS)


def slow_connections(target: Target) -> None:
    """1500 connections with a byte of a header every other second, which come back when they are closed."""
    held: list[socket.socket] = []
    while True:
        began = time.monotonic()
        held = [connection for connection in held if _sent(connection, b"a")]
        with contextlib.suppress(OSError):
            while len(held) < 1500 and time.monotonic() - began < 2:
                held.append(socket.create_connection(("127.0.0.1", target.port), timeout=1))
                held[-1].sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        time.sleep(max(0.0, 2 - (time.monotonic() - began)))


def half_bodies(target: Target) -> None:
    """300 bodies of 2 MB of which half is sent, again when they are refused."""
    head = f"{_HEAD}Content-Length: {2 * 2**20}\r\n\r\n".encode()
    held: list[socket.socket] = []
    while True:
        held = [connection for connection in held if _sent(connection, b" ")]
        with contextlib.suppress(OSError):
            while len(held) < 300:
                connection = target.connect()
                held.append(connection)
                connection.sendall(head + b" " * 2**20)
        time.sleep(1)


def endless_headers(target: Target) -> None:
    """20 headers that do not end."""
    _in_threads(20, lambda: _send_on(target, b"GET /healthz HTTP/1.1\r\nX: ", b"a" * 2**16, 2**31))


def bodies_without_token(target: Target, megabytes: int) -> None:
    """Empty lists, four bodies at a time."""
    size = megabytes * 10**6
    head = f"{_HEAD}Content-Length: {size}\r\n\r\n".encode()
    body = b"[" + b"[]," * (size // 3 - 1)
    body += b"]" * (size - len(body))

    def send() -> None:
        with contextlib.suppress(OSError), target.connect() as connection:
            connection.sendall(head)
            connection.sendall(body)
            connection.recv(1000)

    _in_threads(4, send)


def ten_megabytes(target: Target) -> None:
    """Bodies of 10 MB without a token, four at a time."""
    bodies_without_token(target, 10)


def sixty_megabytes(target: Target) -> None:
    """Bodies of 60 MB without a token, four at a time."""
    bodies_without_token(target, 60)


def values(target: Target) -> None:
    """Jobs with as many atoms as one may name, each of them wrong, and a text of escapes; four at a time."""
    indices = ",".join(["1.5"] * (VALUES - 10))
    body = f'{{"mobile_indices":[{indices}],"content":"{_ESCAPED * (3 * 10**6 // len(_ESCAPED))}"}}'
    _in_threads(4, lambda: _post(target, "/calc/zpe/jobs", target.token, body))


def reports(target: Target) -> None:
    """Reports with as many forces as one may have, and a name that turns lines round; four at a time."""
    forces = ",".join(["[0.123456789012345,-0.123456789012345,1e-12]"] * (VALUES_OF_A_REPORT // 4 - 10))
    fingerprint = {"engine": "\u202e" * 20_000, "engine_version": "1", "physics": "x"}
    report = {"task": 0, "energy_ev": 0, "scf_seconds": 1, "fingerprint": fingerprint, "forces_ev_ang": []}
    body = json.dumps({"lease_id": "x", "reports": [report]}, ensure_ascii=False)
    body = body.replace('"forces_ev_ang": []', f'"forces_ev_ang": [{forces}]')
    _in_threads(4, lambda: _post(target, "/calc/zpe/compute/jobs/x/tasks", target.worker, body))


def jobs(target: Target) -> None:
    """60 jobs of 1000 atoms of one researcher, 20 at a time."""
    body = json.dumps({"content": supercell(10), "calc_mode": "new"})
    left = iter(range(60))

    def send() -> None:
        if next(left, None) is None:
            time.sleep(1)
            return
        _post(target, "/calc/zpe/jobs", target.token, body)

    _in_threads(20, send)


ATTACKS: dict[str, Callable[[Target], None] | None] = {
    "nobody": None,
    "1500 slow connections": slow_connections,
    "300 halves of bodies": half_bodies,
    "20 headers without end": endless_headers,
    "10 MB without a token": ten_megabytes,
    "60 MB without a token": sixty_megabytes,
    "60 jobs of 1000 atoms": jobs,
    "a job of 20 000 wrong atoms": values,
    "reports of 12 500 forces": reports,
}


def _attack(attack: Callable[[Target], None], target: Target, begun: Event) -> None:
    begun.set()
    attack(target)


def _sent(connection: socket.socket, data: bytes) -> bool:
    """Send a little on a connection, unless it has been closed."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        try:
            connection.send(data)
            with selectors.DefaultSelector() as selector:
                selector.register(connection, selectors.EVENT_READ)
                if selector.select(0) and not connection.recv(1000):
                    connection.close()
                    return False
        except BlockingIOError:
            return True
        except OSError:
            connection.close()
            return False
    return True


def _post(target: Target, path: str, token: str, body: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=GIVE_UP_SECONDS)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("POST", path, body.encode(), headers)
        connection.getresponse().read()


def _send_on(target: Target, begin: bytes, part: bytes, most: int) -> None:
    with contextlib.suppress(OSError), target.connect() as connection:
        connection.sendall(begin)
        for _ in range(most // len(part)):
            connection.sendall(part)


def _in_threads(count: int, send: Callable[[], None]) -> None:
    def again() -> None:
        while True:
            send()

    threads = [threading.Thread(target=again, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(attack: Callable[[Target], None] | None, seconds: float) -> str:
    """Return the cells of a row: p50, p99 and longest in ms of each call, calls without answer, memory."""
    with tempfile.TemporaryDirectory(prefix="zpe-doors-") as folder:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
        plane = ControlPlane(Path(folder), {"ZPE_LOG_LEVEL": "ERROR", "ZPE_DASHBOARD": 0})
        plane.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        assert plane.process is not None
        server = psutil.Process(plane.process.pid)
        worker = str(plane.register()["worker_token"])
        target = Target(plane.port, plane.researcher_token("mallory"), str(plane.register()["worker_token"]))
        spawn = multiprocessing.get_context("spawn")
        begun = spawn.Event()
        attacker = spawn.Process(target=_attack, args=(attack, target, begun), daemon=True)
        try:
            if attack:
                attacker.start()
                begun.wait()
                time.sleep(5)  # until it is well at work
            return _probe(plane, worker, server, seconds)
        finally:
            if attack:
                attacker.kill()
                attacker.join()
            plane.kill()


def _probe(plane: ControlPlane, worker: str, server: psutil.Process, seconds: float) -> str:
    calls = {
        "healthz": ("GET", "/healthz", None),
        "lease": ("POST", "/calc/zpe/compute/jobs/lease", '{"max_tasks": 1}'),
        "heartbeat": ("POST", "/calc/zpe/compute/heartbeat", "{}"),
    }
    headers = {"Authorization": f"Bearer {worker}", "Content-Type": "application/json"}
    taken: dict[str, list[float]] = defaultdict(list)
    failed, memory = 0, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, (method, path, body) in calls.items():
            began = time.perf_counter()
            connection = http.client.HTTPConnection("127.0.0.1", plane.port, timeout=GIVE_UP_SECONDS)
            try:
                connection.request(method, path, body, headers)
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                failed += 1
            finally:
                connection.close()
            taken[name].append(time.perf_counter() - began)
        with contextlib.suppress(psutil.Error):
            memory = max(memory, server.memory_info().rss)
        time.sleep(0.01)
    cells = [
        "{:.0f} / {:.0f} / {:.0f}".format(*(1000 * np.percentile(taken[name], [50, 99, 100])))
        for name in calls
    ]
    return " | ".join([*cells, str(failed), f"{memory / 1e6:.0f}"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each attack")
    parser.add_argument("--attack", choices=list(ATTACKS), action="append", help="only this one; repeatable")
    options = parser.parse_args()
    print("ms: half of all calls, 99 % and all within\n")
    print("| attack | healthz | lease | heartbeat | no answer | server / MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in options.attack or ATTACKS:
        print(f"| {name} | {measure(ATTACKS[name], options.seconds)} |", flush=True)


if __name__ == "__main__":
    main()
