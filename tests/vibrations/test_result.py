"""The result of a job: numbers against closed formulas, and what people and programs read of it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from ase.thermochemistry import HarmonicThermo
from ase.units import invcm
from scipy import constants

from zpe_sdk.errors import ComputeError, InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.assemble import make_result
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.texts import freqs_csv, summary_text
from zpe_sdk.vibrations.noise import STALLED
from zpe_sdk.vibrations.plan import Plan, plan_displacements
from zpe_sdk.wire import Fingerprint, JobPayload, TaskReport, ZPEResultDocument
from zpe_sdk.worker.engines.mock import Springs

STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PRINT = Fingerprint(engine="espresso", engine_version="7.2", physics="0" * 64)

TEXT = """&CONTROL
  calculation = 'scf'
/
&SYSTEM
  ibrav = 1, A = {box}, nat = {nat}, ntyp = {ntyp}, ecutwfc = 30{system}
/
&ELECTRONS
/
ATOMIC_SPECIES
{species}
ATOMIC_POSITIONS angstrom
{atoms}
K_POINTS {kpoints}
"""


def pw_text(
    atoms: str,
    species: str = "H 1.008 H.UPF",
    *,
    box: float = 8.0,
    system: str = "",
    kpoints: str = "gamma",
) -> str:
    return TEXT.format(
        box=box,
        nat=len(atoms.splitlines()),
        ntyp=len(species.splitlines()),
        species=species,
        atoms=atoms,
        system=system,
        kpoints=kpoints,
    )


H2 = "H 0 0 0\nH 0 0 0.74"
H2O = "O 0 0 0.1192\nH 0 0.7632 -0.4770\nH 0 -0.7632 -0.4770"
H2O_SPECIES = "O 15.999 O.UPF\nH 1.008 H.UPF"
# A row of three atoms, the outer two held.
HELD = "H 0 0 0 0 0 0\nH 0 0 1.1 1 1 1\nH 0 0 2.2 0 0 0"


class Job:
    """A job whose forces come from ``forces(displacements)``, by default the mock engine's springs."""

    def __init__(
        self, text: str, *, mobile: list[int] | None = None, low_cut_cm: float = 50.0, symmetry: bool = True
    ) -> None:
        self.pw_input = PwInput.parse(text)
        chosen = self.pw_input.mobile(mobile)
        self.payload = JobPayload(
            content=text,
            mobile_indices=list(chosen),
            delta=0.01,
            low_cut_cm=low_cut_cm,
            temperature=298.15,
        )
        p = self.pw_input
        self.plan: Plan = plan_displacements(
            p.positions, p.cell, p.labels, chosen, delta=0.01, symmetry=symmetry
        )
        springs = Springs(p.symbols, p.positions, p.cell, held=False)
        self.forces = lambda u: springs.forces(u)[1]
        self.springs = springs

    def reports(self) -> dict[int, TaskReport]:
        found = {}
        for d in self.plan.displacements:
            u = np.zeros_like(self.pw_input.positions)
            if d.atom is not None:
                u[d.atom] = d.displacement
            found[d.index] = TaskReport(
                task=d.index,
                energy_ev=-27.2,
                forces_ev_ang=self.forces(u).tolist(),
                fingerprint=PRINT,
                scf_seconds=2.0,
                scf_iterations=9,
                pseudo_dir="/data/pseudo",
            )
        return found

    def result(self, **options: object) -> ZPEResultDocument:
        defaults: dict[str, object] = {
            "workers": {d.index: "ada" if d.index % 2 else "bob" for d in self.plan.displacements},
            "started_at": STARTED,
            "finished_at": STARTED + timedelta(seconds=61.5),
        }
        reports = options.pop("reports", None) or self.reports()
        return make_result(self.payload, self.pw_input, self.plan, reports, **(defaults | options))


