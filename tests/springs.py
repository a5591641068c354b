"""Molecules of springs and charges: results whose forces and dipoles are known in closed form."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_masses, atomic_numbers

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.assemble import make_result
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.vibrations.plan import Plan, plan_displacements
from zpe_sdk.wire import Fingerprint, JobPayload, TaskReport

DELTA = 0.01
CHARGE = {"H": 0.35, "O": -0.5, "C": 0.2, "N": -0.4}


class Springs(Calculator):
    """Springs between all atoms at their rest lengths, and charges that the bonds' lengths shift."""

    implemented_properties = ("energy", "forces", "dipole")

    def __init__(self, rest: Atoms) -> None:
        super().__init__()
        self.rest = rest.get_all_distances()
        charges = np.array([CHARGE[symbol] for symbol in rest.get_chemical_symbols()])
        self.charges = charges - charges.mean()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        vectors = atoms.positions[:, None] - atoms.positions[None]
        lengths = np.linalg.norm(vectors, axis=2) + np.eye(len(atoms))
        stretch = lengths - self.rest - np.eye(len(atoms))
        stiffness = 30 * np.exp(-2 * (self.rest - 1))
        pulls = np.einsum("ij,ijx->ix", stiffness * stretch / lengths, vectors)
        flow = (self.charges[:, None] - self.charges[None]) * stretch
        self.results = {
            "energy": float(np.sum(stiffness * stretch**2) / 4),
            "forces": -pulls,
            "dipole": self.charges @ atoms.positions + 0.5 * np.einsum("ij,ijx->x", flow, vectors),
        }


def boxed(name: str) -> Atoms:
    """Return a molecule of ASE's in a box of 9 Å."""
    atoms = molecule(name)
    atoms.set_cell([9.0, 9.0, 9.0])
    atoms.pbc = True
    return atoms


def computed(atoms: Atoms) -> tuple[Plan, dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Return the plan of a molecule in a box, its forces and its dipoles."""
    plan = plan_displacements(
        atoms.positions, atoms.cell[:], atoms.get_chemical_symbols(), range(len(atoms)), delta=DELTA
    )
    forces, dipoles = {}, {}
    for step in plan.displacements:
        moved = atoms.copy()
        if step.atom is not None:
            moved.positions[step.atom] += step.displacement
        moved.calc = Springs(atoms)
        forces[step.index], dipoles[step.index] = moved.get_forces(), moved.get_dipole_moment()
    return plan, forces, dipoles


def springs_result(name: str, *, dipoles: bool = True, charge: int = 0, turned: bool = False) -> ZPEResult:
    """Return the result of a job whose SCFs are those of springs; ``turned``: of the molecule turned."""
    atoms = boxed(name)
    if turned:
        atoms.rotate(40, (1, 2, 3), center="COP")
    symbols = atoms.get_chemical_symbols()
    species = "\n".join(
        f"{s} {atomic_masses[atomic_numbers[s]]:.4f} {s}.pbe-kjpaw.UPF" for s in dict.fromkeys(symbols)
    )
    places = "\n".join(
        f"{symbol} {x:.10f} {y:.10f} {z:.10f}"
        for symbol, (x, y, z) in zip(symbols, atoms.positions, strict=True)
    )
    text = f"""&SYSTEM
  ibrav = 1, A = 9.0, nat = {len(atoms)}, ntyp = {len(set(symbols))}, ecutwfc = 30.0, tot_charge = {charge}
/
&ELECTRONS
/
ATOMIC_SPECIES
{species}
ATOMIC_POSITIONS angstrom
{places}
K_POINTS gamma
"""
    plan, forces, moments = computed(atoms)
    files = {f"{symbol}.pbe-kjpaw.UPF": "0" * 64 for symbol in symbols}
    reports = {
        index: TaskReport(
            task=index,
            energy_ev=-100.0,
            forces_ev_ang=forces[index].tolist(),
            fingerprint=Fingerprint(
                engine="espresso", engine_version="6.7MaX", physics="0" * 64, pseudopotentials=files
            ),
            scf_seconds=1.0,
            dipole_e_ang=tuple(moments[index].tolist()) if dipoles else None,
        )
        for index in forces
    }
    pw_input, now = PwInput.parse(text), datetime.now(UTC)
    payload = JobPayload(
        content=text, mobile_indices=list(plan.mobile), delta=DELTA, low_cut_cm=50.0, temperature=298.15
    )
    return ZPEResult(
        make_result(
            payload,
            pw_input,
            plan,
            reports,
            workers=dict.fromkeys(reports, "springs"),
            started_at=now,
            finished_at=now,
        )
    )
