"""A control plane that means harm: nothing of a reply reaches a file name, and the worker goes on."""

from __future__ import annotations

import contextlib
import json
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.processes import Process, environment, h2, wait_until
from zpe_sdk import ZPEClient
from zpe_sdk.errors import ConfigError
from zpe_sdk.wire import LeaseReply
from zpe_sdk.worker.held import Ask
from zpe_sdk.worker.workload import Workload

PRECIOUS = {".config/zpe/credentials.json": '{"token": "mine"}', "precious.json": "{}", "notes.txt": "notes"}
PAYLOAD = {"content": h2(), "mobile_indices": [0, 1], "delta": 0.01, "low_cut_cm": 50, "temperature": 300}
EQUILIBRIUM = [{"index": 0}]

# What each changes of a good reply, and the field that the refusal names.
LEASES: list[tuple[dict[str, Any], str]] = [
    ({"lease_id": "../../../.config/zpe/credentials"}, "lease_id"),
    ({"lease_id": "/etc/passwd"}, "lease_id"),
    ({"lease_id": "l" * 65}, "lease_id"),
    ({"lease_id": "l\n"}, "lease_id"),
    ({"lease_id": 7}, "lease_id"),
    ({"job_id": "../../../precious"}, "job_id"),
    ({"job_id": "j%2f..%2f..?x=#"}, "job_id"),
    ({"job_id": ""}, "job_id"),
    ({"tasks": [{"index": -1}]}, "tasks.0"),
    ({"tasks": [{"index": 10**30}]}, "tasks.0"),
    ({"tasks": [{"index": "../../../precious"}]}, "tasks.0"),
    ({"tasks": [{"index": 0}, {"index": 0}]}, "tasks"),
    ({"tasks": [{"index": 1, "atom": -1, "displacement": [0.01, 0, 0]}]}, "tasks.0"),
    ({"tasks": [{"index": 1, "atom": 0, "displacement": [1e300, 0, 0]}]}, "tasks.0"),
    ({"tasks": [{"index": 1, "atom": 0}]}, "tasks.0"),
    ({"tasks": [{"index": 0, "copy_of": -3}]}, "tasks.0"),
    ({"lease_ttl_seconds": -1}, "lease_ttl_seconds"),
    ({"request_id": "\x1b]0;owned\x07"}, "request_id"),
    ({"relaxation": {"done": -1, "steps": 3}}, "relaxation.done"),
    ({"payload": PAYLOAD | {"mobile_indices": [-1]}}, "payload.mobile_indices.0"),
]


