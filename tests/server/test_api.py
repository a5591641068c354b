"""The HTTP API of a real control plane process, as its callers see it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import pytest

from tests.processes import ControlPlane, RedisServer, h2, wait_until
from zpe_sdk.wire import JobPayload, Task
from zpe_sdk.worker.engines.mock import MockEngine
from zpe_sdk.worker.settings import WorkerSettings

Json = dict[str, Any]


def submit(api: httpx.Client, **more: Any) -> str:
    reply = api.post("/calc/zpe/jobs", json={"content": h2()} | more)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["job_id"])


def lease(worker: httpx.Client, **body: Any) -> Json:
    reply = worker.post("/calc/zpe/compute/jobs/lease", json=body)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def computed(leased: Json, tmp_path: Path) -> list[Json]:
    """Compute a lease's tasks with the mock engine."""
    engine = MockEngine(WorkerSettings(work_dir=tmp_path))
    payload = JobPayload(**leased["payload"])
    return [
        engine.run(payload, Task.from_json(task), job_id=leased["job_id"], stop=Event()).model_dump()
        for task in leased["tasks"]
    ]


def whole_result() -> Json:
    """Return the result for H2 of a worker that knows no single SCFs, with imaginary modes as 0."""
    return {
        "freqs_cm": [0.0, 0.0, 12.1, 31.4, 48.0, 4400.0],
        "zpe_ev": 0.2728,
        "s_vib_jmol_k": 0.01,
        "mobile_indices": [0, 1],
        "fixed_indices": [],
        "kpts": [1, 1, 1],
        "delta": 0.01,
        "low_cut_cm": 50.0,
        "temperature": 298.15,
        "use_environ": False,
        "qe_input": h2(),
        "pseudo_dir": "/opt/pseudo",
        "calc_start_time": "2025-01-01 10:00:00",
        "calc_end_time": "2025-01-01 10:05:00",
        "elapsed_seconds": 300.0,
        "cache_checked": 0,
        "cache_deleted": 0,
        "ecutwfc": 20.0,
        "ecutrho": 80.0,
    }


def error(reply: httpx.Response, status: int) -> Json:
    assert reply.status_code == status, reply.text
    body = reply.json()
    assert body["detail"] == body["error"]["message"]
    assert body["error"]["request_id"] == reply.headers["X-Request-ID"]
    return dict(body["error"])


@pytest.fixture
def api(control_plane: ControlPlane) -> Any:
    with control_plane.api() as client:
        yield client
        # Nothing of one test is left to be leased by the next.
        for state in ("queued", "started"):
            for job in client.get("/calc/zpe/jobs", params={"status": state}).json()["jobs"]:
                client.post(f"/calc/zpe/jobs/{job['job_id']}/cancel")


@pytest.fixture
def worker(control_plane: ControlPlane, api: httpx.Client) -> Any:
    with control_plane.api(control_plane.register(name="lab")["worker_token"]) as client:
        yield client


def test_tasks_reported_one_by_one_become_a_result_with_files(
    api: httpx.Client, worker: httpx.Client, tmp_path: Path
) -> None:
    job = submit(api)
    assert error(api.get(f"/calc/zpe/jobs/{job}/result"), 409)["code"] == "not_finished"
    assert error(api.get(f"/calc/zpe/jobs/{job}/files?kind=summary"), 409)["code"] == "not_finished"
    leased = lease(worker, max_tasks=100)
    reports = computed(leased, tmp_path)
    for n, report in enumerate(reports, start=1):
        reply = worker.post(
            f"/calc/zpe/compute/jobs/{job}/tasks", json={"lease_id": leased["lease_id"], "reports": [report]}
        ).json()
        assert (reply["accepted"], reply["progress"]["done"]) == ([report["task"]], n)
    status = api.get(f"/calc/zpe/jobs/{job}").json()
    assert (status["status"], status["workers"]) == ("finished", ["lab"])
    result = api.get(f"/calc/zpe/jobs/{job}/result").json()["result"]
    assert len(result["freqs_cm"]) == 6
    assert result["zpe_ev"] > 0.2
    summary = api.get(f"/calc/zpe/jobs/{job}/files", params={"kind": "summary"})
    assert summary.text.startswith("# ZPE summary")
    assert summary.headers["content-type"].startswith("text/plain")
    assert "attachment" in summary.headers["content-disposition"]
    freqs = api.get(f"/calc/zpe/jobs/{job}/files", params={"kind": "freqs"})
    assert freqs.headers["content-type"].startswith("text/csv")
    assert len(list(csv.reader(io.StringIO(freqs.text)))) == 7
    detail = api.get(f"/calc/zpe/jobs/{job}/detail").json()
    assert {(task["state"], task["worker"]) for task in detail["tasks"]} == {("done", "lab")}


