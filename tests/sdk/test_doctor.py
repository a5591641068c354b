"""``zpe doctor`` and ``zpe doctor --server``: real control planes, Redis servers, S3 and pw.x."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import redis
import trustme
from moto.server import ThreadedMotoServer

from tests.processes import ControlPlane, RedisServer, free_port
from zpe_sdk.cli import main

PSEUDO_DIR = "/usr/share/espresso/pseudo"
ADMIN = "zpea_0123456789abcdefghij"
Found = dict[str, dict[str, str | None]]
Zpe = Callable[..., tuple[int, str, str]]
Doctor = Callable[..., tuple[int, Found]]


@pytest.fixture
def zpe_doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Zpe:
    """Run ``zpe doctor`` in this process with the given settings and no others."""

    def run(*arguments: str, **settings: object) -> tuple[int, str, str]:
        with monkeypatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("ZPE_")]:
                patch.delenv(name)
            for name, value in settings.items():
                patch.setenv(name, str(value))
            patch.setattr(sys, "argv", ["zpe", "doctor", *arguments])
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def doctor(zpe_doctor: Zpe) -> Doctor:
    """Run it with --json; give its exit status and what it found by the checks' names."""

    def run(*arguments: str, **settings: object) -> tuple[int, Found]:
        status, out, err = zpe_doctor("--json", *arguments, **settings)
        assert err == ""
        found = {check["name"]: check for check in json.loads(out)}
        assert status == int(any(check["state"] == "fail" for check in found.values()))
        assert all(check["hint"] for check in found.values() if check["state"] != "ok")
        return status, found

    return run


@pytest.fixture
def node(control_plane: ControlPlane, tmp_path: Path) -> dict[str, object]:
    """Settings of a compute node that has not enrolled."""
    return {
        "ZPE_CONTROL_API_URL": control_plane.url,
        "ZPE_PSEUDO_DIR": PSEUDO_DIR,
        "ZPE_WORK_DIR": tmp_path / "work",
        "ZPE_USE_MPI": "false",
    }


@pytest.mark.qe
def test_a_node_that_is_fit(doctor: Doctor, control_plane: ControlPlane, node: dict[str, object]) -> None:
    worker_token = control_plane.register(name="lab-pc")["worker_token"]
    status, found = doctor(**node, ZPE_WORKER_TOKEN=worker_token, ZPE_SLOTS=3)
    assert status == 0
    blas = found.pop("BLAS")
    assert blas["state"] == ("warn" if "reference" in str(blas["found"]) else "ok")
    assert {check["state"] for check in found.values()} == {"ok"}
    assert "version 6." in str(found["pw.x"]["found"])
    assert PSEUDO_DIR in str(found["pseudopotentials"]["found"])
    assert "3 SCF(s) side by side" in str(found["cores"]["found"])
    assert worker_token not in json.dumps(found)


@pytest.mark.qe
def test_it_says_what_will_run(doctor: Doctor, node: dict[str, object]) -> None:
    if len(os.sched_getaffinity(0)) == 1:
        pytest.skip("one core: MPI has nothing to share")
    program = {"ZPE_PW_COMMAND": "pw.x", "ZPE_NP_CORE": 2, "ZPE_USE_MPI": "true"}
    found = doctor(**node | program)[1]["cores"]["found"]
    assert "2 rank(s) each: mpirun -np 2 /" in str(found)
    found = doctor(**node | {"ZPE_PW_COMMAND": "env pw.x"})[1]["cores"]["found"]
    assert "ranks as ZPE_PW_COMMAND says: env pw.x -in pw.in" in str(found)


