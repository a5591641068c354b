"""Requests made up from the API's own description: none makes a 500, none gets past a door."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from tests.processes import ControlPlane

ROLES = ("nobody", "worker", "researcher", "admin")
CLOSED = (
    "user_workers_off",
    "only an administrator may take back results",
    "a researcher may enrol workers of their own only",
    "and administrators decide about these jobs",  # of the owner that was made up
)
OPEN = {"/health", "/healthz", "/readyz", "/calc/zpe/compute/servers/register"}


def role_of(path: str, method: str) -> str:
    """Return whom an operation is for, as the documentation has it."""
    if path == "/calc/zpe/login":  # how to log in; and, for whoever has logged in at an issuer, a token
        return "nobody" if method.lower() == "get" else "issuer"
    if path in OPEN:
        return "nobody"
    if path in ("/calc/zpe/compute/servers/token", "/calc/zpe/compute/heartbeat") or path.startswith(
        "/calc/zpe/compute/jobs/"
    ):
        return "worker"
    if path.startswith(tuple(f"/calc/zpe/compute/{own}" for own in ("targets", "servers", "enroll-tokens"))):
        return "researcher"  # of workers of one's own
    if path.startswith(("/calc/zpe/compute", "/calc/zpe/admin", "/metrics")):
        return "admin"
    return "researcher"


def allowed(role: str, wanted: str) -> bool:
    return wanted in ("nobody", role) or (role, wanted) == ("admin", "researcher")


@pytest.fixture(scope="module")
def tokens(control_plane: ControlPlane) -> dict[str, str | None]:
    return {
        "nobody": None,
        "worker": control_plane.register()["worker_token"],
        "researcher": control_plane.researcher_token("dora"),
        "admin": control_plane.admin_token,
    }


def test_no_made_up_request_makes_a_500_or_gets_past_a_door(
    control_plane: ControlPlane, tokens: dict[str, str | None]
) -> None:
    schema = schemathesis.openapi.from_url(f"{control_plane.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        _attack(operation, tokens)


def _attack(operation: Any, tokens: dict[str, str | None]) -> None:
    wanted = role_of(operation.path, operation.method)

    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=st.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode),
        role=st.sampled_from((wanted,) * 4 * (wanted in ROLES) + ROLES),
    )
    def run(case: Any, role: str) -> None:
        token = tokens[role]
        # A made-up wait would only make the test slow.
        if case.query:
            case.query.pop("wait_seconds", None)
        if isinstance(case.body, dict):
            case.body.pop("wait_seconds", None)
        case.headers = {**(case.headers or {})}
        case.headers.pop("Authorization", None)
        if token:
            case.headers["Authorization"] = f"Bearer {token}"
        reply = case.call()
        told = f"{operation.method} {operation.path} as {role}: {reply.status_code} {reply.text[:300]}"
        # An administrator's made-up request may well switch submission off.
        assert reply.status_code < 500 or "submission_disabled" in reply.text, told
        if not allowed(role, wanted):
            assert reply.status_code in (400, 401, 403, 404, 422, 429), told
        if reply.status_code in (401, 403):
            # Researchers mint for workers of their own only where an administrator lets them.
            closed = operation.path.endswith("register") or any(why in reply.text for why in CLOSED)
            assert not allowed(role, wanted) or closed, told

    run()