def test_forces_of_another_number_of_atoms_are_refused_and_the_task_stays(
    api: httpx.Client, worker: httpx.Client, tmp_path: Path
) -> None:
    job = submit(api)
    leased = lease(worker, max_tasks=1)
    [report] = computed(leased, tmp_path)
    path, body = f"/calc/zpe/compute/jobs/{job}/tasks", {"lease_id": leased["lease_id"]}
    short = report | {"forces_ev_ang": report["forces_ev_ang"][:1]}
    assert error(worker.post(path, json=body | {"reports": [short]}), 422)["code"] == "forces_malformed"
    assert worker.post(path, json=body | {"reports": [report]}).json()["accepted"] == [0]


def test_displaced_atoms_without_any_force_are_refused_in_a_sentence(
    api: httpx.Client, worker: httpx.Client, tmp_path: Path
) -> None:
    job = submit(api)
    leased = lease(worker)
    reports = computed(leased, tmp_path)
    nothing = [report | {"forces_ev_ang": [[0, 0, 0], [0, 0, 0]]} for report in reports]
    path, body = f"/calc/zpe/compute/jobs/{job}/tasks", {"lease_id": leased["lease_id"]}
    refused = error(worker.post(path, json=body | {"reports": [nothing[1]]}), 422)
    assert refused["code"] == "forces_malformed"
    assert "all forces are exactly zero although an atom is displaced" in refused["message"]
    # At rest, symmetry may leave no force.
    assert worker.post(path, json=body | {"reports": [nothing[0]]}).json()["accepted"] == [0]
    assert worker.post(path, json=body | {"reports": reports[1:]}).json()["progress"]["done"] == len(reports)


def test_a_worker_that_knows_only_lease_and_result_settles_a_whole_job(
    api: httpx.Client, worker: httpx.Client
) -> None:
    job = submit(api)
    leased = lease(worker)
    assert len(leased["tasks"]) == api.get(f"/calc/zpe/jobs/{job}").json()["progress"]["total"]
    body = {
        "lease_id": leased["lease_id"],
        "result": whole_result(),
        "summary_text": "# ZPE summary\n",
        "freqs_csv": "a,b\n",
        "meta": {},
    }
    path = f"/calc/zpe/compute/jobs/{job}/result"
    assert worker.post(path, json=body).json() == {"ok": True, "idempotent": False}
    assert worker.post(path, json=body).json() == {"ok": True, "idempotent": True}
    assert api.get(f"/calc/zpe/jobs/{job}/result").json() == {"result": body["result"]}
    assert api.get(f"/calc/zpe/jobs/{job}/files?kind=freqs").text == "a,b\n"
    other = body | {"lease_id": "somebody-elses"}
    assert error(worker.post(path, json=other), 409)["code"] == "lease_not_yours"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"freqs_cm": None}, "freqs_cm"),
        ({"freqs_cm": [4400.0]}, "freqs_cm"),
        ({"freqs_cm": [0.0] * 5 + ["4400"]}, "freqs_cm"),
        ({"freqs_cm": [0.0] * 5 + [1e9]}, "freqs_cm"),
        ({"freqs_cm": [0] * 5 + [10**400]}, "freqs_cm"),
        ({"zpe_ev": None}, "zpe_ev"),
        ({"zpe_ev": 0.0}, "zpe_ev"),  # 4400 cm-1 are 0.273 eV
        ({"zpe_ev": 0.546}, "zpe_ev"),
        ({"s_vib_jmol_k": -1.0}, "s_vib_jmol_k"),
        ({"mobile_indices": [0]}, "mobile_indices"),
        ({"mobile_indices": [False, True]}, "mobile_indices"),
        ({"temperature": 500.0}, "temperature"),
        ({"fingerprint": {"engine": "espresso"}}, "fingerprint"),
    ],
)
def test_what_is_no_result_of_the_job_does_not_finish_it(
    api: httpx.Client, worker: httpx.Client, change: Json, field: str
) -> None:
    job = submit(api)
    leased = lease(worker)
    path = f"/calc/zpe/compute/jobs/{job}/result"
    body = {"lease_id": leased["lease_id"], "summary_text": "", "freqs_csv": ""}
    found = error(worker.post(path, json=body | {"result": whole_result() | change}), 422)
    assert (found["code"], found["field"]) == ("result_malformed", f"result.{field}")
    assert error(worker.post(path, json=body | {"result": {}}), 422)["code"] == "result_malformed"
    # The lease is still there for a better one.
    assert api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "started"
    worker.post(path, json=body | {"result": whole_result()}).raise_for_status()
    assert api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "finished"


