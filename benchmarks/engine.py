"""Compare the pw.x engine with ASE's Vibrations and Espresso calculator: SCFs, seconds, zero-point energy.

    python -m benchmarks.engine                     # all systems; an hour and a half on two quiet cores
    python -m benchmarks.engine --only co/al,h/ni   # some of them, by name
    python -m benchmarks.engine --thresholds h2o    # which conv_thr and start: the table of docs/engine.md

For each system:

- **ASE**: `Vibrations` with the `Espresso` calculator on the same input, on one core or on all with mpirun,
  whichever is faster for the SCF of the equilibrium.
- **ours**: through a control plane and a worker, from submission to result, both started before.
- **tight**: the plan's SCFs with `conv_thr = 1e-12`, each from scratch. What the others' ZPE is held against.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Event
from unittest.mock import patch

import numpy as np
from ase import Atoms, units
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.vibrations import Vibrations

from zpe_sdk.client.blocking_client import ZPEClient
from zpe_sdk.client.local_service import local_service
from zpe_sdk.espresso import density, recipe
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.libraries import blas_of
from zpe_sdk.espresso.symmetry import symmetry_of
from zpe_sdk.result.assemble import make_result
from zpe_sdk.vibrations.plan import Plan, plan_displacements
from zpe_sdk.wire import JobPayload, TaskReport, ZPEResultDocument
from zpe_sdk.worker.engines import converging, espresso, starts
from zpe_sdk.worker.engines.cores import available_cores
from zpe_sdk.worker.engines.espresso import EspressoEngine
from zpe_sdk.worker.settings import WorkerSettings

INPUTS = Path(__file__).parent / "inputs"
DELTA, LOW_CUT_CM, TEMPERATURE = 0.01, 50.0, 298.15
CONV_THR = 1e-8  # of the input: usual for forces, and what ASE runs with
TIGHT = 1e-12

BOX = """&CONTROL
  calculation = 'scf'
/
&SYSTEM
  ibrav = 1, A = 8.0, nat = {nat}, ntyp = {ntyp}, ecutwfc = 30.0, ecutrho = 240.0
/
&ELECTRONS
  conv_thr = 1e-8
