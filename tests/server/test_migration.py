"""Row by row, the table of docs/migration.md: what pages, scripts and workers of before find here.

They send no version, as no caller of another make does.
"""

from __future__ import annotations

import ast
import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes import PATIENCE, ControlPlane, environment, h2, wait_until

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
Test = Callable[..., None]

# By row of the table, the test that it has: here, or in the file that all of its subject is in.
ROWS: dict[str, str] = {
    "imaginary modes in `freqs_cm`": "tests/vibrations/test_result.py::"
    "test_an_imaginary_mode_is_kept_marked_and_left_out",
    "a worker that lets its lease end": "tests/server/test_transitions.py::"
    "test_expiry_returns_only_unfinished_tasks_and_a_late_result_is_kept",
    "web pages of another origin": "tests/server/test_cross_origin.py::"
    "test_a_page_of_an_allowed_origin_goes_the_whole_way",
    "results of such a worker in Python": "tests/sdk/test_client.py::"
    "test_the_result_of_a_worker_of_another_make_is_shown_as_far_as_it_goes",
    "`ZPE_PW_COMMAND` of one word": "tests/worker/test_machine.py::"
    "test_a_command_of_one_word_is_a_program_that_runs_under_mpi",
    "`ZPE_USE_MPI`, `ZPE_NP_CORE` not set": "tests/worker/test_machine.py::"
    "test_an_scf_gets_as_many_cores_as_its_cell_can_use",
    "`GET /calc/zpe/compute/targets`, `POST /calc/zpe/compute/targets/select`": "tests/server/"
    "test_owners.py::test_the_targets_of_the_web_interface",
    "the RQ queue `zpe`": "tests/server/test_remote_queue.py::"
    "test_workers_of_other_services_see_no_job_of_ours",
}


def row(name: str) -> Callable[[Test], Test]:
    """Say which row of the table a test is of."""

    def note(test: Test) -> Test:
        ROWS[name] = f"tests/server/test_migration.py::{test.__name__}"
        return test

    return note


@pytest.fixture(scope="module")
def finished(control_plane: ControlPlane) -> Iterator[tuple[httpx.Client, str]]:
    """A page that has waited for its job."""
    worker = control_plane.worker()
    with control_plane.api(control_plane.researcher_token("page")) as page:
        job = submit(page)
        wait_until(lambda: page.get(f"/calc/zpe/jobs/{job}").json()["status"] == "finished")
        worker.terminate()
        worker.wait()
        yield page, job