def test_a_worker_that_knows_only_failed_has_its_job_retried(api: httpx.Client, worker: httpx.Client) -> None:
    job = submit(api)
    leased = lease(worker)
    reply = worker.post(
        f"/calc/zpe/compute/jobs/{job}/failed",
        json={"lease_id": leased["lease_id"], "error_code": "qe_failed", "error_message": "it broke"},
    )
    assert reply.json() == {"ok": True, "requeued": True, "retry_count": 1}
    status = api.get(f"/calc/zpe/jobs/{job}").json()
    assert status["status"] == "queued"
    assert "it broke" in status["detail"]
    assert worker.post("/calc/zpe/compute/jobs/lease", json={}).status_code == 204


def test_an_input_failure_ends_in_the_dead_letter_queue_and_can_be_requeued(
    api: httpx.Client, worker: httpx.Client
) -> None:
    job = submit(api)
    leased = lease(worker, max_tasks=100)
    failure = {
        "side": "input",
        "error_code": "bad_input",
        "error_message": "no such key",
        "traceback": "tail",
    }
    worker.post(f"/calc/zpe/compute/jobs/{job}/failed", json={"lease_id": leased["lease_id"]} | failure)
    [dead] = [d for d in api.get("/calc/zpe/admin/dlq").json()["jobs"] if d["job"]["job_id"] == job]
    assert (dead["error"]["side"], dead["error"]["code"]) == ("input", "bad_input")
    assert [(a["code"], a["traceback"]) for a in dead["attempts"]] == [("bad_input", "tail")]
    for act in ("requeue", "discard"):
        both = {"job_ids": [job, "nothing"], "dry_run": True}
        told = api.post(f"/calc/zpe/admin/dlq/{act}", json=both).json()
        assert told == {"done": [job], "skipped": ["nothing"]}
        told = api.post(f"/calc/zpe/admin/dlq/{act}", json={"code": "bad_input", "dry_run": True}).json()
        assert job in told["done"]
    assert api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "failed"
    reply = api.post("/calc/zpe/admin/dlq/requeue", json={"job_ids": [job]})
    assert reply.json() == {"done": [job], "skipped": []}
    assert api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "queued"
    again = api.post("/calc/zpe/admin/dlq/requeue", json={"job_ids": [job]})
    assert again.json() == {"done": [], "skipped": [job]}


UNFIT: list[tuple[Json, str]] = [
    ({"content": ""}, "content"),
    ({"content": "\x00\x01\x02"}, "content"),
    ({"content": h2().replace("ATOMIC_POSITIONS", "! ATOMIC_POSITIONS")}, "ATOMIC_POSITIONS"),
    ({"content": h2().replace("H 1.008", "Qq 100.0")}, "ATOMIC_SPECIES"),
    ({"content": h2(), "mobile_indices": [7]}, "mobile_indices"),
    ({"content": h2().replace("0.75", "0.75 0 0 0"), "mobile_indices": [1]}, "mobile_indices"),
    ({"content": h2(), "mobile_indices": [-1]}, "mobile_indices"),
    ({"content": h2().replace("0.75", "0.02")}, "ATOMIC_POSITIONS"),
    ({"content": h2().replace("0.75", "0.0"), "symmetry": False}, "ATOMIC_POSITIONS"),
    ({"content": h2().replace("0.75", "0.0"), "symmetry": True}, "ATOMIC_POSITIONS"),
    ({"content": h2() + "HUBBARD atomic\nU H-1s 1.0\n", "requires": {"pw": "<7.1"}}, "requires.pw"),
]
MALFORMED: list[tuple[Json, str]] = [
    ({}, "content"),
    ({"content": h2(), "delta": -1}, "delta"),
    ({"content": h2(), "delta": 1e-7}, "delta"),
    ({"content": h2(), "delta": 0.4}, "delta"),
    ({"content": h2(), "delta": True}, "delta"),
    ({"content": h2(), "temperature": 1e-300}, "temperature"),
    ({"content": h2(), "temperature": "300"}, "temperature"),
    ({"content": h2(), "low_cut_cm": 1e9}, "low_cut_cm"),
    ({"content": h2(), "mobile_indices": [True]}, "mobile_indices.0"),
    ({"content": h2(), "mobile_indices": [1.0]}, "mobile_indices.0"),
    ({"content": h2(), "mobile_indices": [1.5]}, "mobile_indices.0"),
    ({"content": h2(), "priority": True}, "priority"),
    ({"content": h2(), "requires": {"cores": True}}, "requires.cores"),
    ({"content": h2(), "calc_mode": "sometimes"}, "calc_mode"),
    ({"content": h2(), "requires": {"core": 64}}, "requires.core"),
    ({"content": h2(), "requires": {"pw": "7.1"}}, "requires.pw"),
    ({"content": h2(), "requires": {"pw": ">=7.2,<7.1"}}, "requires.pw"),
]