/
ATOMIC_SPECIES
{species}
ATOMIC_POSITIONS angstrom
{positions}
K_POINTS {kpoints}
"""
FILES = {
    "H": "H   1.008 H.pbe-kjpaw.UPF",
    "C": "C  12.011 C.pbe-n-kjpaw_psl.0.1.UPF",
    "N": "N  14.007 N.pbe-kjpaw.UPF",
    "O": "O  15.999 O.pbe-kjpaw.UPF",
}
# Relaxed at these settings, as far as a user would.
MOLECULES = {
    "h2": ["H 0 0 0.3767670914", "H 0 0 -0.3767670914"],
    "h2o": ["O 0 0 0.1196405386", "H 0 0.7704921517 -0.4772362693", "H 0 -0.7704921517 -0.4772362693"],
    "co2": ["C 0 0 0", "O 0 0 1.1791948449", "O 0 0 -1.1791948449"],
    "nh3": [
        "N 0 -0.0522054800 0.1190120837",
        "H 0 0.9496182290 -0.1053582723",
        "H 0.8189867094 -0.4487058745 -0.3562944057",
        "H -0.8189867094 -0.4487058745 -0.3562944057",
    ],
    "ch3oh": [
        "C -0.1413921667 0.3330695000 0.0000000000",
        "O -0.1413921667 -1.0898705000 0.0000000000",
        "H -1.1872561667 0.6384655000 0.0000000000",
        "H 0.7842728333 -1.3797775000 0.0000000000",
        "H 0.3428838333 0.7490565000 0.8917720000",
        "H 0.3428838333 0.7490565000 -0.8917720000",
    ],
}
# Adsorbates on slabs; CO on top, where three mirror planes meet, and beside it.
SLABS = {
    "h/al": INPUTS / "h_al111.in",
    "h/ni": INPUTS / "h_ni111.in",
    "co/al": INPUTS / "co_al111.in",
    "co/al-low": INPUTS / "co_al111_low.in",
}
SYSTEMS = [*MOLECULES, *SLABS]
INTERNAL_MODES = {"h2": 1, "h2o": 3, "co2": 4, "nh3": 6, "ch3oh": 12}
INTERNAL_MODES |= {"h/al": 3, "h/ni": 3, "co/al": 6, "co/al-low": 6}


@dataclass(frozen=True)
class Outcome:
    """SCFs run, wall-clock seconds, and all wavenumbers in cm⁻¹, imaginary ones negative."""

    scfs: int
    seconds: float
    frequencies_cm: list[float]
    how: str = ""

    def zpe_ev(self, modes: int) -> float:
        """Return the zero-point energy of the highest ``modes`` modes: those of the molecule as such."""
        return float(sum(sorted(self.frequencies_cm)[-modes:]) * units.invcm / 2)


def system_input(name: str, *, kpoints: str) -> str:
    """Return the pw.x input of a system; molecules at the gamma point, written as ``kpoints``."""
    if name in SLABS:
        return SLABS[name].read_text()
    atoms = MOLECULES[name]
    kinds = sorted({line.split()[0] for line in atoms})
    return BOX.format(
        nat=len(atoms),
        ntyp=len(kinds),
        species="\n".join(FILES[kind] for kind in kinds),
        positions="\n".join(atoms),
        kpoints={"gamma": "gamma", "automatic": "automatic\n1 1 1 0 0 0"}[kpoints],
    )


# --------------------------------------------------------------------------------------------- ASE


def run_ase(text: str, pseudo_dir: Path, folder: Path) -> Outcome:
    """Run ASE's Vibrations on one core or on all, whichever is faster for one SCF."""
    cores = len(available_cores())
    commands = {"1 core": "pw.x"}
    if cores > 1:
        commands[f"mpirun -np {cores}"] = f"mpirun --allow-run-as-root -np {cores} pw.x"
    seconds: dict[str, float] = {}
    for how, command in commands.items():
        atoms = ase_atoms(text, command, pseudo_dir, folder / "probe")
        begun = time.perf_counter()
        atoms.get_forces()
        seconds[how] = time.perf_counter() - begun
    how = min(seconds, key=lambda name: seconds[name])
    atoms = ase_atoms(text, commands[how], pseudo_dir, folder / "pw")
    mobile = list(PwInput.parse(text).mobile())
    vibrations = Vibrations(atoms, indices=mobile, delta=DELTA, name=str(folder / "vib"))
    begun = time.perf_counter()
    vibrations.run()
    energies = vibrations.get_energies()
    taken = time.perf_counter() - begun
    frequencies = (energies.real - energies.imag) / units.invcm
    return Outcome(6 * len(mobile) + 1, taken, sorted(frequencies.tolist()), how)


def ase_atoms(text: str, command: str, pseudo_dir: Path, folder: Path) -> Atoms:
    """Return the structure of an input with a calculator that runs it as ASE does."""
    pw_input = PwInput.parse(text)
    system = {
        key: value
        for key, value in pw_input.namelists["system"].items()
        if key not in ("ibrav", "a", "nat", "ntyp", "starting_magnetization")
    }
    moments = pw_input.namelists["system"].get("starting_magnetization", [])
    k = pw_input.kpoints
    atoms = Atoms(
        pw_input.symbols,
        pw_input.positions,
        cell=pw_input.cell,
        pbc=True,
        calculator=Espresso(
            profile=EspressoProfile(command=command, pseudo_dir=pseudo_dir),
            directory=folder,
            pseudopotentials={s.label: s.pseudopotential for s in pw_input.species},
            input_data={
                "control": {"tprnfor": True},
                "system": system,
                "electrons": {"conv_thr": CONV_THR},
            },
            kpts=k.mesh if k.mode == "automatic" else None,
        ),
    )
    masses = {s.label: s.mass for s in pw_input.species}
    atoms.set_masses([masses[label] for label in pw_input.labels])
    if isinstance(moments, list):  # which ASE writes as starting_magnetization again
        by_label = {s.label: moment for s, moment in zip(pw_input.species, moments, strict=False)}
        atoms.set_initial_magnetic_moments([by_label.get(label, 0.0) for label in pw_input.labels])
    return atoms