@pytest.fixture
def page(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.api(control_plane.researcher_token("page")) as client:
        yield client
        for state in ("queued", "started"):
            for job in client.get("/calc/zpe/jobs", params={"status": state}).json()["jobs"]:
                client.post(f"/calc/zpe/jobs/{job['job_id']}/cancel")


@pytest.fixture
def node(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.api(control_plane.register(name="old", queue_name="zpe")["worker_token"]) as client:
        yield client


def submit(page: httpx.Client, **more: Any) -> str:
    body = {"content": h2(), "mobile_indices": [0, 1], "use_environ": False, "calc_mode": "new"} | more
    reply = page.post("/calc/zpe/jobs", json=body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["job_id"])


def leased(node: httpx.Client) -> Json:
    """Get a lease as a worker of before asks for one: without a body."""
    reply = node.post("/calc/zpe/compute/jobs/lease")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


# -------------------------------------------------------------------------------------- researchers


@row("`POST /calc/zpe/parse`")
def test_parse(page: httpx.Client) -> None:
    found = page.post("/calc/zpe/parse", json={"content": h2(), "structure_id": "of-another-service"}).json()
    assert found["structure"]["atoms"][1] == {"symbol": "H", "x": 0.0, "y": 0.0, "z": 0.75}
    assert set(found["structure"]["lattice"]) == {"a", "b", "c"}
    assert (found["fixed_indices"], found["atomic_species"]) == ([], {"H": "H.pbe-kjpaw.UPF"})
    assert found["kpoints"] is None


@row("`POST /calc/zpe/jobs`")
def test_submission(page: httpx.Client) -> None:
    job = submit(page, mobile_indices=[1, 0, 1, 1])
    assert page.get(f"/calc/zpe/jobs/{job}/detail").json()["mobile_indices"] == [0, 1]
    everything = page.post("/calc/zpe/jobs", json={"content": h2()}).json()
    assert set(everything) == {"job_id", "warnings", "created"}


@row("`structure_id`")
def test_structures_are_another_services(page: httpx.Client, node: httpx.Client) -> None:
    job = submit(page, structure_id="7c1f-of-another-service")
    lease = leased(node)
    assert (lease["job_id"], lease["payload"]["structure_id"]) == (job, "7c1f-of-another-service")


@row("`GET /calc/zpe/jobs/{id}`")
def test_status(page: httpx.Client, node: httpx.Client, finished: tuple[httpx.Client, str]) -> None:
    job = submit(page)
    found = page.get(f"/calc/zpe/jobs/{job}").json()
    assert found["status"] == "queued"
    assert {"status", "detail", "updated_at", "progress"} <= set(found)
    leased(node)
    assert page.get(f"/calc/zpe/jobs/{job}").json()["status"] == "started"
    assert page.get(f"/calc/zpe/jobs/{finished[1]}").json()["status"] == "finished"
    assert page.get("/calc/zpe/jobs/no-such-job").status_code == 404


@row("a cancelled job")
def test_a_cancelled_job_ends_for_those_who_poll(page: httpx.Client) -> None:
    job = submit(page)
    assert page.post(f"/calc/zpe/jobs/{job}/cancel").json()["status"] == "cancelled"
    found = page.get(f"/calc/zpe/jobs/{job}").json()
    assert (found["status"], found["detail"]) == ("failed", "cancelled by page")
    assert (found["error"]["side"], found["error"]["code"]) == ("input", "job_cancelled")
    ours = page.get(f"/calc/zpe/jobs/{job}", headers={"X-ZPE-Version": "1.0"}).json()
    assert (ours["status"], ours["error"]) == ("cancelled", None)
    assert page.get(f"/calc/zpe/jobs/{job}/result").status_code == 409


@row("`GET /calc/zpe/jobs/{id}/result`")
def test_result(finished: tuple[httpx.Client, str]) -> None:
    page, job = finished
    result = page.get(f"/calc/zpe/jobs/{job}/result").json()["result"]
    assert set(result) >= {
        *("freqs_cm", "zpe_ev", "s_vib_jmol_k", "mobile_indices", "fixed_indices", "kpts", "delta"),
        *("low_cut_cm", "temperature", "use_environ", "qe_input", "pseudo_dir", "calc_start_time"),
        *("calc_end_time", "elapsed_seconds", "cache_checked", "cache_deleted", "ecutwfc", "ecutrho"),
    }
    assert (result["qe_input"], result["pw_input"]) == ("inline", h2())
    queued = submit(page)
    assert page.get(f"/calc/zpe/jobs/{queued}/result").status_code == 409
    page.post(f"/calc/zpe/jobs/{queued}/cancel")


@row("`GET /calc/zpe/jobs/{id}/files?kind=freqs`")
def test_frequencies(finished: tuple[httpx.Client, str]) -> None:
    page, job = finished
    file = page.get(f"/calc/zpe/jobs/{job}/files", params={"kind": "freqs"})
    assert file.headers["content-type"].startswith("text/csv")
    assert file.headers["content-disposition"] == 'attachment; filename="freqs.csv"'
    assert file.text.startswith("frequency_cm^-1")
    first = [float(line[0]) for line in list(csv.reader(io.StringIO(file.text)))[1:]]
    result = page.get(f"/calc/zpe/jobs/{job}/result").json()["result"]
    assert first == pytest.approx(result["freqs_cm"], abs=1e-6)


@row("`GET /calc/zpe/jobs/{id}/files?kind=summary`")
def test_summary(finished: tuple[httpx.Client, str]) -> None:
    page, job = finished
    file = page.get(f"/calc/zpe/jobs/{job}/files", params={"kind": "summary"})
    assert file.headers["content-type"].startswith("text/plain")
    assert file.headers["content-disposition"] == 'attachment; filename="summary.txt"'
    assert file.text.startswith("# ZPE summary")
    result = page.get(f"/calc/zpe/jobs/{job}/result").json()["result"]
    lines = file.text.splitlines()
    assert f"ZPE (eV): {result['zpe_ev']:.6f}" in lines
    assert f"S_vib(298.15 K): {result['s_vib_jmol_k']:.4f} J/mol/K" in lines


@row("statuses of refused inputs")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"content": ""}),
        (400, {"content": "no input"}),
        (400, {"content": h2().replace("ATOMIC_POSITIONS", "! ATOMIC_POSITIONS")}),
        (400, {"content": h2(), "mobile_indices": [7]}),
        (400, {"content": h2(), "mobile_indices": []}),
        (400, {"content": h2().replace("0.75", "0.75 0 0 0"), "mobile_indices": [1]}),
        (422, {}),
        (422, {"content": 7}),
        (422, {"content": h2(), "calc_mode": "sometimes"}),
        (422, {"content": h2(), "mobile_indices": ["0"]}),
    ],
)
def test_refused_inputs(page: httpx.Client, status: int, body: Json) -> None:
    reply = page.post("/calc/zpe/jobs", json=body)
    assert reply.status_code == status, reply.text
    assert isinstance(reply.json()["detail"], str)
    if set(body) <= {"content"}:
        assert page.post("/calc/zpe/parse", json=body).status_code == status