@pytest.mark.parametrize(
    ("status", "body", "field"), [(400, *row) for row in UNFIT] + [(422, *row) for row in MALFORMED]
)
def test_bad_input_names_the_field_and_leaves_nothing_behind(
    api: httpx.Client, status: int, body: Json, field: str
) -> None:
    before = api.get("/calc/zpe/jobs").json()["total"]
    found = error(api.post("/calc/zpe/jobs", json=body), status)
    assert (found["side"], found["field"]) == ("input", field)
    assert api.get("/calc/zpe/jobs").json()["total"] == before


def test_a_submission_is_warned_where_pw_is_known_to_be_wrong(api: httpx.Client) -> None:
    slab = h2().replace("ecutwfc", "assume_isolated = '2D', ecutwfc")
    [warning] = api.post("/calc/zpe/jobs", json={"content": slab}).json()["warnings"]
    assert "before 7.3.1" in warning
    mesh = slab.replace("gamma", "automatic\n1 1 1 0 0 0")
    assert api.post("/calc/zpe/jobs", json={"content": mesh}).json()["warnings"] == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", r'"\ud800"', r'{"content": "\ud800"}', '{"content": 1e999}', "\x00"]
)
def test_bodies_that_are_no_requests_are_refused(api: httpx.Client, text: str) -> None:
    headers = {"Content-Type": "application/json"}
    reply = api.post("/calc/zpe/jobs", content=text.encode("utf-8", "surrogatepass"), headers=headers)
    assert reply.status_code in (400, 422), reply.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("jobs", {"content": f"! HALF\n{h2()}"}),
        ("jobs", {"content": h2(), "input_dir": "HALF"}),
        ("compute/servers/register", {"token": "HALF"}),
        ("compute/jobs/lease", {"capabilities": {"engine": "HALF"}}),
        ("compute/jobs/x/failed", {"lease_id": "x", "error_code": "c", "error_message": "HALF"}),
        ("compute/jobs/x/result", {"lease_id": "x", "result": {}, "summary_text": "HALF", "freqs_csv": ""}),
    ],
)
def test_half_a_character_is_refused_wherever_it_stands(
    api: httpx.Client, worker: httpx.Client, path: str, body: Json
) -> None:
    caller = worker if path.startswith("compute/jobs") else api
    text = json.dumps(body).replace("HALF", r"\ud800")
    headers = {"Content-Type": "application/json"}
    found = error(caller.post(f"/calc/zpe/{path}", content=text, headers=headers), 422)
    assert "holds a character that UTF-8 cannot" in found["message"]
    [name] = [name for name, value in body.items() if "HALF" in str(value)]
    assert f"body.{name}" in found["message"]


def test_what_could_not_be_answered_with_later_is_refused(
    control_plane: ControlPlane, api: httpx.Client, worker: httpx.Client, tmp_path: Path
) -> None:
    for depth, field in ((100, "meta"), (100_000, "body")):  # the parser itself goes no deeper than it can
        text = f'{{"token": "x", "meta": {{"x": {"[" * depth}{"]" * depth}}}}}'
        json_type = {"Content-Type": "application/json"}
        refused = api.post("/calc/zpe/compute/servers/register", content=text, headers=json_type)
        assert error(refused, 422)["field"] == field
    job = submit(api)
    leased = lease(worker, max_tasks=1)
    [report] = computed(leased, tmp_path)
    for absurd, field in (
        ({"scf_seconds": 1e308}, "reports.0.scf_seconds"),
        ({"forces_ev_ang": [[1e308, 0, 0]] * 2}, "reports.0.forces_ev_ang.0.0"),
    ):
        body = {"lease_id": leased["lease_id"], "reports": [report | absurd]}
        found = error(worker.post(f"/calc/zpe/compute/jobs/{job}/tasks", json=body), 422)
        assert found["field"] == field
    assert api.get("/calc/zpe/compute/servers").status_code == 200
    assert api.get("/metrics").status_code == 200