def test_what_a_bare_machine_lacks(doctor: Doctor, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    status, found = doctor(
        "--pw", "nowhere/pw.x", ZPE_WORK_DIR=file / "work", ZPE_CONTROL_API_URL="http://zpe.example.org"
    )
    assert status == 1
    for name in ("pw.x", "pseudopotentials", "work folder"):
        assert found[name]["state"] == "fail"
    assert "insecure_url" in str(found["control plane"]["found"])
    assert "cores" not in found


def test_enrolment_and_its_token(
    doctor: Doctor, control_plane: ControlPlane, node: dict[str, object]
) -> None:
    mock = node | {"ZPE_WORKER_MODE": "mock"}
    assert doctor(**mock)[1]["enrolment"]["state"] == "fail"
    token = control_plane.enroll_token()
    status, found = doctor(**mock, ZPE_ENROLL_TOKEN=token)
    assert (status, found["enrolment"]["state"]) == (0, "warn")
    with control_plane.api() as api:
        body = {"token": token, "name": "later"}  # it was not used up
        enrolled = api.post("/calc/zpe/compute/servers/register", json=body).raise_for_status().json()
        assert doctor(**mock, ZPE_WORKER_TOKEN=enrolled["worker_token"])[1]["enrolment"]["state"] == "ok"
        api.delete(f"/calc/zpe/compute/servers/{enrolled['server_id']}").raise_for_status()
    status, found = doctor(**mock, ZPE_WORKER_TOKEN=enrolled["worker_token"])
    assert (status, found["enrolment"]["state"]) == (1, "fail")
    assert "[auth/" in str(found["enrolment"]["found"])


def test_nobody_there(doctor: Doctor, node: dict[str, object]) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    found = doctor(**node | {"ZPE_WORKER_MODE": "mock", "ZPE_CONTROL_API_URL": away})[1]
    assert "control_plane_unreachable" in str(found["control plane"]["found"])
    assert "enrolment" not in found


def test_a_certificate_of_a_stranger(
    doctor: Doctor, own_control_plane: Callable[..., ControlPlane], node: dict[str, object], tmp_path: Path
) -> None:
    authority = trustme.CA()
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(str(files["key"]))
    server.cert_chain_pems[0].write_to_path(str(files["cert"]))
    plane = own_control_plane(ZPE_TLS_CERT=files["cert"], ZPE_TLS_KEY=files["key"], CA=files["ca"])
    mock = node | {"ZPE_WORKER_MODE": "mock", "ZPE_CONTROL_API_URL": plane.url}
    assert "ZPE_CA_BUNDLE" in str(doctor(**mock)[1]["control plane"]["hint"])
    assert "over TLS" in str(doctor(**mock, ZPE_CA_BUNDLE=files["ca"])[1]["control plane"]["found"])


@contextmanager
def running_late(seconds: float) -> Iterator[str]:
    """A server whose clock is behind; it answers to /readyz."""

    class Handler(BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time.time() - seconds, usegmt=True)

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"ok": true}')

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_clock_that_differs(doctor: Doctor, node: dict[str, object]) -> None:
    with running_late(3600) as url:
        found = doctor(**node | {"ZPE_WORKER_MODE": "mock", "ZPE_CONTROL_API_URL": url})[1]
    assert found["clock"]["state"] == "warn"
    assert "ahead of" in str(found["clock"]["found"])


# ------------------------------------------------------------------------------- the control plane


def test_a_server_with_a_redis_of_its_own(doctor: Doctor, tmp_path: Path) -> None:
    status, found = doctor("--server", ZPE_ADMIN_TOKEN=ADMIN, ZPE_DATA_DIR=tmp_path)
    assert status == 0
    assert str(tmp_path / "redis") in str(found["Redis"]["found"])
    assert not list(tmp_path.iterdir())
    assert doctor("--server", ZPE_DATA_DIR=tmp_path)[1]["admin token"]["state"] == "fail"


def test_a_redis_that_keeps_everything(doctor: Doctor, redis_server: RedisServer) -> None:
    status, found = doctor("--server", ZPE_ADMIN_TOKEN=ADMIN, ZPE_REDIS_URL=redis_server.url)
    assert status == 0
    assert {check["state"] for check in found.values()} == {"ok"}
    assert "appendfsync always" in str(found["Redis, persistence"]["found"])