@row("researchers")
def test_researchers(control_plane: ControlPlane, page: httpx.Client) -> None:
    job = submit(page)
    assert httpx.get(f"{control_plane.url}/calc/zpe/jobs/{job}").status_code == 401
    with control_plane.api(control_plane.researcher_token("other")) as other:
        assert other.get(f"/calc/zpe/jobs/{job}").status_code == 404


# ------------------------------------------------------------------------------------ compute nodes


@row("`POST /calc/zpe/compute/enroll-tokens`")
def test_enroll_tokens(control_plane: ControlPlane) -> None:
    with control_plane.api() as admin:
        path = "/calc/zpe/compute/enroll-tokens"
        found = admin.post(path, json={"ttl_seconds": 60, "label": "worker-1"}).json()
        assert {"token", "expires_at", "ttl_seconds", "label"} <= set(found)
        assert (found["ttl_seconds"], found["label"]) == (60, "worker-1")
        assert admin.post(path, json={"ttl_seconds": 0}).status_code == 422


@row("`POST /calc/zpe/compute/servers/register`")
def test_registration(control_plane: ControlPlane) -> None:
    url = f"{control_plane.url}/calc/zpe/compute/servers/register"
    body = {"token": control_plane.enroll_token(), "name": "worker-1", "queue_name": "zpe"}
    found = httpx.post(url, json=body | {"meta": {"host": "compute-01"}}).json()
    assert set(found) >= {
        *("server_id", "registered_at", "name", "worker_token", "token_expires_at", "token_ttl_seconds")
    }
    assert found["server_id"].startswith("compute-")
    assert httpx.post(url, json=body).status_code == 400  # it is used up


@row("`DELETE /calc/zpe/compute/servers/{id}`")
def test_revocation(control_plane: ControlPlane) -> None:
    server_id = control_plane.register()["server_id"]
    with control_plane.api() as admin:
        assert admin.delete(f"/calc/zpe/compute/servers/{server_id}").json()["revoked_count"] == 1
        assert admin.delete("/calc/zpe/compute/servers/compute-none").status_code == 404


@row("enroll tokens minted by researchers")
def test_researchers_mint_enroll_tokens_where_they_may(
    page: httpx.Client, own_control_plane: Callable[..., ControlPlane]
) -> None:
    assert page.post("/calc/zpe/compute/enroll-tokens", json={}).status_code == 403
    plane = own_control_plane(ZPE_USER_WORKERS="own")
    with plane.api(plane.researcher_token("ada")) as ada:
        minted = ada.post("/calc/zpe/compute/enroll-tokens", json={"label": "mine"}).json()
    assert {"token", "expires_at", "ttl_seconds", "label"} <= set(minted)


@row("a worker's token")
def test_tokens_of_workers(control_plane: ControlPlane) -> None:
    registered = control_plane.register()
    with (
        control_plane.api() as admin,
        control_plane.api(registered["worker_token"]) as node,
        control_plane.api("zpew_" + "x" * 43) as nobody,
    ):
        assert nobody.post("/calc/zpe/compute/jobs/lease").status_code == 401
        assert node.post("/calc/zpe/compute/jobs/lease").status_code == 204
        renewed = node.post("/calc/zpe/compute/servers/token").json()["worker_token"]
        admin.delete(f"/calc/zpe/compute/servers/{registered['server_id']}")
        for token in (registered["worker_token"], renewed):
            with control_plane.api(token) as revoked:
                for path in ("jobs/lease", "servers/token", "heartbeat"):
                    reply = revoked.post(f"/calc/zpe/compute/{path}", json={})
                    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "worker_revoked")


@row("`POST /calc/zpe/compute/jobs/lease`")
def test_lease(page: httpx.Client, node: httpx.Client) -> None:
    assert node.post("/calc/zpe/compute/jobs/lease").status_code == 204
    job = submit(page)
    lease = leased(node)
    assert {"job_id", "payload", "lease_id", "lease_ttl_seconds"} <= set(lease)
    assert lease["job_id"] == job
    assert lease["payload"]["content"] == h2()
    assert lease["payload"]["mobile_indices"] == [0, 1]
    assert {"use_environ", "input_dir", "calc_mode"} <= set(lease["payload"])