@pytest.mark.parametrize("cutoffs", ["", ", ecutwfc = 0, ecutrho = 0.0"])
def test_cutoffs_that_pw_x_takes_from_the_pseudopotentials_are_not_guessed(cutoffs: str) -> None:
    document = Job(pw_text(H2).replace(", ecutwfc = 30", cutoffs)).result()
    assert (document.ecutwfc, document.ecutrho) == (None, None)
    assert "Ry" not in summary_text(document)


def diatomic_cm(stiffness: float, mass: float) -> float:
    omega = math.sqrt(stiffness * constants.e * 1e20 / (mass * constants.atomic_mass))
    return omega / (2 * math.pi * constants.c * 100)


def test_hydrogen_on_springs_has_the_energy_of_its_spring() -> None:
    job = Job(pw_text(H2))
    document = job.result()
    # In a box of 8 Å each atom is in reach of one other: one spring, and the reduced mass.
    stiffness = float(job.springs._stiffness[0])
    exact = diatomic_cm(stiffness, 1.008 / 2)
    assert 4000 < exact < 4800
    # The displaced bond is turned as well, which changes its stiffness in second order of δ.
    assert document.freqs_cm[-1] == pytest.approx(exact, rel=1e-4)
    assert document.zpe_ev == pytest.approx(
        exact * 100 * constants.h * constants.c / constants.e / 2, rel=1e-4
    )
    assert document.mode_kinds.count("translation") == 3
    assert document.mode_kinds.count("rotation") == 2
    assert document.mode_kinds[-1] == "vibration"
    np.testing.assert_allclose(np.abs(document.modes[-1]), [[0, 0, 0.5**0.5]] * 2, atol=1e-6)
    assert len(document.freqs_cm) == 6
    assert document.freqs_cm == sorted(document.freqs_cm)
    assert document.masses == [1.008, 1.008]
    assert document.warnings == []
    assert (document.checks["scf_done"], document.checks["scf_full"]) == (3, 13)


def test_thermochemistry_is_that_of_ase() -> None:
    document = Job(pw_text(H2O, H2O_SPECIES)).result()
    counted = np.array([f for f in document.freqs_cm if f > 50])
    assert len(counted) == 3
    ase = HarmonicThermo(counted * invcm)
    assert document.zpe_ev == pytest.approx(ase.get_ZPE_correction())
    assert document.u_vib_ev == pytest.approx(ase.get_internal_energy(298.15, verbose=False), rel=1e-6)
    assert document.f_vib_ev == pytest.approx(ase.get_helmholtz_energy(298.15, verbose=False), rel=1e-6)
    entropy = ase.get_entropy(298.15, verbose=False) * constants.e * constants.N_A
    assert document.s_vib_jmol_k == pytest.approx(entropy, rel=1e-6)
    step = 0.01
    warmer, colder = (ase.get_internal_energy(298.15 + s, verbose=False) for s in (step, -step))
    slope = (warmer - colder) / (2 * step) * constants.e * constants.N_A
    assert document.cv_jmol_k == pytest.approx(slope, rel=1e-5)


def test_the_document_says_what_was_asked_and_done() -> None:
    text = pw_text(H2, system=", ecutrho = 240", kpoints="automatic\n 2 2 2 1 1 1")
    document = Job(text).result(reused=[1])
    assert document.pw_input == text
    assert document.kpts == (2, 2, 2)
    assert (document.ecutwfc, document.ecutrho) == (30, 240)
    assert (document.delta, document.low_cut_cm, document.temperature) == (0.01, 50, 298.15)
    assert (document.mobile_indices, document.fixed_indices) == ([0, 1], [])
    assert document.pseudo_dir == "/data/pseudo"
    assert document.energy_ev == -27.2
    assert document.calc_start_time == "2026-01-02T03:04:05+00:00"
    assert document.calc_end_time == "2026-01-02T03:05:06.500000+00:00"
    assert document.elapsed_seconds == 61.5
    assert document.cache_checked == 1
    assert [run.worker for run in document.tasks] == ["bob", "ada", "bob"]
    assert [run.reused for run in document.tasks] == [False, True, False]
    assert document.symmetry == {"order": 16, "displaced_atoms": [0]}
    np.testing.assert_allclose(document.hessian, np.transpose(document.hessian))