# -------------------------------------------------------------------------------------------- ours


def planned(text: str) -> tuple[PwInput, JobPayload, Plan]:
    """Parse and plan, as the control plane does."""
    pw_input = PwInput.parse(text)
    labels, breakers = symmetry_of(pw_input) or (pw_input.labels, None)
    mobile = pw_input.mobile()
    plan = plan_displacements(
        pw_input.positions, pw_input.cell, labels, mobile, delta=DELTA, breakers=breakers
    )
    payload = JobPayload(
        content=text,
        mobile_indices=list(mobile),
        delta=DELTA,
        low_cut_cm=LOW_CUT_CM,
        temperature=TEMPERATURE,
    )
    return pw_input, payload, plan


def run_service(client: ZPEClient, text: str) -> Outcome:
    """Compute as a user does."""
    begun = time.perf_counter()
    job = client.submit(text, calc_mode="new").wait(progress=False)
    document = job.result().document
    return outcome(document, time.perf_counter() - begun)


def run_engine(text: str, pseudo_dir: Path, folder: Path) -> Outcome:
    """Compute without control plane and worker."""
    begun = time.perf_counter()
    document = engine_result(text, pseudo_dir, folder)
    return outcome(document, time.perf_counter() - begun)


def engine_result(text: str, pseudo_dir: Path, folder: Path) -> ZPEResultDocument:
    """Plan, compute and assemble without control plane and worker."""
    started = datetime.now(UTC)
    pw_input, payload, plan = planned(text)
    engine = EspressoEngine(WorkerSettings(work_dir=folder, pseudo_dir=pseudo_dir))
    tasks = plan.displacements
    one = partial(engine.run, payload, job_id="benchmark", stop=Event())
    with ThreadPoolExecutor(engine.capabilities().slots) as slots:
        reports: dict[int, TaskReport] = {report.task: report for report in slots.map(one, tasks)}
    engine.forget("benchmark")
    return make_result(
        payload,
        pw_input,
        plan,
        reports,
        workers=dict.fromkeys(reports, "engine"),
        started_at=started,
        finished_at=datetime.now(UTC),
    )


def outcome(document: ZPEResultDocument, seconds: float) -> Outcome:
    """Return what a result comes to."""
    iterations = "+".join(str(run.scf_iterations) for run in document.tasks)
    return Outcome(len(document.tasks), seconds, document.freqs_cm, f"iterations {iterations}")


@contextmanager
def other(*, conv_thr: float, start: str = "extrapolated") -> Iterator[None]:
    """Run the engine with another threshold and kind of start for the ``with`` block."""
    usual = recipe.recipe

    def changed(pw_input: PwInput, gap_ev: float | None = None) -> recipe.Recipe:
        how = replace(usual(pw_input, gap_ev), conv_thr=conv_thr)
        return replace(how, wave_functions=False) if start == "scratch" else how

    with ExitStack() as stack:
        for module in (espresso, starts):
            stack.enter_context(patch.object(module, "recipe", changed))
        if start == "scratch":
            stack.enter_context(patch.object(converging, "prepare", lambda *_: recipe.Near.SCRATCH))
        elif start == "equilibrium":
            stack.enter_context(patch.object(density, "extrapolate", lambda centre, displaced, save: False))
        yield


def run_tight(text: str, pseudo_dir: Path, folder: Path) -> Outcome:
    """Run the engine with a threshold so tight that nothing else matters."""
    with other(conv_thr=TIGHT, start="scratch"):
        return run_engine(text, pseudo_dir, folder)


# --------------------------------------------------------------------------------------------- tables


