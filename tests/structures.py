"""Documents of energies and relaxations, and the reports of which they are made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.assemble_structure import make_structure_document
from zpe_sdk.wire import (
    EnergyDocument,
    Fingerprint,
    IonicStep,
    JobPayload,
    RelaxationDocument,
    RelaxationEnd,
    TaskReport,
)

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# Iron in two states of magnetisation below a hydrogen of which one component is held.
TEXT = """&CONTROL
  calculation = 'scf'
/
&SYSTEM
  ibrav = 1, A = 8, nat = 3, ntyp = 3, ecutwfc = 30, ecutrho = 240
  nspin = 2, starting_magnetization(1) = 0.23, starting_magnetization(2) = -0.23
/
&ELECTRONS
/
ATOMIC_SPECIES
Fe 55.845 Fe.UPF
Fe1 55.845 Fe.UPF
H 1.008 H.UPF
ATOMIC_POSITIONS angstrom
Fe 0 0 0 0 0 0
Fe1 2.4 0 0 0 0 0
H 1.2 0 1.5 0 1 1
K_POINTS automatic
2 2 1 0 0 0
"""
# Where the hydrogen is at each step, and its force there: a spring of 2 eV/Å² about z = 1.2 Å.
HEIGHTS = (1.5, 1.3, 1.201)


def payload(kind: str, text: str = TEXT) -> JobPayload:
    return JobPayload.model_validate(
        {
            "content": text,
            "kind": kind,
            "stage": kind,
            "mobile_indices": [],
            "delta": 0.01,
            "low_cut_cm": 50,
            "temperature": 298.15,
        }
    )


def step(index: int) -> IonicStep:
    stretch = HEIGHTS[index] - 1.2
    return IonicStep(
        index=index,
        positions=[(0, 0, 0), (2.4, 0, 0), (1.2, 0, HEIGHTS[index])],
        energy_ev=-100 + stretch**2,
        forces_ev_ang=[(0, 0, 2 * stretch), (0, 0, 0), (0.5, 0, -2 * stretch)],
        max_force_ev_ang=2 * stretch,
        scf_seconds=1.5,
        scf_iterations=9,
        total_magnetization=0.0,
        absolute_magnetization=4.6,
    )


def report(last: IonicStep, *, engine: str = "espresso", reason: str | None = None) -> TaskReport:
    return TaskReport(
        task=0,
        energy_ev=last.energy_ev,
        forces_ev_ang=last.forces_ev_ang,
        fingerprint=Fingerprint(
            engine=engine,
            engine_version="7.2",
            pseudopotentials={"Fe.UPF": "a", "H.UPF": "b"},
            physics="0" * 64,
        ),
        scf_seconds=last.scf_seconds,
        scf_iterations=last.scf_iterations,
        total_magnetization=last.total_magnetization,
        absolute_magnetization=last.absolute_magnetization,
        relaxation=reason and RelaxationEnd.model_validate({"positions": last.positions, "reason": reason}),
    )


def make(*args: Any, **options: Any) -> EnergyDocument | RelaxationDocument:
    times = {"started_at": STARTED, "finished_at": STARTED + timedelta(seconds=12.5)}
    return make_structure_document(*args, **(times | options))


def energy_document(*, engine: str = "espresso") -> EnergyDocument:
    document = make(
        payload("energy"), PwInput.parse(TEXT), report(step(0), engine=engine), workers={0: "ada"}
    )
    assert isinstance(document, EnergyDocument)
    return document


def relaxation_document(*, engine: str = "espresso", reason: str = "converged") -> RelaxationDocument:
    steps = [step(n) for n in range(3)]
    document = make(
        payload("relax"),
        PwInput.parse(TEXT),
        report(steps[-1], engine=engine, reason=reason),
        steps,
        workers={0: "ada", 1: "ada", 2: "bob"},
    )
    assert isinstance(document, RelaxationDocument)
    np.testing.assert_allclose(document.positions[2], (1.2, 0, 1.201))
    return document
