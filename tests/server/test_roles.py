"""Administrators with names of their own, and observers, who see all and change nothing."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.processes import ControlPlane, h2


def token(plane: ControlPlane, name: str, role: str) -> str:
    with plane.api() as api:
        reply = api.post("/calc/zpe/admin/tokens", json={"owner": name, "role": role}).raise_for_status()
        assert reply.json()["role"] == role
        return str(reply.json()["token"])


@pytest.fixture
def observer(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.api(token(control_plane, "olga", "observer")) as api:
        yield api


@pytest.fixture
def ada(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.api(token(control_plane, "ada", "admin")) as api:
        yield api


def test_an_observer_sees_what_an_administrator_sees(
    control_plane: ControlPlane, observer: httpx.Client
) -> None:
    server_id = control_plane.register(name="lab-pc")["server_id"]
    with control_plane.api(control_plane.researcher_token("ann")) as ann:
        job = ann.post("/calc/zpe/jobs", json={"content": h2()}).json()["job_id"]
    assert observer.get("/calc/zpe/me").json()["role"] == "observer"
    assert job in [found["job_id"] for found in observer.get("/calc/zpe/jobs").json()["jobs"]]
    assert observer.get(f"/calc/zpe/jobs/{job}/detail").status_code == 200
    workers = observer.get("/calc/zpe/compute/servers").json()["workers"]
    assert server_id in [worker["server_id"] for worker in workers]
    looks = ("overview", "flags", "dlq", "tokens", "groups", "audit", "scfs", "owners/ann")
    assert {observer.get(f"/calc/zpe/admin/{page}").status_code for page in looks} == {200}
    assert observer.get("/calc/zpe/compute/leases").status_code == 200
    assert observer.get("/metrics").status_code == 200


def test_an_observer_changes_nothing(control_plane: ControlPlane, observer: httpx.Client) -> None:
    """Each call of the API that is more than a look answers 403."""
    paths = observer.get("/openapi.json").json()["paths"]
    changes = [
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if method != "get" and not path.endswith("/servers/register")
    ]
    assert len(changes) > 25
    for method, path in changes:
        filled = path.replace("{", "").replace("}", "")
        reply = observer.request(method, filled, json={})
        assert reply.status_code == 403, (method, path, reply.text)
    with control_plane.api(token(control_plane, "olga", "researcher")) as olga:
        job = olga.post("/calc/zpe/jobs", json={"content": h2()}).json()["job_id"]
    assert observer.post(f"/calc/zpe/jobs/{job}/cancel").status_code == 403


def test_the_audit_trail_names_each_administrator(control_plane: ControlPlane, ada: httpx.Client) -> None:
    assert ada.get("/calc/zpe/me").json() | {"usage": 0, "limits": 0} == {
        "name": "ada",
        "role": "admin",
        "groups": [],
        "shows_jobs": False,
        "usage": 0,
        "limits": 0,
    }
    ada.patch("/calc/zpe/admin/flags", json={"dequeue_enabled": True}).raise_for_status()
    entries = ada.get("/calc/zpe/admin/audit").json()["entries"]
    assert (entries[0]["who"], entries[0]["what"]) == ("ada", "dequeue_enabled = true")
    assert (entries[1]["who"], entries[1]["what"]) == ("admin", "admin token minted")
    job = ada.post("/calc/zpe/jobs", json={"content": h2()}).json()["job_id"]
    assert ada.get(f"/calc/zpe/jobs/{job}").json()["owner"] == "ada"
    with control_plane.api() as api:
        [entry] = [t for t in api.get("/calc/zpe/admin/tokens").json()["tokens"] if t["owner"] == "ada"][-1:]
        assert entry["role"] == "admin"
        assert entries[1]["subject"] == f"ada, {entry['token_id']}"
        api.delete(f"/calc/zpe/admin/tokens/{entry['token_id']}").raise_for_status()


def test_a_researcher_makes_nobody_an_administrator(control_plane: ControlPlane) -> None:
    with control_plane.api(control_plane.researcher_token("ann")) as ann:
        reply = ann.post("/calc/zpe/admin/tokens", json={"owner": "ann", "role": "admin"})
        assert reply.status_code == 403
    with control_plane.api() as api:
        for name in ("admin", "anonymous"):
            refused = api.post("/calc/zpe/admin/tokens", json={"owner": name, "role": "admin"})
            assert refused.json()["error"]["code"] == "owner_reserved"