def test_of_a_long_failure_the_telling_ends_are_kept(api: httpx.Client, worker: httpx.Client) -> None:
    job = submit(api)
    failure = {
        "lease_id": lease(worker, max_tasks=100)["lease_id"],
        "side": "input",
        "error_code": "bad_input",
        "error_message": "first words " + "x" * 10**6,
        "traceback": "y" * 10**6 + " last words",
    }
    worker.post(f"/calc/zpe/compute/jobs/{job}/failed", json=failure).raise_for_status()
    found = api.get(f"/calc/zpe/jobs/{job}").json()["error"]
    assert found["message"].startswith("first words")
    assert found["traceback"].endswith("last words")
    assert len(found["message"] + found["traceback"]) < 30_000


def test_the_same_idempotency_key_gives_the_same_job(api: httpx.Client) -> None:
    headers = {"Idempotency-Key": "k" * 20}
    replies = [api.post("/calc/zpe/jobs", json={"content": h2()}, headers=headers) for _ in range(2)]
    first, again = (reply.json() for reply in replies)
    assert (first["created"], again) == (True, {**first, "created": False})
    other = api.post("/calc/zpe/jobs", json={"content": h2(), "delta": 0.02}, headers=headers)
    assert error(other, 409)["code"] == "idempotency_conflict"


def test_a_repeated_lease_request_gives_the_same_lease(api: httpx.Client, worker: httpx.Client) -> None:
    submit(api)
    body = {"max_tasks": 2, "lease_key": "0123456789abcdef"}
    assert lease(worker, **body) == lease(worker, **body)


def test_a_waiting_worker_is_woken_by_a_submission(
    api: httpx.Client, worker: httpx.Client, control_plane: ControlPlane
) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lease, worker, max_tasks=1, wait_seconds=30)
        job = submit(api)
        assert waiting.result(timeout=25)["job_id"] == job


def test_a_status_request_waits_for_news(api: httpx.Client) -> None:
    job = submit(api)
    version = api.get(f"/calc/zpe/jobs/{job}").json()["version"]
    with ThreadPoolExecutor(1) as pool:
        params = {"wait_seconds": 30, "after": version}
        waiting = pool.submit(api.get, f"/calc/zpe/jobs/{job}", params=params)
        api.post(f"/calc/zpe/jobs/{job}/cancel")
        assert waiting.result(timeout=25).json()["error"]["code"] == "job_cancelled"


def test_one_owner_cannot_see_or_cancel_the_job_of_another(control_plane: ControlPlane) -> None:
    ann, bob = (control_plane.api(control_plane.researcher_token(name)) for name in ("ann", "bob"))
    with ann, bob:
        job = submit(ann)
        assert ann.get(f"/calc/zpe/jobs/{job}").json()["owner"] == "ann"
        for reply in (
            bob.get(f"/calc/zpe/jobs/{job}"),
            bob.get(f"/calc/zpe/jobs/{job}/detail"),
            bob.get(f"/calc/zpe/jobs/{job}/result"),
            bob.post(f"/calc/zpe/jobs/{job}/cancel"),
            bob.get("/calc/zpe/jobs/none"),
            bob.get("/calc/zpe/jobs/a:b"),
        ):
            assert error(reply, 404)["code"] == "job_not_found"
        assert bob.get("/calc/zpe/jobs", params={"owner": "ann"}).json()["jobs"] == []
        assert ann.post(f"/calc/zpe/jobs/{job}/cancel").json()["status"] == "cancelled"
        assert error(ann.post(f"/calc/zpe/jobs/{job}/requeue"), 409)["code"] == "not_in_dlq"


