"""What the engine's settings cost and what they leave: iterations, and errors against SCFs without end.

    python -m benchmarks.accuracy                  # twelve molecules and seven slabs: an hour or two
    python -m benchmarks.accuracy --only h2o,o/cu  # some of them, by name

The same SCFs are run twice: as the engine runs them, and each from scratch with ``conv_thr = 1e-12``. Small
boxes and low cutoffs: both meet the same equations.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule

from benchmarks.engine import FILES, INPUTS, SLABS, TIGHT, engine_result, other
from zpe_sdk.wire import ZPEResultDocument

MOLECULES = ["H2", "H2O", "CO2", "NH3", "CH4", "CO", "N2", "HCN", "C2H2", "C2H4", "H2CO", "CH3OH"]
MORE_SLABS = {
    "h/al100": INPUTS / "h_al100.in",
    "o/cu": INPUTS / "o_cu100.in",
    "co/mgo": INPUTS / "co_mgo001.in",
}
SYSTEMS = {name.lower(): name for name in MOLECULES} | SLABS | MORE_SLABS
# Rotations and translations of molecules, as far as a box lets them be seen, lie below.
LOWEST_CM = 20.0
INPUT = """&SYSTEM
  ibrav = 1, A = 7.0, nat = {nat}, ntyp = {ntyp}, ecutwfc = 25.0, ecutrho = 150.0
/
&ELECTRONS
  conv_thr = 1e-6
/
ATOMIC_SPECIES
{species}
ATOMIC_POSITIONS angstrom
{positions}
K_POINTS gamma
"""


def system_input(name: str) -> str:
    """Return the pw.x input of a system: a file's, or a molecule of ASE's G2 set as it is there."""
    found = SYSTEMS[name]
    if isinstance(found, Path):
        return found.read_text()
    atoms = molecule(found)
    kinds = sorted(set(atoms.symbols))
    places = zip(atoms.symbols, atoms.positions, strict=True)
    return INPUT.format(
        nat=len(atoms),
        ntyp=len(kinds),
        species="\n".join(FILES[kind] for kind in kinds),
        positions="\n".join(f"{symbol} {x:.10f} {y:.10f} {z:.10f}" for symbol, (x, y, z) in places),
    )


def row(name: str, ours: ZPEResultDocument, tight: ZPEResultDocument) -> str:
    """Return a line of the table."""
    modes = np.abs(tight.freqs_cm) > LOWEST_CM
    errors = np.abs(np.subtract(ours.freqs_cm, tight.freqs_cm))[modes]
    worst = int(np.argmax(errors))
    iterations = ["+".join(str(run.scf_iterations) for run in of.tasks) for of in (ours, tight)]
    return (
        f"| {name} | {iterations[0]} | {sum(run.scf_iterations or 0 for run in ours.tasks)} "
        f"| {sum(run.scf_iterations or 0 for run in tight.tasks)} "
        f"| {errors[worst]:.2f} (at {np.array(tight.freqs_cm)[modes][worst]:.0f}) "
        f"| {1000 * (ours.zpe_ev - tight.zpe_ev):+.3f} |"
    )


def main() -> None:
    """Print the table, a line as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(SYSTEMS), help="comma-separated: " + ", ".join(SYSTEMS))
    parser.add_argument("--pseudo-dir", type=Path, default=Path("/usr/share/espresso/pseudo"))
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := sorted(set(names) - set(SYSTEMS)):
        parser.error(f"no such systems: {', '.join(unknown)}")
    print(
        "| system | iterations: equilibrium, displaced | all | 1e-12 from scratch "
        "| largest error / cm⁻¹ | ZPE / meV |\n| --- | --- | --- | --- | --- | --- |"
    )
    for name in names:
        text = system_input(name)
        with tempfile.TemporaryDirectory(prefix="zpe-accuracy-") as folder:
            ours = engine_result(text, options.pseudo_dir, Path(folder) / "ours")
            with other(conv_thr=TIGHT, start="scratch"):
                tight = engine_result(text, options.pseudo_dir, Path(folder) / "tight")
        print(row(name, ours, tight), flush=True)


if __name__ == "__main__":
    main()