@pytest.mark.parametrize(("kpoints", "kpts"), [("gamma", (1, 1, 1)), ("crystal\n 1\n 0 0 0.25 1", (0, 0, 0))])
def test_kpoints_without_a_mesh(kpoints: str, kpts: tuple[int, int, int]) -> None:
    document = Job(pw_text(H2, kpoints=kpoints)).result()
    assert document.kpts == kpts
    # What pw.x takes where nothing is given.
    assert document.ecutrho == 120


def test_the_document_survives_json() -> None:
    document = Job(pw_text(HELD)).result()
    assert ZPEResultDocument.model_validate_json(document.model_dump_json()) == document


def test_a_held_neighbourhood_has_only_vibrations() -> None:
    job = Job(pw_text(HELD), low_cut_cm=10.0)
    document = job.result()
    assert (document.mobile_indices, document.fixed_indices) == ([1], [0, 2])
    assert document.mode_kinds == ["vibration"] * 3
    assert len(document.masses) == 1
    assert np.shape(document.hessian) == (3, 3)
    # Two springs pull the middle atom back along the row.
    stiffness = max(job.springs._stiffness)
    assert document.freqs_cm[-1] == pytest.approx(diatomic_cm(2 * stiffness, 1.008), rel=1e-3)
    assert document.checks["acoustic_sum_ev_ang2"] is None
    # Site symmetry D4h leaves no two elements to compare.
    assert document.checks["zpe_error_ev"] is None


def test_an_imaginary_mode_is_kept_marked_and_left_out() -> None:
    job = Job(pw_text(HELD), low_cut_cm=10.0)
    saddle = np.diag([-4.0, -4.0, 30.0])
    job.forces = lambda u: -(u @ saddle)
    document = job.result()
    frequency = diatomic_cm(4.0, 1.008)
    assert document.freqs_cm[:2] == pytest.approx([-frequency] * 2)
    assert document.imaginary_modes == [0, 1]
    assert document.zpe_ev == pytest.approx(diatomic_cm(30.0, 1.008) * invcm / 2, rel=1e-6)
    assert len(document.warnings) == 1
    assert document.warnings[0].startswith(f"mode 0 ({frequency:.1f}i cm⁻¹, vibration), mode 1 (")
    assert "imaginary" in document.warnings[0]
    assert f"{frequency:.2f}i" in summary_text(document)
    rows = list(csv.DictReader(io.StringIO(freqs_csv(document))))
    assert float(rows[0]["frequency_cm^-1"]) == pytest.approx(-frequency)
    assert [row["counted_in_zpe"] for row in rows] == ["no", "no", "yes"]


def test_no_real_mode_at_all_is_a_result_too() -> None:
    job = Job(pw_text(HELD))
    job.forces = lambda u: 4.0 * u
    document = job.result()
    assert (document.zpe_ev, document.s_vib_jmol_k, document.cv_jmol_k) == (0, 0, 0)
    assert len(document.imaginary_modes) == 3


def test_modes_on_the_wrong_side_of_the_cut_are_told_with_their_numbers() -> None:
    soft = Job(pw_text(HELD), low_cut_cm=100.0)
    soft.forces = lambda u: -(u @ np.diag([0.02, 0.02, 30.0]))
    left_out = diatomic_cm(0.02, 1.008)
    assert 50 < left_out < 100
    (warning,) = soft.result().warnings
    named = f"{left_out:.1f} cm⁻¹, vibration"
    assert warning.startswith(f"mode 0 ({named}), mode 1 ({named}): left out")
    assert f"would add {1000 * left_out * invcm:.2f} meV" in warning


