"""Administrators are told of jobs and workers, where they want it."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from pydantic import SecretStr

from tests.processes import PATIENCE, ControlPlane, RedisServer, free_port, h2, wait_until
from zpe_sdk.errors import ConfigError
from zpe_server.notices import message, targets
from zpe_server.settings import Settings


class Hook:
    """A web server that keeps what is posted to it, and refuses the first few posts."""

    def __init__(self, refusals: int = 0) -> None:
        self.posts: queue.Queue[dict[str, Any]] = queue.Queue()
        self.refused = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                refuse = hook.refused < refusals
                self.send_response(503 if refuse else 200)
                self.end_headers()
                if refuse:
                    hook.refused += 1
                else:
                    hook.posts.put(json.loads(body))

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/hook/of-secret-name"

    def __enter__(self) -> Hook:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def next(self) -> dict[str, Any]:
        return self.posts.get(timeout=PATIENCE)


def submit(plane: ControlPlane, name: str, **more: object) -> str:
    with plane.api() as api:
        request = {"content": h2(), "calc_mode": "new", "name": name, **more}
        return str(api.post("/calc/zpe/jobs", json=request).raise_for_status().json()["job_id"])


def test_a_finished_job_is_told_to_a_webhook_that_was_away(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    with Hook(refusals=1) as hook:
        plane = own_control_plane(ZPE_NOTIFY=hook.url, ZPE_NOTIFY_ON="finished")
        job = submit(plane, "water-like")
        plane.worker()
        told = hook.next()
        assert told["title"] == "ZPE: 1 job finished"
        assert told["message"] == f"finished: job water-like ({job}) of admin"
        assert hook.refused == 1
        assert "of-secret-name" not in plane.log


class Mailbox:
    """Takes mail."""

    def __init__(self) -> None:
        self.mails: queue.Queue[bytes] = queue.Queue()

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:
        self.mails.put(envelope.content)
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, str]]:
    box, port = Mailbox(), free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, f"mailto://127.0.0.1:{port}?from=zpe@lab.example&to=admin@lab.example&mode=insecure"
    controller.stop()


def test_a_worker_that_dies_with_work_in_hand_and_its_job_are_told_by_mail(
    own_control_plane: Callable[..., ControlPlane], mailbox: tuple[Mailbox, str]
) -> None:
    box, url = mailbox
    plane = own_control_plane(ZPE_NOTIFY=url, ZPE_LEASE_TTL_SECONDS=2, ZPE_RETRY_MAX=0)
    mock_log = plane.folder / "mock.log"
    worker = plane.worker("node-7", ZPE_MOCK_SCF_SECONDS=3600, ZPE_MOCK_LOG=mock_log)
    job = submit(plane, "slab <b>1</b>")
    with plane.api() as api:
        wait_until(lambda: api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "started")
    worker.kill()
    worker.wait()
    mail = message_from_bytes(box.mails.get(timeout=PATIENCE), policy=policy.default)
    assert mail["subject"] == "ZPE: 1 worker lost with work in hand, 1 job failed"
    text = mail.get_body(("plain",)).get_content()
    assert "node-7" in text
    assert job in text
    # What a researcher calls a job is text in a mail of HTML too.
    html = mail.get_body(("html",))
    assert html is None or "<b>1</b>" not in html.get_content()


def test_two_replicas_tell_once(tmp_path: Path, redis_server: RedisServer) -> None:
    with Hook() as hook:
        planes = [
            ControlPlane(
                tmp_path / name,
                {"ZPE_REDIS_URL": redis_server.url, "ZPE_NOTIFY": hook.url, "ZPE_NOTIFY_ON": "finished"},
            )
            for name in ("one", "two")
        ]
        for plane in planes:
            plane.start()
        planes[0].worker()
        told = [submit(planes[n % 2], f"job-{n}") for n in range(4)]
        lines: list[str] = []
        while len(lines) < 4:
            lines += hook.next()["message"].splitlines()
        assert sorted(line.split("(")[1][:32] for line in lines) == sorted(told)
        for plane in planes:
            plane.stop()
        assert hook.posts.empty()


def test_a_replica_that_ends_leaves_its_notices_to_the_next_one(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    with Hook() as hook:
        # Not told by the first, which nobody answers.
        nobody = f"json://127.0.0.1:{free_port()}/"
        common = {"ZPE_REDIS_URL": redis_server.url, "ZPE_NOTIFY_ON": "finished"}
        first = ControlPlane(tmp_path / "first", {**common, "ZPE_NOTIFY": nobody})
        first.start()
        job = submit(first, "water-like")
        first.worker()
        wait_until(lambda: "a notice could not be passed on" in first.log)
        first.stop()
        second = ControlPlane(tmp_path / "second", {**common, "ZPE_NOTIFY": hook.url})
        second.start()
        assert hook.next()["message"] == f"finished: job water-like ({job}) of admin"
        second.stop()


def test_many_notices_are_one_message() -> None:
    notices = [{"what": "failed", "job": f"{n:032x}", "message": "pw.x\x1b[31m stopped"} for n in range(3)]
    title, text = message([*notices, {"what": "finished", "job": "a" * 32, "name": "h2", "owner": "ann"}])
    assert title == "ZPE: 3 jobs failed, 1 job finished"
    first, *_, last = text.splitlines()
    assert first == f"failed: job {0:032x}: pw.x [31m stopped"
    assert last == f"finished: job h2 ({'a' * 32}) of ann"


@pytest.mark.parametrize("bad", ["https//example.org/secret", "nonsense", "json://"])
def test_what_is_no_address_is_refused_without_being_shown(bad: str) -> None:
    with pytest.raises(ConfigError, match="ZPE_NOTIFY: number 2 is no URL") as refused:
        targets(f"json://127.0.0.1:1/a, {bad}" if "://" in bad else f"json://127.0.0.1:1/a {bad}")
    assert bad not in str(refused.value)
    assert "secret-of" not in repr(Settings(notify=SecretStr("json://secret-of")))


def test_people_in_one_address_stay_together() -> None:
    both = "mailto://u:p@example.org?to=a@example.org,b@example.org, json://127.0.0.1:1/x"
    assert len(targets(both)) == 2
