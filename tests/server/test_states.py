"""A job whose SCFs end in different electronic states: run again, failed, or accepted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes import ControlPlane, h2
from zpe_sdk import ZPEClient
from zpe_sdk.errors import ComputeError

OFF = "mock: fail=electronic_state_differs task=2 times={times}"


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {"ZPE_COMPUTE_MODE": "mock"}


@pytest.fixture
def client(control_plane: ControlPlane) -> Iterator[ZPEClient]:
    with ZPEClient(control_plane.url, control_plane.admin_token) as found:
        yield found


@pytest.mark.parametrize("times", [1, 2])
def test_an_scf_of_another_state_is_run_again_until_it_fits(client: ZPEClient, times: int) -> None:
    usual = client.submit(h2(), symmetry=False).wait(30, progress=False).result()
    job = client.submit(h2(OFF.format(times=times)), symmetry=False).wait(30, progress=False)
    assert job.result().zpe_ev == usual.zpe_ev
    starts = ["the equilibrium's density", "scratch"][:times]
    told = [event.message or "" for event in job.detail().history if event.what == "run_again"]
    assert len(told) == times
    for message, start in zip(reversed(told), starts, strict=True):
        assert "the SCF of displacement 2 ended at " in message
        assert "100.0 meV above" in message
        assert message.endswith(f"run again from {start}")


def test_one_that_stays_in_another_state_fails_the_job_with_both_energies(client: ZPEClient) -> None:
    job = client.submit(h2(OFF.format(times="always")), symmetry=False)
    with pytest.raises(ComputeError) as caught:
        job.wait(30, progress=False)
    assert caught.value.code == "electronic_state_differs"
    assert "100.0 meV above" in str(caught.value)
    assert "allow_state_changes=True" in str(caught.value)
    assert job.status().in_dlq
    # Requeued, it computes that SCF anew, and only that one.
    assert job.status().progress.done == 12


def test_a_researcher_can_accept_it_and_the_result_says_so(client: ZPEClient) -> None:
    job = client.submit(h2(OFF.format(times="always")), symmetry=False, allow_state_changes=True)
    result = job.wait(30, progress=False).result()
    assert any("mixes electronic states" in warning for warning in result.document.warnings)
    assert job.detail().allow_state_changes