def held(stiffness: float) -> Job:
    """Hydrogen that a spring of its own, in eV/Å², holds to its place, as a grid or a small box do."""
    job = Job(pw_text(H2))
    springs = job.forces
    job.forces = lambda u: springs(u) - stiffness * u
    return job


@pytest.mark.parametrize("stiffness", [0.02, -0.02, 0.1, -0.1, 0.2, -0.2])
def test_motions_of_the_whole_never_count_and_are_told_only_far_from_zero(stiffness: float) -> None:
    document = held(stiffness).result()
    residual = math.copysign(diatomic_cm(abs(stiffness), 1.008), stiffness)
    assert document.freqs_cm[:5] == pytest.approx([residual] * 5, rel=1e-4)
    assert sorted(document.mode_kinds[:5]) == ["rotation"] * 2 + ["translation"] * 3
    assert document.mode_kinds[5] == "vibration"
    assert document.zpe_ev == pytest.approx(document.freqs_cm[5] * invcm / 2)
    assert document.s_vib_jmol_k == pytest.approx(0, abs=1e-4)
    assert document.imaginary_modes == []
    assert [row["counted_in_zpe"] for row in csv.DictReader(io.StringIO(freqs_csv(document)))] == [
        *["no"] * 5,
        "yes",
    ]
    # The atoms' own springs are what the acoustic sum rule lacks.
    assert document.checks["acoustic_sum_ev_ang2"] == pytest.approx(abs(stiffness), rel=1e-3)
    if abs(residual) < 200:
        assert document.warnings == []
    else:
        (warning,) = document.warnings
        assert (warning.count("cm⁻¹, translation)"), warning.count("cm⁻¹, rotation)")) == (3, 2)
        assert all(word in warning for word in ("larger box", "ecutrho", "relaxation"))
        assert "energy falls" not in warning


AGAIN = {
    # What is analysed, and a spring in eV/Å² that each atom has besides: it moves motions of the whole away
    # from zero, and makes an adsorbed atom unstable.
    "molecule": (pw_text(H2O, H2O_SPECIES, box=6.0), 0.2),
    "linear": (pw_text("O 0 0 1.17\nC 0 0 0\nO 0 0 -1.17", "O 15.999 O.UPF\nC 12.011 C.UPF", box=6.0), 1.5),
    "slab": (pw_text(HELD), -0.5),
    "atom": (pw_text("H 0 0 0"), 0.2),
}


@pytest.mark.parametrize("kind", AGAIN)
def test_a_result_evaluated_again_with_its_own_settings_is_the_same(kind: str) -> None:
    text, stiffness = AGAIN[kind]
    job = Job(text)
    springs = job.forces
    job.forces = noisy(lambda u: springs(u) - stiffness * u)
    reports = job.reports()
    reports[1] = reports[1].model_copy(update={"warnings": ["told"]})
    document = job.result(reports=reports, relaxed_ev_ang=-1.0)
    document.warnings.append("the SCF of displacement 1 ended in another state")
    first, *of_the_analysis, of_pw, last = document.warnings
    assert first.startswith("the structure is not relaxed")
    assert of_the_analysis
    assert (of_pw, last) == ("pw.x: told", "the SCF of displacement 1 ended in another state")

    result = ZPEResult.from_json(document.model_dump_json())
    assert result.document == document
    for again in (
        result.with_cutoff(document.low_cut_cm),
        result.at(document.temperature),
        result.with_masses(document.masses),
    ):
        assert again.document == document
    # Elsewhere and back: the job's numbers and warnings, in their places, and that it was elsewhere.
    away = result.with_masses([mass / 2 for mass in document.masses]).with_cutoff(4999.0).at(500.0).document
    assert away.warnings[1] == first
    assert away.warnings[-2:] == [of_pw, last]
    assert away.warnings[2:-2] != of_the_analysis
    back = ZPEResult(away).with_masses(document.masses).with_cutoff(document.low_cut_cm)
    back = back.at(document.temperature)
    assert back.document.warnings[1:] == document.warnings
    changed = {"warnings", "checks"}
    assert back.document.model_dump(exclude=changed) == document.model_dump(exclude=changed)
    # How noise spreads was known for the job's own modes only.
    assert back.document.checks == document.checks | {"zpe_error_ev": None}


