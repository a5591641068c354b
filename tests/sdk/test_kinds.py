"""Submitting the kinds of jobs: what is asked of the control plane, and what is made of its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from ase.build import molecule

from tests.processes import h2
from tests.structures import energy_document, relaxation_document
from tests.vibrations.test_result import Job, pw_text
from zpe_sdk import AsyncZPEClient, EnergyResult, InputError, RelaxationResult, ZPEResult
from zpe_sdk.client.progress import html, in_words
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.wire import JobRequest, JobStatus, Progress

R = TypeVar("R")
WATER = molecule("H2O", vacuum=4.0)
MADE = {
    "pseudopotentials": {"O": "O.pbe-kjpaw.UPF", "H": "H.pbe-kjpaw.UPF"},
    "ecutwfc": 30.0,
}


class Plane:
    """Answers as a control plane does; keeps what it was asked for."""

    def __init__(self) -> None:
        self.requests: list[JobRequest] = []
        self.document: dict[str, Any] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.requests.append(JobRequest.model_validate(json.loads(request.content)))
            return httpx.Response(200, json={"job_id": f"job-{len(self.requests)}"})
        return httpx.Response(200, json={"result": self.document})


@pytest.fixture
def plane() -> Plane:
    return Plane()


def with_client(plane: Plane, calls: Callable[[AsyncZPEClient], Awaitable[R]]) -> R:
    async def run() -> R:
        transport = httpx.MockTransport(plane)
        async with AsyncZPEClient("http://127.0.0.1:1", "token", transport=transport) as client:
            return await calls(client)

    return asyncio.run(run())


def test_a_relaxation_before_the_displacements_is_asked_for(plane: Plane) -> None:
    async def calls(client: AsyncZPEClient) -> None:
        await client.submit(h2())
        await client.submit(h2(), relax=True)
        await client.submit(WATER, relax={"fmax": 0.005, "steps": 50}, mobile="H", **MADE)
        await client.submit_many([h2(), h2()], relax=True)

    with_client(plane, calls)
    assert {request.kind for request in plane.requests} == {"vibrations"}
    plain, default, said, *many = [request.relaxation for request in plane.requests]
    assert plain is None
    assert default is not None
    assert (default.fmax, default.steps) == (None, None)
    assert said is not None
    assert (said.fmax, said.steps) == (0.005, 50)
    assert plane.requests[2].mobile_indices == [1, 2]
    assert many == [default, default]


def test_a_relaxation_and_an_energy_are_kinds_of_their_own(plane: Plane) -> None:
    async def calls(client: AsyncZPEClient) -> None:
        await client.relax(WATER, fmax=0.02, name="water", **MADE)
        await client.energy(h2(), priority=3, calc_mode="new")

    with_client(plane, calls)
    relax, energy = plane.requests
    assert (relax.kind, relax.name, relax.mobile_indices) == ("relax", "water", None)
    assert relax.relaxation is not None
    assert (relax.relaxation.fmax, relax.relaxation.steps) == (0.02, None)
    assert "ecutwfc" in relax.content
    assert (energy.kind, energy.relaxation, energy.priority, energy.calc_mode) == ("energy", None, 3, "new")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"fmax": -1}, "fmax"), ({"fmax": "tight"}, "fmax"), ({"steps": 0}, "steps"), ({"force": 0.1}, "force")],
)
def test_a_relaxation_that_cannot_be_meant_names_its_field(
    plane: Plane, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError) as caught:
        with_client(plane, lambda client: client.submit(h2(), relax=wrong))
    assert field in f"{caught.value.field} {caught.value.message}"
    assert not plane.requests


def test_no_mobile_atom_is_told_of_the_kind_that_needs_none(plane: Plane) -> None:
    with pytest.raises(InputError, match="'energy'") as caught:
        with_client(plane, lambda client: client.submit(h2(), mobile=[]))
    assert caught.value.code == "bad_mobile_indices"


def test_each_job_has_the_result_of_its_kind(plane: Plane) -> None:
    async def calls(client: AsyncZPEClient) -> None:
        plane.document = energy_document().model_dump(mode="json")
        energy = await (await client.energy(h2())).result()
        assert isinstance(energy, EnergyResult)
        plane.document = relaxation_document().model_dump(mode="json")
        relaxed = await (await client.relax(h2())).result()
        assert isinstance(relaxed, RelaxationResult)
        assert relaxed.energy_ev < energy.energy_ev
        assert isinstance(await client.job("job-2").result(), RelaxationResult)

    with_client(plane, calls)


def imaginary(**update: Any) -> ZPEResult:
    """Hydrogen on a spring that pushes its first mode away."""
    job = Job(pw_text("H 0 0 0 0 0 0\nH 0 0 0.74 1 1 1"))
    document = job.result()
    modes = [[(1.0, 0.0, 0.0)]] + [list(mode) for mode in document.modes[1:]]
    return ZPEResult(document.model_copy(update={"modes": modes, **update}))


def test_both_sides_of_a_mode_are_submitted_as_the_job_was(plane: Plane) -> None:
    result = imaginary(delta=0.02, low_cut_cm=80.0)
    with_client(plane, lambda client: client.follow(result, amplitude=0.3, priority=2))
    left, right = plane.requests
    places = [PwInput.parse(request.content).positions[1] for request in (left, right)]
    np.testing.assert_allclose(places, [(-0.3, 0, 0.74), (0.3, 0, 0.74)], atol=1e-9)
    for request in (left, right):
        assert request.relaxation is not None
        assert (request.kind, request.mobile_indices, request.engine) == ("vibrations", [1], "espresso")
        assert (request.delta, request.low_cut_cm, request.priority) == (0.02, 80.0, 2)
        # All else is the input's own.
        assert request.content.count("\n") == result.document.pw_input.count("\n")


def test_environ_that_a_result_does_not_hold_has_to_be_given_again(plane: Plane) -> None:
    result = imaginary(use_environ=True)
    with pytest.raises(InputError) as caught:
        with_client(plane, lambda client: client.follow(result))
    assert caught.value.field == "environ"
    assert not plane.requests


def test_a_saddle_point_is_not_relaxed(plane: Plane) -> None:
    with pytest.raises(InputError, match="expect"):
        with_client(plane, lambda client: client.submit(h2(), relax=True, expect="saddle"))
    with_client(plane, lambda client: client.submit(h2(), expect="saddle"))
    assert plane.requests[0].expect == "saddle"


def status(**update: Any) -> JobStatus:
    now = JobStatus(
        job_id="j",
        status="started",
        updated_at="",
        created_at="",
        progress=Progress(done=0, total=1, running=1),
    )
    return now.model_copy(update={"workers": ["ada"], **update})


def test_a_relaxation_that_goes_on_tells_its_step_and_force() -> None:
    now = status(kind="vibrations", stage="relax", ionic_step=7, max_force_ev_ang=0.0812)
    told = "relaxing: step 7, largest force 0.081 eV/Å"
    assert told in in_words(now)
    assert told in html("j", "http://127.0.0.1/j", now)
    later = now.model_copy(update={"stage": "vibrations", "progress": Progress(done=2, total=7)})
    assert in_words(later) == " started 2/7 SCFs"
    over = now.model_copy(update={"status": "failed"})
    assert "relaxing" not in html("j", "http://127.0.0.1/j", over)
    assert in_words(status(stage="relax")) == " started 0/1 SCFs"