def test_replicas_with_other_settings(
    doctor: Doctor, own_control_plane: Callable[..., ControlPlane], redis_server: RedisServer
) -> None:
    shared = {"ZPE_REDIS_URL": redis_server.url, "ZPE_DEFAULT_ENGINE": "mock"}
    plane = own_control_plane(**shared)
    shared["ZPE_ADMIN_TOKEN"] = plane.admin_token
    assert doctor("--server", **shared)[1]["replicas"]["state"] == "ok"
    found = doctor("--server", **shared, ZPE_LEASE_TTL_SECONDS=60)[1]["replicas"]
    assert found["state"] == "warn"
    assert "ZPE_LEASE_TTL_SECONDS is 60.0 (here), 600.0 (" in str(found["found"])


def test_a_redis_that_would_lose_jobs(doctor: Doctor, tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        with redis.Redis.from_url(server.url) as connection:

            def after(**options: str) -> Found:
                for name, value in options.items():
                    connection.config_set(name.replace("_", "-"), value)
                return doctor("--server", ZPE_ADMIN_TOKEN=ADMIN, ZPE_REDIS_URL=server.url)[1]

            assert after(appendfsync="everysec")["Redis, persistence"]["state"] == "warn"
            assert after(appendonly="no")["Redis, persistence"]["state"] == "fail"
            assert after(save="60 1000")["Redis, persistence"]["state"] == "warn"
            assert after(maxmemory_policy="allkeys-lru")["Redis, memory"]["state"] == "fail"
            used = int(connection.info("memory")["used_memory"])
            nearly = after(maxmemory_policy="noeviction", maxmemory=str(int(used * 1.1)))
            assert nearly["Redis, memory"]["state"] == "warn"
    finally:
        server.kill()


def test_a_redis_that_is_away_or_refuses(doctor: Doctor, tmp_path: Path) -> None:
    secret = "redis-password-that-nobody-sees"
    url = f"redis://someone:{secret}@127.0.0.1:9/0"
    status, found = doctor("--server", ZPE_ADMIN_TOKEN=ADMIN, ZPE_REDIS_URL=url)
    assert (status, found["Redis"]["state"]) == (1, "fail")
    assert secret not in json.dumps(found)


def test_a_bucket(doctor: Doctor, redis_server: RedisServer) -> None:
    s3 = ThreadedMotoServer("127.0.0.1", port=0)
    s3.start()
    endpoint = "http://{}:{}".format(*s3.get_host_and_port())
    settings = {
        "ZPE_ADMIN_TOKEN": ADMIN,
        "ZPE_REDIS_URL": redis_server.url,
        "ZPE_RESULT_STORE": "s3",
        "ZPE_S3_BUCKET": "lab-results",
        "ZPE_S3_ENDPOINT": endpoint,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "s3-secret-that-nobody-sees",
    }
    try:
        status, found = doctor("--server", **settings)
        assert (status, found["results"]["state"]) == (1, "fail")
        httpx.put(f"{endpoint}/lab-results").raise_for_status()
        status, found = doctor("--server", **settings)
        assert (status, found["results"]["state"]) == (0, "ok")
        assert "<Key>" not in httpx.get(f"{endpoint}/lab-results").text  # nothing is left behind
    finally:
        s3.stop()


def test_for_people_there_is_a_table_with_hints(zpe_doctor: Zpe, tmp_path: Path) -> None:
    status, out, err = zpe_doctor("--server", ZPE_DATA_DIR=tmp_path)
    assert (status, err) == (1, "")
    first, *_, last = out.splitlines()
    assert first.split() == ["CHECK", "STATE", "FOUND"]
    assert last.startswith("fail: admin token: ")


def test_a_bad_setting_of_the_local_worker_is_a_check_that_fails(zpe_doctor: Zpe, tmp_path: Path) -> None:
    _, out, err = zpe_doctor(
        "--server", ZPE_DATA_DIR=tmp_path, ZPE_COMPUTE_MODE="local", ZPE_NP_CORE="0", ZPE_SLOTS="many"
    )
    assert err == ""
    assert any(line.startswith("fail: local worker: look at ZPE_") for line in out.splitlines())


def test_a_bad_setting_is_one_line(zpe_doctor: Zpe) -> None:
    status, out, err = zpe_doctor(ZPE_SLOTS="many")
    assert (status, out) == (1, "")
    assert "ZPE_SLOTS" in err
    assert err.count("\n") == 1