def test_a_wavenumber_of_noise_is_zero_and_not_imaginary() -> None:
    job = Job(pw_text(HELD))
    # 0.005i cm⁻¹, 0.005 cm⁻¹ and a vibration.
    noise = (0.005 / diatomic_cm(1.0, 1.008)) ** 2
    job.forces = lambda u: -(u @ np.diag([-noise, noise, 30.0]))
    document = job.result()
    assert document.freqs_cm[:2] == [0.0, 0.0]
    assert document.imaginary_modes == []
    assert not any("imaginary" in warning for warning in document.warnings)
    assert "0.00i" not in summary_text(document)
    assert "-0.0" not in freqs_csv(document)


def test_a_molecule_near_its_images_is_told_and_its_rotations_are_no_vibrations() -> None:
    """Carbon dioxide in 6 Å: 3.7 Å from image to image."""
    text = pw_text("O 0 0 1.17\nC 0 0 0\nO 0 0 -1.17", "O 15.999 O.UPF\nC 12.011 C.UPF", box=6.0)
    document = Job(text).result()
    assert document.mode_kinds.count("rotation") == 2
    assert document.mode_kinds.count("vibration") == 4
    assert any("3.7 Å from its periodic images" in warning for warning in document.warnings)


def test_what_pw_itself_warns_of_stands_in_the_result_once() -> None:
    job = Job(pw_text(H2))
    reports = job.reports()
    for index, told in ((0, ["one"]), (1, ["two", "one"]), (2, ["two"])):
        reports[index] = reports[index].model_copy(update={"warnings": told})
    reports[0] = reports[0].model_copy(update={"total_magnetization": 2.0, "absolute_magnetization": 2.1})
    document = job.result(reports=reports)
    assert document.warnings == ["pw.x: one", "pw.x: two"]
    assert (document.total_magnetization, document.absolute_magnetization) == (2.0, 2.1)


@pytest.mark.parametrize(
    ("atoms", "box", "rotations"),
    [
        (H2, 8.0, 2),
        ("H 0 0 3.9\nH 0 0 -3.36", 8.0, 2),  # across the box's face
        ("H 0 0 0\nH 1.2 1.2 1.2", 2.4, 0),  # a crystal
        ("H 0 0 0", 8.0, 0),
        (H2O, 8.0, 3),
    ],
)
def test_only_molecules_rotate(atoms: str, box: float, rotations: int) -> None:
    job = Job(pw_text(atoms, H2O_SPECIES if atoms == H2O else "H 1.008 H.UPF", box=box))
    kinds = job.result().mode_kinds
    assert kinds.count("translation") == 3
    assert kinds.count("rotation") == rotations


@pytest.mark.parametrize(
    ("mass", "used", "warned"),
    [
        ("1.008", 1.008, False),
        ("2.014", 2.014, False),  # deuterium
        ("3.016", 3.016, False),
        ("1.0", 1.0, False),
        ("0.0", 1.008, False),  # pw.x takes its own
        ("12.011", 12.011, True),
        ("1.5", 1.5, True),
    ],
)
def test_masses_are_those_of_the_input(mass: str, used: float, warned: bool) -> None:
    document = Job(pw_text(H2, f"H {mass} H.UPF")).result()
    assert document.masses == [used, used]
    assert any("ATOMIC_SPECIES" in w for w in document.warnings) is warned
    reference = Job(pw_text(H2)).result().freqs_cm[-1]
    assert document.freqs_cm[-1] == pytest.approx(reference * math.sqrt(1.008 / used), rel=1e-9)