def test_many_jobs_are_cancelled_by_what_they_have_in_common(control_plane: ControlPlane) -> None:
    every = "/calc/zpe/jobs/cancel"
    with (
        control_plane.api(control_plane.researcher_token("ida")) as ann,
        control_plane.api(control_plane.researcher_token("otto")) as bob,
        control_plane.api() as admin,
    ):

        def status(job: str) -> str:
            return str(admin.get(f"/calc/zpe/jobs/{job}", headers={"X-ZPE-Version": "1"}).json()["status"])

        mistakes = {submit(ann, project="mistake", tags=["wrong"]) for _ in range(3)}
        good, bobs = submit(ann, project="good"), submit(bob, project="mistake")
        for selection in ({}, {"dry_run": True}):
            assert error(ann.post(every, params=selection), 422)["code"] == "bad_selection"
        assert error(bob.post(every, params={"owner": "ida"}), 403)["code"] == "forbidden"
        chosen = {"project": "mistake", "tag": "wrong"}
        told = ann.post(every, params=chosen | {"dry_run": True}).json()
        assert (set(told["jobs"]), told["total"]) == (mistakes, 3)
        assert {status(job) for job in mistakes} == {"queued"}
        assert ann.post(every, params=chosen | {"status": "finished"}).json() == {"jobs": [], "total": 0}
        told = ann.post(every, params=chosen).json()
        assert (set(told["jobs"]), told["total"]) == (mistakes, 3)
        assert {status(job) for job in mistakes} == {"cancelled"}
        assert [status(job) for job in (good, bobs)] == ["queued", "queued"]
        assert ann.post(every, params=chosen).json() == {"jobs": [], "total": 0}
        assert admin.post(every, params={"owner": "ida", "status": "queued"}).json()["jobs"] == [good]
        assert admin.post(every, params={"project": "mistake"}).json()["jobs"] == [bobs]
        newest = admin.get("/calc/zpe/admin/audit").json()["entries"][0]
        assert (newest["what"], newest["subject"]) == ("cancelled", bobs)


def test_each_door_opens_for_its_role_alone(control_plane: ControlPlane) -> None:
    tokens = {
        "worker": control_plane.register()["worker_token"],
        "researcher": control_plane.researcher_token("carol"),
    }
    doors = {
        "worker": ("POST", "/calc/zpe/compute/heartbeat"),
        "researcher": ("GET", "/calc/zpe/jobs"),
        "admin": ("GET", "/calc/zpe/admin/flags"),
    }
    for wanted, (method, path) in doors.items():
        reply = httpx.request(method, control_plane.url + path)
        assert error(reply, 401)["code"] == "no_token"
        for role, token in tokens.items():
            with control_plane.api(token) as client:
                reply = client.request(method, path, json={} if method == "POST" else None)
                assert reply.status_code == (200 if role == wanted else 403), (wanted, role)
    with control_plane.api("zpew_" + "x" * 43) as nobody:
        assert error(nobody.get("/calc/zpe/jobs"), 401)["code"] == "bad_token"


def test_an_enroll_token_works_once_and_a_revoked_worker_is_out_at_once(
    control_plane: ControlPlane, api: httpx.Client
) -> None:
    token = control_plane.enroll_token()
    path = "/calc/zpe/compute/servers/register"
    node = httpx.post(control_plane.url + path, json={"token": token}).json()
    assert (
        error(httpx.post(control_plane.url + path, json={"token": token}), 400)["code"] == "bad_enroll_token"
    )
    with control_plane.api(node["worker_token"]) as worker:
        job = submit(api)
        lease(worker, max_tasks=1)
        renewed = worker.post("/calc/zpe/compute/servers/token").json()["worker_token"]
        assert worker.post("/calc/zpe/compute/heartbeat", json={}).status_code == 200
        reply = api.delete(f"/calc/zpe/compute/servers/{node['server_id']}")
        assert reply.json()["revoked_count"] == 2
        assert error(worker.post("/calc/zpe/compute/heartbeat", json={}), 403)["code"] == "worker_revoked"
        with control_plane.api(renewed) as same:
            assert same.post("/calc/zpe/compute/jobs/lease", json={}).status_code == 403
        assert api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "queued"
    trail = api.get("/calc/zpe/admin/audit").json()["entries"]
    token_id = trail[2]["subject"]  # what it would have been revoked by
    assert [entry["what"] for entry in trail[:3]] == [
        "worker revoked",
        f"registered with enroll token {token_id}",
        "enroll token minted",
    ]
    assert token not in str(trail)


