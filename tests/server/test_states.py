"""A job whose SCFs end in different electronic states: run again, failed, or accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.processes import PATIENCE, ControlPlane, h2
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
    usual = client.submit(h2(), symmetry=False).wait(PATIENCE, progress=False).result()
    job = client.submit(h2(OFF.format(times=times)), symmetry=False).wait(PATIENCE, progress=False)
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
        job.wait(PATIENCE, progress=False)
    assert caught.value.code == "electronic_state_differs"
    assert "100.0 meV above" in str(caught.value)
    assert "allow_state_changes=True" in str(caught.value)
    assert job.status().in_dlq
    # Requeued, it computes that SCF anew, and only that one.
    assert job.status().progress.done == 12


def test_a_researcher_can_accept_it_and_the_result_says_so(client: ZPEClient) -> None:
    job = client.submit(h2(OFF.format(times="always")), symmetry=False, allow_state_changes=True)
    result = job.wait(PATIENCE, progress=False).result()
    assert any("mixes electronic states" in warning for warning in result.document.warnings)
    assert job.detail().allow_state_changes


PSEUDO_DIR = "/usr/share/espresso/pseudo"
O2 = """&CONTROL
/
&SYSTEM
  ibrav = 8, A = 5.0, B = 5.0, C = 6.0, nat = 2, ntyp = 1, ecutwfc = 20, ecutrho = 120
  nspin = 2, tot_magnetization = 2, starting_magnetization(1) = 0.3
/
&ELECTRONS
/
ATOMIC_SPECIES
O 15.9994 O.pbe-rrkjus.UPF
ATOMIC_POSITIONS angstrom
O 2.5 2.5 2.39
O 2.5 2.5 3.61
K_POINTS gamma
"""
# From scratch, it takes displaced structures to the quintet.
OTHER_STATE = """#!/bin/sh
grep -q startingpot pw.in || grep -q "2.3900000000000001\\|O 2.5 2.5 2.39$" pw.in ||
    sed -i 's/tot_magnetization = 2/tot_magnetization = 4/' pw.in
exec pw.x "$@"
"""


@pytest.mark.qe
def test_o2_that_falls_into_the_quintet_is_brought_back_to_the_triplet_by_real_pw(
    own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    program = tmp_path / "pw.x"
    program.write_text(OTHER_STATE)
    program.chmod(0o755)
    found = []
    for pw_path in ("pw.x", str(program)):
        plane = own_control_plane()
        plane.worker(ZPE_WORKER_MODE="qe", ZPE_PW_PATH=pw_path, ZPE_PSEUDO_DIR=PSEUDO_DIR)
        with ZPEClient(plane.url, plane.admin_token) as client:
            job = client.submit(O2, mobile=[0], engine="espresso").wait(PATIENCE, progress=False)
            found.append((job.result().frequencies_cm, [event.what for event in job.detail().history]))
    (usual, undisturbed), (brought_back, again) = found
    assert "run_again" not in undisturbed
    assert "run_again" in again
    np.testing.assert_allclose(brought_back, usual, atol=1.0)