def test_each_label_has_its_own_mass() -> None:
    atoms, species = "H 0 0 0\nH_d 0 0 0.74", "H_d 2.0141 H.UPF\nH 1.008 H.UPF"
    document = Job(pw_text(atoms, species)).result()
    assert document.masses == [1.008, 2.0141]
    assert document.symbols == ["H", "H"]


def test_a_structure_that_is_not_relaxed_is_reported() -> None:
    job = Job(pw_text(H2))
    springs, pull = job.forces, np.array([[0, 0, 0.08], [0, 0, -0.08]])
    job.forces = lambda u: springs(u) + pull
    document = job.result()
    assert document.max_force_ev_ang == pytest.approx(0.08)
    assert len(document.warnings) == 1
    assert "0.080 eV/Å" in document.warnings[0]
    assert job.result(relaxed_ev_ang=0.1).warnings == []


CH4 = "C 0 0 0\nH 0.63 0.63 0.63\nH -0.63 -0.63 0.63\nH 0.63 -0.63 -0.63\nH -0.63 0.63 -0.63"
LOPSIDED = "O 0 0 0.12\nC 0.1 0.76 -0.48\nH 0.2 -0.86 -0.47"


def noisy(springs: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Add noise of 2e-4 eV/Å to forces, which add up to zero all the same, as pw.x makes them."""
    rng = np.random.default_rng(11)

    def forces(u: np.ndarray) -> np.ndarray:
        noise = rng.normal(0, 2e-4, u.shape)
        return springs(u) + noise - noise.mean(axis=0)

    return forces


def test_where_symmetry_hides_all_noise_no_error_is_told() -> None:
    job = Job(pw_text(H2))
    job.forces = noisy(job.forces)
    document = job.result()
    assert document.checks["zpe_error_ev"] is None
    assert "±" not in summary_text(document)


@pytest.mark.parametrize("atoms", [H2O, CH4, LOPSIDED])
def test_the_error_of_the_zpe_is_that_of_repeated_noisy_calculations(atoms: str) -> None:
    masses = {"H": 1.008, "C": 12.011, "O": 15.999}
    elements = dict.fromkeys(line.split()[0] for line in atoms.splitlines())
    job = Job(pw_text(atoms, "\n".join(f"{e} {masses[e]} {e}.UPF" for e in elements)), low_cut_cm=200.0)
    exact = job.result().zpe_ev
    job.forces = noisy(job.forces)
    documents = [job.result() for _ in range(60)]
    spread = math.sqrt(np.mean([(d.zpe_ev - exact) ** 2 for d in documents]))
    told = math.sqrt(np.mean([d.checks["zpe_error_ev"] ** 2 for d in documents]))
    assert told == pytest.approx(spread, rel=0.3)
    noise = math.sqrt(np.mean([d.checks["force_noise_ev_ang"] ** 2 for d in documents]))
    assert noise == pytest.approx(2e-4, rel=0.3)


def test_forces_of_different_physics_are_not_mixed() -> None:
    job = Job(pw_text(H2))
    reports = job.reports()
    other = PRINT.model_copy(update={"engine_version": "2"})
    reports[2] = reports[2].model_copy(update={"fingerprint": other})
    with pytest.raises(ComputeError) as caught:
        job.result(reports=reports)
    assert caught.value.code == "fingerprint_mismatch"


@pytest.mark.parametrize("task", [0, 2])
def test_a_missing_scf_is_named(task: int) -> None:
    job = Job(pw_text(H2))
    reports = job.reports()
    del reports[task]
    with pytest.raises(InputError, match=f"task {task}"):
        job.result(reports=reports)


def test_the_summary_tells_the_story() -> None:
    document = Job(pw_text(H2O, H2O_SPECIES)).result(reused=[5, 6])
    text = summary_text(document)
    assert text.startswith("# ZPE summary: H2O, 3 of 3 atoms mobile\n")
    assert "7 of 19 SCFs (4 symmetry operations)" in text
    assert f"{document.zpe_ev:.6f} eV" in text
    assert f"{document.s_vib_jmol_k:.4f} J/(mol K)" in text
    assert text.splitlines()[-2:] == [
        f"ZPE (eV): {document.zpe_ev:.6f}",
        f"S_vib(298.15 K): {document.s_vib_jmol_k:.4f} J/mol/K",
    ]
    assert "bob: 3 SCFs, 6.0 s" in text
    assert "ada: 2 SCFs, 4.0 s" in text
    assert "2 taken over from earlier jobs" in text
    assert "cutoffs 30 / 120 Ry" in text
    for frequency in document.freqs_cm:
        assert (f"{frequency:.2f}" if frequency > 0 else f"{-frequency:.2f}i") in text
    reread = ZPEResultDocument.model_validate_json(document.model_dump_json())
    assert summary_text(reread) == text
    assert "Bohr magnetons" not in text
    triplet = document.model_copy(update={"total_magnetization": 2.0, "absolute_magnetization": 2.0846})
    assert "2.0000 Bohr magnetons per cell   (absolute 2.0846)" in summary_text(triplet)


def test_a_document_of_an_earlier_version_has_its_input_where_it_is_now() -> None:
    document = Job(pw_text(H2)).result()
    earlier = document.model_dump() | {"qe_input": document.pw_input}
    del earlier["pw_input"]
    assert ZPEResultDocument.model_validate(earlier) == document
    assert document.qe_input == "inline"


def test_the_csv_has_a_row_per_mode() -> None:
    document = Job(pw_text(H2O, H2O_SPECIES)).result()
    rows = list(csv.DictReader(io.StringIO(freqs_csv(document))))
    assert freqs_csv(document).startswith("frequency_cm^-1,")  # what some programs look for
    assert list(rows[0]) == ["frequency_cm^-1", "mode", "energy_meV", "kind", "counted_in_zpe", "irrep"]
    assert [int(row["mode"]) for row in rows] == list(range(9))
    assert [float(row["frequency_cm^-1"]) for row in rows] == pytest.approx(document.freqs_cm, abs=1e-6)
    assert float(rows[-1]["energy_meV"]) == pytest.approx(1000 * document.freqs_cm[-1] * invcm, abs=1e-5)
    counted = [float(row["energy_meV"]) for row in rows if row["counted_in_zpe"] == "yes"]
    assert sum(counted) / 2000 == pytest.approx(document.zpe_ev, abs=1e-8)
    assert [row["kind"] for row in rows] == document.mode_kinds


@pytest.mark.parametrize(
    ("text", "mobile"), [(pw_text(H2O, H2O_SPECIES), None), (pw_text(H2O, H2O_SPECIES), [1])]
)
def test_scfs_that_stalled_are_in_the_error_of_the_zero_point_energy(
    text: str, mobile: list[int] | None
) -> None:
    job, lacking = Job(text, mobile=mobile), 1e-9
    reports = job.reports()
    stalled = {n: reports[n].model_copy(update={"lacking_ry": lacking}) for n in (1, 3)}
    told = job.result(reports=reports | stalled)
    # The same by throwing dice: forces off at random, each a whole result.
    rng = np.random.default_rng(7)
    found = []
    for _ in range(200):
        off = {
            n: report.model_copy(
                update={
                    "forces_ev_ang": (
                        np.array(report.forces_ev_ang)
                        + rng.normal(scale=STALLED * math.sqrt(lacking), size=(3, 3))
                    ).tolist()
                }
            )
            for n, report in stalled.items()
        }
        found.append(job.result(reports=reports | off).zpe_ev)
    assert told.checks["zpe_error_ev"] == pytest.approx(np.std(found), rel=0.4)
    assert told.checks["force_noise_ev_ang"] == pytest.approx(STALLED * math.sqrt(lacking))
    assert told.zpe_ev == job.result().zpe_ev