@row("`POST /calc/zpe/compute/jobs/{id}/result`")
def test_a_whole_result(page: httpx.Client, node: httpx.Client) -> None:
    job = submit(page)
    lease = leased(node)
    result = {
        "freqs_cm": [0.0, 0.0, 12.1, 31.4, 48.0, 4400.0],
        "zpe_ev": 0.2728,
        "s_vib_jmol_k": 0.01,
        "mobile_indices": [0, 1],
        "qe_input": "inline",
    }
    body = {
        "lease_id": lease["lease_id"],
        "result": result,
        "summary_text": "# ZPE summary (ASE Vibrations)\n",
        "freqs_csv": "frequency_cm^-1\n4400.0\n",
        "meta": {"worker_hostname": "compute-01"},
    }
    path = f"/calc/zpe/compute/jobs/{job}/result"
    assert node.post(path, json=body | {"lease_id": "of-somebody-else"}).status_code == 409
    assert node.post(path, json=body | {"result": result | {"zpe_ev": 9.0}}).status_code == 422
    assert node.post(path, json=body).json() == {"ok": True, "idempotent": False}
    assert node.post(path, json=body).json() == {"ok": True, "idempotent": True}
    assert page.get(f"/calc/zpe/jobs/{job}").json()["status"] == "finished"
    assert page.get(f"/calc/zpe/jobs/{job}/result").json() == {"result": result}
    assert page.get(f"/calc/zpe/jobs/{job}/files?kind=freqs").text == body["freqs_csv"]


@row("`POST /calc/zpe/compute/jobs/{id}/failed`")
def test_a_failure(page: httpx.Client, node: httpx.Client) -> None:
    job = submit(page)
    lease = leased(node)
    body = {"error_code": "ValueError", "error_message": "boom", "traceback": "Traceback …"}
    path = f"/calc/zpe/compute/jobs/{job}/failed"
    assert node.post(path, json=body | {"lease_id": "of-somebody-else"}).status_code == 409
    reply = node.post(path, json=body | {"lease_id": lease["lease_id"]}).json()
    assert reply == {"ok": True, "requeued": True, "retry_count": 1}
    assert page.get(f"/calc/zpe/jobs/{job}").json()["status"] == "queued"


# -------------------------------------------------------------------------------- administrators


@row("the administrator's token")
def test_the_administrators_token(
    control_plane: ControlPlane, own_control_plane: Callable[..., ControlPlane]
) -> None:
    def status(plane: ControlPlane, path: str = "admin/ops", **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(f"{plane.url}/calc/zpe/{path}", headers=named).status_code

    for path in ("admin/ops", "compute/enroll-tokens", "compute/servers"):
        assert status(control_plane, path, X_Admin_Token=control_plane.admin_token) == 200
    assert status(control_plane, Authorization=f"Bearer {control_plane.admin_token}") == 200
    assert status(control_plane, X_Admin_Token="not-the-one-0123456789") == 401
    assert status(control_plane) == 401
    # What is sent as a bearer token counts; a researcher's is not another one's beside it.
    bearer = f"Bearer {control_plane.researcher_token('page')}"
    assert status(control_plane, Authorization=bearer, X_Admin_Token=control_plane.admin_token) == 403
    assert status(own_control_plane(ZPE_ADMIN_TOKEN=""), X_Admin_Token="anything-at-all-012345") == 403


@row("`GET`, `POST /calc/zpe/admin/ops`")
def test_switches(control_plane: ControlPlane, page: httpx.Client) -> None:
    path = "/calc/zpe/admin/ops"
    with control_plane.api() as admin:
        try:
            off = admin.post(path, json={"submission_enabled": False}).json()
            assert off == {"submission_enabled": False, "dequeue_enabled": True}
            assert page.post("/calc/zpe/jobs", json={"content": h2()}).status_code == 503
        finally:
            on = {"submission_enabled": True, "dequeue_enabled": True}
            assert admin.post(path, json=on).json() == on
        assert admin.get(path).json() == on == admin.get("/calc/zpe/admin/flags").json()
    assert page.get(path).status_code == 403


@row("`GET /health`")
def test_health(control_plane: ControlPlane) -> None:
    assert httpx.get(f"{control_plane.url}/health").json() == {"status": "ok"}


@row("`ZPE_API_URL`")
def test_the_script_that_submits_h2(control_plane: ControlPlane) -> None:
    worker = control_plane.worker("for-the-script")
    settings = {"ZPE_API_URL": f"{control_plane.url}/", "ZPE_TOKEN": control_plane.researcher_token("ada")}
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "zpe-submit-h2.py"],
        env=environment(**settings, ZPE_CONTROL_API_URL="http://127.0.0.1:9"),
        cwd=os.sep,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    worker.terminate()
    worker.wait()
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ZPE \(eV\): 0\.\d{6}$", done.stdout, re.M)


# ------------------------------------------------------------------------------------- the table


def table() -> dict[str, str]:
    """Return the second column of the page's first table by the first."""
    page = (ROOT / "docs" / "migration.md").read_text()
    lines = page[page.index("| before | now | |") :].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {cell[0]: cell[1] for cell in cells}


def test_each_row_of_the_table_has_a_test_and_each_test_a_row() -> None:
    assert set(table()) == set(ROWS)
    assert set(table().values()) == {"same", "more", "differs"}
    for named in ROWS.values():
        path, _, name = named.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        assert name in {function.name for function in functions}, named
