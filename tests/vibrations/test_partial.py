"""The modes of the atoms whose SCFs are in: those of a block of the whole Hessian."""

from __future__ import annotations

import numpy as np
import pytest

from tests.vibrations.test_hessian import CASES, DELTA, Morse, exact_hessian, planned, run
from tests.vibrations.test_result import Job, diatomic_cm, pw_text
from zpe_sdk.errors import InputError
from zpe_sdk.result.assemble_partial import partial_plan, partial_spectrum
from zpe_sdk.vibrations.hessian import assemble_hessian
from zpe_sdk.vibrations.plan import Plan

SEVERAL = [name for name, (_, _, mobile, *_) in CASES.items() if len(mobile) > 1]
HCL = pw_text("H 0 0 0\nCl 0 0 1.3", "H 1.008 H.UPF\nCl 35.45 Cl.UPF")


def partial_hessian(plan: Plan, forces: dict[int, np.ndarray]) -> tuple[list[int], np.ndarray]:
    """Return the atoms covered by now, none if there are too few SCFs, and their block."""
    try:
        part, tasks = partial_plan(plan, forces)
    except InputError:
        return [], np.zeros((0, 0))
    return list(part.mobile), assemble_hessian(part, {n: forces[task] for n, task in enumerate(tasks)})


@pytest.mark.parametrize("name", SEVERAL)
def test_of_harmonic_forces_every_block_is_exact_as_soon_as_it_can_be_had(name: str) -> None:
    atoms, _, mobile, labels, on_site, _ = CASES[name]
    plan, model = planned(name), Morse(atoms, labels, on_site=on_site)
    offset, linear = np.random.default_rng(3).normal(0, 0.05, (len(atoms), 3)), model.linear()
    forces = run(plan, lambda u: linear(u) + offset, len(atoms))
    covered: list[int] = []
    for count in range(len(forces) + 1):
        now, hessian = partial_hessian(plan, {task: forces[task] for task in range(count)})
        assert set(covered) <= set(now), "what could be had is gone"
        covered = now
        if now:
            np.testing.assert_allclose(hessian, exact_hessian(model, now), atol=1e-9)
    assert covered == mobile


@pytest.mark.parametrize("name", ["no symmetry", "NH3", "hydrogen and top layer"])
def test_an_atom_with_all_its_scfs_has_its_block_of_the_final_hessian(name: str) -> None:
    atoms, _, mobile, labels, on_site, _ = CASES[name]
    plan = planned(name)
    forces = run(plan, Morse(atoms, labels, on_site=on_site).forces, len(atoms))
    last = max(d.atom for d in plan.displacements if d.atom is not None)
    now, hessian = partial_hessian(
        plan, {d.index: forces[d.index] for d in plan.displacements if d.atom in (None, last)}
    )
    assert last in now
    assert len(now) < len(mobile)
    rows = [3 * mobile.index(atom) + axis for atom in now for axis in range(3)]
    whole = assemble_hessian(plan, forces)[np.ix_(rows, rows)]
    np.testing.assert_allclose(hessian, whole, atol=1e-12)


def test_one_sided_differences_err_in_first_order() -> None:
    atoms, _, mobile, labels, *_ = CASES["no symmetry"]
    model = Morse(atoms, labels)
    errors = []
    for delta in (DELTA, DELTA / 2):
        plan = planned("no symmetry", delta=delta)
        forces = run(plan, model.forces, len(atoms))
        firsts = {task: forces[task] for task in range(1 + 3 * len(mobile))}
        now, hessian = partial_hessian(plan, firsts)
        assert now == mobile
        errors.append(np.abs(hessian - exact_hessian(model, mobile)).max())
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.05)


def test_the_opposite_of_a_displacement_will_do() -> None:
    plan = planned("no symmetry")
    opposites = range(len(plan.displacements) // 2 + 1, len(plan.displacements))
    part, tasks = partial_plan(plan, {0, *opposites})
    assert part.mobile == plan.mobile
    assert tasks == (0, *opposites)
    with pytest.raises(InputError):
        partial_plan(plan, opposites)  # no equilibrium to compare with


def test_hydrogen_on_its_spring_beside_a_chlorine_that_waits() -> None:
    job = Job(HCL)
    hydrogen = [d.index for d in job.plan.displacements if d.atom in (None, 0)]
    reports = {task: report for task, report in job.reports().items() if task in hydrogen}
    assert len(reports) < len(job.plan.displacements)
    reply = partial_spectrum(job.payload, job.pw_input, job.plan, reports)
    stiffness = float(job.springs._stiffness[0])
    # The chlorine is held: the mass is the hydrogen's own, not the reduced one.
    assert reply.freqs_cm[-1] == pytest.approx(diatomic_cm(stiffness, 1.008), abs=1.0)
    assert (reply.atoms, reply.symbols, reply.differences) == ([0], ["H"], "central")
    assert reply.mode_kinds == ["vibration"] * 3
    assert (reply.scf_done, reply.scf_total) == (len(reports), len(job.plan.displacements))
    assert "1 of 2 mobile atoms" in reply.detail
    assert "held in place" in reply.detail


def test_one_sided_differences_are_told() -> None:
    job = Job(HCL, symmetry=False)
    reports = job.reports()
    reply = partial_spectrum(job.payload, job.pw_input, job.plan, {task: reports[task] for task in range(5)})
    assert (reply.atoms, reply.differences) == ([0], "forward")
    assert "3 opposite displacements" in reply.detail
    reply = partial_spectrum(job.payload, job.pw_input, job.plan, {task: reports[task] for task in range(12)})
    assert (reply.atoms, reply.differences) == ([0, 1], "forward")
    assert "all mobile atoms, from one-sided differences" in reply.detail
    # Now that nothing is held, the molecule can move as a whole.
    assert sorted(reply.mode_kinds) == ["rotation"] * 2 + ["translation"] * 3 + ["vibration"]
    assert reply.mode_kinds[-1] == "vibration"
    assert "1 opposite displacement of" in reply.detail