def test_the_structure_of_any_calculation_is_shown_though_it_cannot_be_submitted(api: httpx.Client) -> None:
    content = h2().replace("&CONTROL", "&CONTROL calculation = 'md',").replace("K_POINTS gamma\n", "")
    content = content.replace(", ecutwfc = 20.0", "").replace("0.75", "3/4")
    found = api.post("/calc/zpe/parse", json={"content": content}).json()
    assert found["structure"]["atoms"][1] == {"symbol": "H", "x": 0.0, "y": 0.0, "z": 0.75}
    assert found["kpoints"] is None
    assert error(api.post("/calc/zpe/jobs", json={"content": content}), 400)["field"] == "calculation"


def test_atoms_too_close_are_named_with_their_distance(api: httpx.Client) -> None:
    for symmetry in (True, False):
        body = {"content": h2().replace("0.75", "0.02"), "symmetry": symmetry}
        found = error(api.post("/calc/zpe/jobs", json=body), 400)
        assert (found["code"], found["field"]) == ("atoms_too_close", "ATOMIC_POSITIONS")
        assert "atoms 0 (H) and 1 (H) are 0.02 \u00c5 apart" in found["message"]


def test_submission_and_leasing_can_be_stopped(api: httpx.Client, worker: httpx.Client) -> None:
    job = submit(api)
    try:
        api.patch("/calc/zpe/admin/flags", json={"submission_enabled": False, "dequeue_enabled": False})
        refused = api.post("/calc/zpe/jobs", json={"content": h2()})
        assert error(refused, 503)["code"] == "submission_disabled"
        assert worker.post("/calc/zpe/compute/jobs/lease", json={}).status_code == 204
    finally:
        flags = api.patch("/calc/zpe/admin/flags", json={"submission_enabled": True, "dequeue_enabled": True})
    assert flags.json() == {"submission_enabled": True, "dequeue_enabled": True}
    assert lease(worker)["job_id"] == job


def test_a_body_over_the_limit_is_413_with_and_without_a_length(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    with own_control_plane(ZPE_MAX_BODY_BYTES=5000).api() as api:
        large = '{"content": "' + "x" * 6000 + '"}'
        assert error(api.post("/calc/zpe/parse", content=large), 413)["code"] == "body_too_large"
        chunks = (large[n : n + 1000].encode() for n in range(0, len(large), 1000))
        assert error(api.post("/calc/zpe/parse", content=chunks), 413)["code"] == "body_too_large"


def test_without_an_admin_token_admin_calls_are_forbidden(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_ADMIN_TOKEN="")
    with plane.api("anything-at-all") as api:
        assert error(api.get("/calc/zpe/admin/flags"), 403)["code"] == "no_admin"


def test_jobs_survive_a_kill_of_the_control_plane_and_its_redis(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    with plane.api() as api:
        job = submit(api)
        plane.kill()
        plane.start()
        assert api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "queued"


def test_a_store_that_is_away_is_503_and_comes_back_by_itself(
    own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    plane = own_control_plane(ZPE_REDIS_URL=redis.url)
    with plane.api() as api:
        job = submit(api)
        redis.kill()
        for path in ("/readyz", f"/calc/zpe/jobs/{job}"):
            reply = api.get(path)
            assert error(reply, 503)["side"] == "store"
            assert "Retry-After" in reply.headers
        assert error(api.post("/calc/zpe/jobs", json={"content": h2()}), 503)["code"] == "store_unavailable"
        assert api.get("/healthz").status_code == 200
        redis.start()
        assert api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "queued"
        assert api.get("/calc/zpe/jobs").json()["total"] == 1
        redis.kill()


def test_an_embedded_redis_that_dies_is_started_again(own_control_plane: Callable[..., ControlPlane]) -> None:
    plane = own_control_plane()
    with plane.api() as api:
        job = submit(api)
        [redis] = [p for p in psutil.Process(plane.process.pid).children() if "server" in p.name()]
        redis.kill()
        wait_until(lambda: api.get("/readyz").status_code == 200)
        assert api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "queued"


def test_no_secret_is_logged(control_plane: ControlPlane) -> None:
    enroll = control_plane.enroll_token()
    with control_plane.api(enroll) as wrong:
        wrong.get("/calc/zpe/jobs")
    httpx.post(control_plane.url + "/calc/zpe/compute/servers/register", json={"token": enroll, "meta": []})
    worker = control_plane.register()["worker_token"]
    for secret in (enroll, worker, control_plane.admin_token):
        assert secret not in control_plane.log