class Hostile(ThreadingHTTPServer):
    """Answers the calls of a worker: each bad reply once, and a good one after it."""

    daemon_threads = True

    def __init__(self, attacks: dict[str, list[dict[str, Any]]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.attacks = {call: deque(replies) for call, replies in attacks.items()}
        self.lock = Lock()
        self.numbers = count()
        self.bad_last = False
        self.given: set[str] = set()
        self.reported: list[str] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def done(self) -> bool:
        """Whether all attacks are over, and what was computed beside them has arrived."""
        with self.lock:
            return not any(self.attacks.values()) and self.given == set(self.reported) != set()

    def answer(self, call: str, body: dict[str, Any]) -> dict[str, Any] | None:
        with self.lock:
            if call == "register":
                return {
                    "server_id": "s1",
                    "registered_at": "2026-01-01T00:00:00Z",
                    "worker_token": "zpe_worker_" + "x" * 32,
                    "token_expires_at": "2036-01-01T00:00:00Z",
                    "token_ttl_seconds": 10**6,
                }
            attacks = self.attacks.get(call)
            change: dict[str, Any] = {}
            if attacks and (call != "lease" or not self.bad_last):
                change = attacks.popleft()
            if call == "heartbeat":
                leases = dict.fromkeys(body["lease_ids"], "held")
                return {"leases": leases, "lease_ttl_seconds": 1.0} | change
            if call == "lease":
                number = next(self.numbers)
                reply = {
                    "job_id": f"j{number}",
                    "payload": PAYLOAD,
                    "lease_id": f"l{number}",
                    "lease_ttl_seconds": 600.0,
                    "tasks": EQUILIBRIUM,
                }
                self.bad_last = bool(change)
                if not change:
                    if not attacks and self.given:
                        return None
                    self.given.add(f"l{number}")
                return reply | change
            if call == "tasks":
                if not change:
                    self.reported.append(body["lease_id"])
                progress = {"done": 1, "total": 1}
                return {"accepted": [0], "job_status": "finished", "progress": progress} | change
            return {"ok": True}


class Handler(BaseHTTPRequestHandler):
    server: Hostile

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        reply = self.server.answer(self.path.rsplit("/", 1)[1], body)
        if reply is not None and ("endless" in reply or "packed" in reply):
            self._flood(packed="packed" in reply)
            return
        text = b"" if reply is None else json.dumps(reply).encode()
        self.send_response(204 if reply is None else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _flood(self, *, packed: bool) -> None:
        """Send a gigabyte; packed, it is a megabyte to begin with."""
        megabyte = b"[]," * (2**20 // 3)
        self.send_response(200)
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        packer = zlib.compressobj(wbits=31)
        with contextlib.suppress(OSError):
            for _ in range(1024):
                self.server.sent += self.wfile.write(packer.compress(megabyte) if packed else megabyte)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hostile(**attacks: list[dict[str, Any]]) -> Iterator[Hostile]:
    with Hostile(attacks) as server:
        Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's home, with files of theirs in it."""
    for name, text in PRECIOUS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def elsewhere(home: Path) -> dict[str, str]:
    """All files outside the worker's folder."""
    files = (path for path in home.rglob("*") if path.is_file())
    return {
        name: path.read_text()
        for path in files
        if not (name := str(path.relative_to(home))).startswith((".zpe/", "worker.log"))
    }


def worker(plane: Hostile, home: Path) -> Process:
    return Process(
        [sys.executable, "-m", "zpe_sdk.worker"],
        home / "worker.log",
        env=environment(
            HOME=home,
            ZPE_CONTROL_API_URL=plane.url,
            ZPE_ENROLL_TOKEN="zpe_enroll_" + "y" * 32,
            ZPE_WORKER_MODE="mock",
            ZPE_SLOTS=1,
        ),
    )


def refusals(home: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (home / "worker.log").read_text().splitlines()]
    return [line for line in lines if "changes nothing here" in line["event"]]


def test_whatever_a_lease_names_no_file_outside_the_work_folder_is_touched(home: Path) -> None:
    with hostile(lease=[change for change, _ in LEASES]) as plane, worker(plane, home) as process:
        wait_until(lambda: plane.done)
        assert process.poll() is None
        process.terminate()
        assert process.wait() == 0
    assert elsewhere(home) == PRECIOUS
    said = refusals(home)
    assert len(said) == len(LEASES)  # one line each
    for line, (_, field) in zip(said, LEASES, strict=True):
        assert line["call"] == "jobs/lease"
        assert f": {field}" in line["reason"]
    assert "Traceback" not in (home / "worker.log").read_text()
    assert not list((home / ".zpe/worker/leases").iterdir())


def test_a_wrong_answer_to_a_heartbeat_or_a_report_changes_nothing_and_loses_nothing(home: Path) -> None:
    attacks: dict[str, list[dict[str, Any]]] = {
        "heartbeat": [
            {"leases": {"../../../precious": "cancelled"}},
            {"left": {"../x": [0]}},
            {"leases": {"l0": "obey"}},
            {"lease_ttl_seconds": 0},
        ],
        "tasks": [{"accepted": [-1]}, {"progress": {"done": "all"}}, {"left": ["../x"]}],
    }
    with hostile(**attacks) as plane, worker(plane, home) as process:
        wait_until(lambda: plane.done)
        assert process.poll() is None
        process.terminate()
        assert process.wait() == 0
    assert elsewhere(home) == PRECIOUS
    calls = [line["call"].rsplit("/", 1)[-1] for line in refusals(home)]
    assert sorted(calls) == ["heartbeat"] * 4 + ["tasks"] * 3
    assert plane.reported == ["l0"]  # again and again, until the answer was one
    assert not list((home / ".zpe/worker/outbox").glob("*.json"))


def test_no_reply_fills_the_memory_of_a_worker(home: Path) -> None:
    attacks: dict[str, list[dict[str, Any]]] = {
        "lease": [{"endless": True}, {"packed": True}],
        "tasks": [{"endless": True}],
        "heartbeat": [{"packed": True}],
    }
    with hostile(**attacks) as plane, worker(plane, home) as process:
        wait_until(lambda: plane.done)
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
        assert process.wait() == 0
    highest = int(status.split("VmHWM:")[1].split()[0]) * 1024
    assert highest < 400e6
    assert plane.sent < 200e6
    reasons = [line["reason"] for line in refusals(home)]
    assert sum("longer than 16 MiB" in reason for reason in reasons) == 2
    assert sum("compressed" in reason for reason in reasons) == 2


def test_a_lease_that_comes_twice_is_taken_once(home: Path) -> None:
    good = {"lease_id": "l", "lease_ttl_seconds": 60, "payload": PAYLOAD, "tasks": EQUILIBRIUM}
    first, second = (LeaseReply.model_validate(good | {"job_id": job}) for job in ("j", "other"))
    workload = Workload(1)
    ask = Ask(tasks=1, idle=True, warm=[])
    workload.take(first, ask, slots=(1, 1))
    begun = workload.begin(0.0, lambda _task, *, job_id, running: True)
    with capture_logs() as logs:
        assert workload.take(second, ask, slots=(1, 1)) == []
    assert [line["log_level"] for line in logs] == ["warning"]
    assert begun
    assert workload.leases["l"].job_id == "j"
    workload.finish(begun[0], None, 1.0)


class Reply(BaseHTTPRequestHandler):
    """A control plane with one answer."""

    answer = b"{}"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(text: bytes) -> Iterator[ZPEClient]:
    """A client of a control plane that always answers with a text."""
    handler = type("Answer", (Reply,), {"answer": text})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        with ZPEClient(f"http://127.0.0.1:{server.server_port}", "token") as client:
            yield client
        server.shutdown()


def test_a_client_refuses_a_job_whose_id_is_none() -> None:
    with (
        answering(json.dumps({"job_id": "../../precious"}).encode()) as client,
        pytest.raises(ConfigError, match="job_id") as refused,
    ):
        client.submit(h2())
    assert refused.value.code == "bad_reply"


def test_a_client_reads_no_reply_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zpe_sdk.client.connection.RESULT_BYTES", 2**20)
    with (
        answering(b"[" + b"[]," * 2**20) as client,
        pytest.raises(ConfigError, match="longer than 1 MiB") as refused,
    ):
        client.submit(h2())
    assert refused.value.code == "bad_reply"