def compare(names: list[str], pseudo_dir: Path, kpoints: str, scratch: Path) -> None:
    """Print the comparison, a line as soon as it is known."""
    pw = shutil.which("pw.x")
    print(f"{len(available_cores())} cores; BLAS of pw.x: {blas_of(Path(pw)) if pw else 'not known'}")
    print(f"molecules: K_POINTS {kpoints}; conv_thr of the input: {CONV_THR:g}")
    print(
        "| system | ASE: SCFs, seconds | ours: SCFs, seconds | ratio "
        "| ZPE tight / eV | ASE - tight / meV | ours - tight / meV |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    notes = []
    with (
        local_service(scratch / "service", settings={"ZPE_PSEUDO_DIR": str(pseudo_dir)}) as service,
        ZPEClient(service.url, token=service.token) as client,
    ):
        # The worker process is still on its way when the service answers.
        run_service(client, system_input("h2", kpoints=kpoints))
        for name in names:
            text, modes = system_input(name, kpoints=kpoints), INTERNAL_MODES[name]
            folder = scratch / name.replace("/", "-")
            ours = run_service(client, text)
            theirs = run_ase(text, pseudo_dir, folder / "ase")
            tight = run_tight(text, pseudo_dir, folder / "tight")
            zpe = tight.zpe_ev(modes)
            print(
                f"| {name} | {theirs.scfs}, {theirs.seconds:.1f} ({theirs.how}) "
                f"| {ours.scfs}, {ours.seconds:.1f} | {theirs.seconds / ours.seconds:.1f} | {zpe:.6f} "
                f"| {1000 * (theirs.zpe_ev(modes) - zpe):+.3f} | {1000 * (ours.zpe_ev(modes) - zpe):+.3f} |",
                flush=True,
            )
            highest = ", ".join(f"{cm:.1f}" for cm in ours.frequencies_cm[-modes:])
            notes.append(f"{name}: {highest} cm-1; {ours.how}; tight: {tight.how}, {tight.seconds:.1f} s")
            shutil.rmtree(folder)
    print("\n" + "\n".join(notes))


def thresholds(names: list[str], pseudo_dir: Path, scratch: Path) -> None:
    """Print what threshold and start do to iterations and zero-point energy."""
    print(
        "| system | conv_thr | start | iterations of the displaced | largest error / cm-1 | ZPE error / meV |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names:
        text, modes = system_input(name, kpoints="gamma"), INTERNAL_MODES[name]
        text = text.replace("1e-8", "1e-6")  # the engine's own threshold decides
        tight = run_tight(text, pseudo_dir, scratch / "tight")
        for conv_thr in (1e-8, 1e-9, 1e-10, 1e-11):
            for start in ("scratch", "equilibrium", "extrapolated"):
                with other(conv_thr=conv_thr, start=start):
                    found = run_engine(text, pseudo_dir, scratch / "engine")
                off = np.subtract(found.frequencies_cm[-modes:], tight.frequencies_cm[-modes:])
                zpe_off = found.zpe_ev(modes) - tight.zpe_ev(modes)
                print(
                    f"| {name} | {conv_thr:g} | {start} | {found.how.split('+', 1)[1]} "
                    f"| {np.abs(off).max():.2f} | {1000 * zpe_off:+.3f} |",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(SYSTEMS), help="comma-separated: " + ", ".join(SYSTEMS))
    parser.add_argument("--pseudo-dir", type=Path, default=Path("/usr/share/espresso/pseudo"))
    parser.add_argument(
        "--kpoints",
        choices=("automatic", "gamma"),
        default="automatic",
        help="how the molecules' inputs write the gamma point; gamma spares ASE half of its plane waves too",
    )
    parser.add_argument("--thresholds", metavar="SYSTEMS", help="the other table, of these systems")
    options = parser.parse_args()
    names = (options.thresholds or options.only).split(",")
    if unknown := sorted(set(names) - set(SYSTEMS)):
        parser.error(f"no such systems: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="zpe-engine-") as folder:
        if options.thresholds:
            thresholds(names, options.pseudo_dir, Path(folder))
        else:
            compare(names, options.pseudo_dir, options.kpoints, Path(folder))


if __name__ == "__main__":
    main()
