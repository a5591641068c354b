"""The partial spectrum of a job that stands half done, from a real control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import matplotlib
import numpy as np
import pytest

from tests.processes import PATIENCE, ControlPlane, wait_until
from tests.server.test_api import Json, computed, error, lease
from zpe_sdk import AsyncZPEClient, InputError, ZPEClient
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.vibrations.modes import normal_modes
from zpe_sdk.worker.engines.mock import Springs

HCL = """&CONTROL
  title = '{title}'
/
&SYSTEM
  ibrav = 1, A = 8.0, nat = 2, ntyp = 2, ecutwfc = 20.0
/
&ELECTRONS
/
ATOMIC_SPECIES
H 1.008 H.UPF
Cl 35.45 Cl.UPF
ATOMIC_POSITIONS angstrom
H 0.0 0.0 0.0
Cl 0.0 0.0 1.3
K_POINTS gamma
"""


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    """A task that failed stays away for as long as the tests take."""
    return {"ZPE_RETRY_BASE_DELAY_SECONDS": 3600, "ZPE_RETRY_MAX_DELAY_SECONDS": 3600}


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane) -> ControlPlane:
    """Its worker is the test itself."""
    return control_plane


@pytest.fixture
def worker(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.api(control_plane.register()["worker_token"]) as worker:
        yield worker


def report(worker: httpx.Client, leased: Json, reports: list[Json]) -> None:
    body = {"lease_id": leased["lease_id"], "reports": reports}
    worker.post(f"/calc/zpe/compute/jobs/{leased['job_id']}/tasks", json=body).raise_for_status()


def springs_cm(text: str, atoms: list[int]) -> np.ndarray:
    """Modes of atoms on the mock engine's springs, all others held, from differences of the springs alone."""
    p, step, rows = PwInput.parse(text), 1e-4, []
    springs = Springs(p.symbols, p.positions, p.cell, held=False)
    for atom in atoms:
        for axis in range(3):
            u = np.zeros_like(p.positions)
            u[atom, axis] = step
            rows.append(((springs.forces(-u)[1] - springs.forces(u)[1]) / (2 * step))[atoms].ravel())
    return normal_modes(np.array(rows), np.array([1.008, 35.45])[atoms]).frequencies_cm


def test_a_spectrum_grows_as_the_scfs_come_in(
    client: ZPEClient, worker: httpx.Client, tmp_path: Path
) -> None:
    text = HCL.format(title="by hand")
    job = client.submit(text, symmetry=False)
    leased = lease(worker, max_tasks=100)
    reports = sorted(computed(leased, tmp_path), key=lambda r: int(r["task"]))
    assert len(reports) == 13

    # The equilibrium, and two of three displacements of the hydrogen.
    report(worker, leased, reports[:3])
    with pytest.raises(InputError, match="3 of 13 SCFs") as caught:
        job.partial()
    assert caught.value.code == "too_few_scfs"

    report(worker, leased, reports[3:4])
    first = job.partial()
    assert (first.atoms, first.document.differences) == ([0], "forward")
    assert first.frequencies_cm.shape == (3,)
    assert first.frequencies_cm[-1] == pytest.approx(springs_cm(text, [0])[-1], rel=0.01)

    # All displacements of the hydrogen, none of the chlorine.
    hydrogen = [d.index for d in job.detail().tasks if d.atom == 0]
    report(worker, leased, [reports[task] for task in hydrogen])
    whole = job.partial()
    assert (whole.atoms, whole.document.differences) == ([0], "central")
    assert (whole.document.scf_done, whole.document.scf_total) == (7, 13)
    assert whole.frequencies_cm[-1] == pytest.approx(springs_cm(text, [0])[-1], abs=1.0)
    assert "PARTIAL: MOCK (no physics), modes of H0 from 7 of 13 SCFs" in repr(whole)
    assert "held in place" in whole._repr_html_()
    matplotlib.use("agg")
    axes = whole.plot()
    assert axes.get_title().startswith("PARTIAL")
    assert len(axes.collections[-1].get_segments()) == np.sum(whole.frequencies_cm >= 0)

    # The last but one: everything is there, a single opposite is missing.
    report(worker, leased, reports[:12])
    last = job.partial()
    assert (last.atoms, last.document.differences) == ([0, 1], "forward")

    report(worker, leased, reports[12:])
    with pytest.raises(InputError) as caught:
        job.partial()
    assert caught.value.code == "job_over"
    result = job.wait(PATIENCE, progress=False).result()
    assert last.frequencies_cm[-1] == pytest.approx(result.frequencies_cm[-1], rel=0.01)
    # Held by its neighbour the hydrogen is slower than with it.
    assert whole.frequencies_cm[-1] < result.frequencies_cm[-1] - 10


def test_of_a_job_that_a_worker_could_not_end(
    control_plane: ControlPlane, client: ZPEClient, token: str
) -> None:
    text = HCL.format(title="mock: fail=scf_not_converged task=4 times=always")
    job = client.submit(text)
    total = job.status().progress.total
    process = control_plane.worker(ZPE_SLOTS="1")
    wait_until(lambda: job.status().progress.done == total - 1)
    process.terminate()
    process.wait()

    async def look() -> tuple[str, list[float]]:
        async with AsyncZPEClient(control_plane.url, token) as other:
            found = await other.job(job.id).partial()
            return repr(found), list(found.frequencies_cm)

    partial = job.partial()
    assert asyncio.run(look()) == (repr(partial), list(partial.frequencies_cm))
    assert partial.frequencies_cm[-1] == pytest.approx(springs_cm(text, partial.atoms)[-1], rel=0.01)


def test_a_stranger_sees_nothing(control_plane: ControlPlane, client: ZPEClient) -> None:
    job = client.submit(HCL.format(title="mine"), priority=-100)
    path = f"/calc/zpe/jobs/{job.id}/partial"
    with control_plane.api(control_plane.researcher_token("eve")) as eve:
        assert error(eve.get(path), 404)["code"] == "job_not_found"
    with control_plane.api() as admin:
        assert error(admin.get(path), 409)["code"] == "too_few_scfs"
        job.cancel()
        assert error(admin.get(path), 409)["code"] == "job_over"
