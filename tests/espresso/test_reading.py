"""Small inputs, as pw.x reads them: a table of what each holds, and pw.x's own word on it."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.units import Bohr
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso import patch, physics
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.kpoints import KPoints
from zpe_sdk.espresso.run import pw_command, run_scf
from zpe_sdk.wire import Task

CUBE = 12 * Bohr
# That Open MPI looks for no network spares most of the time of a pw.x as short as these. Each needs a
# folder of its own for what Open MPI leaves about: see zpe_sdk/espresso/process.py.
ENVIRONMENT = {
    "ESPRESSO_PSEUDO": "/usr/share/espresso/pseudo",
    "OMP_NUM_THREADS": "1",
    "OMPI_MCA_ess_singleton_isolated": "1",
    "OMPI_MCA_pml": "ob1",
    "OMPI_MCA_btl": "self",
}
H = "H 1.008 H.pz-vbc.UPF"
H2 = "H 0 0 0\nH 0 0 0.75"
MATRIX = "1 0 0\n0 1 0\n0 0 1"


def text(
    *,
    control: str = "",
    cell: str = "ibrav=1, celldm(1)=12",
    system: str = "",
    cutoff: str = "ecutwfc=4, ",
    groups: str = "",
    species: str = H,
    unit: str = "angstrom",
    atoms: str = H2,
    kpoints: str = "K_POINTS gamma",
    more: str = "",
) -> str:
    return (
        f"&control\n {control}\n/\n&system\n {cell}, {cutoff}nat={len(atoms.splitlines())}, "
        f"ntyp={len(species.splitlines())}, nosym=.true., noinv=.true. {system}\n/\n&electrons\n/\n{groups}"
        f"ATOMIC_SPECIES\n{species}\nATOMIC_POSITIONS {unit}\n{atoms}\n{kpoints}\n{more}\n"
    )


def labelled(label: str, rest: str) -> str:
    return text(species=f"{label} {rest}", atoms=f"{label} 0 0 0\n{label} 0 0 2.2")


GAMMA = KPoints("gamma")


@dataclass(frozen=True)
class Reads:
    """What an input holds: the second atom's place in Å, symbols, edge of the cubic cell, k-points."""

    z: float = 0.75
    symbols: str = "H H"
    edge: float = CUBE
    kpoints: KPoints = GAMMA


GRID = KPoints("automatic", (2, 1, 3), (0, 0, 1))
LIST = KPoints("crystal", points=((0.0, 0.0, 0.0), (0.5, 0.0, 0.0)), weights=(1.0, 3.0))

READ: dict[str, tuple[str, Reads]] = {
    "plain": (text(), Reads()),
    "fractions": (text(unit="crystal", atoms="H 0 0 0\nH 0 0 1/3"), Reads(z=CUBE / 3)),
    "expression": (text(atoms="H 0 0 -2^2+4\nH 1-1 0/2 0.75d0*(2-1e0)"), Reads()),
    "power": (text(atoms="H 0 0 0\nH 0 0 2^3^0*(1.5)*2^-1"), Reads(z=1.5)),
    "sign before an operator": (text(atoms="H 0 0 0\nH 0 0 +3/4"), Reads()),
    "exponents of Fortran": (text(atoms="H .0d0 0.D+0 0.E0\nH 0 0 7.5d-1"), Reads()),
    "(angstroms)": (text(unit="(angstroms)"), Reads()),
    "= angstrom": (text(unit="= angstrom"), Reads()),
    "{ANGSTROM}": (text(unit="{ANGSTROM}"), Reads()),
    "unit in the comment": (text(unit="! in angstrom"), Reads()),
    "no unit is alat": (text(unit="", atoms="H 0 0 0\nH 0 0 0.1"), Reads(z=CUBE / 10)),
    "cell in no unit of its own": (
        text(cell="ibrav=0, celldm(1)=12", more=f"CELL_PARAMETERS cubic\n{MATRIX}"),
        Reads(),
    ),
    "cell with commas": (
        text(cell="ibrav=0", more="CELL_PARAMETERS angstrom\n6.0, 0.0, 0.0\n0, 6, 0\n2*0.0, 6.0"),
        Reads(edge=6.0),
    ),
    "alat with a number": (
        text(cell="ibrav=0, celldm(1)=12", more=f"CELL_PARAMETERS (alat= 11.0)\n{MATRIX}"),
        Reads(),
    ),
    "cell before the species": (
        text(cell="ibrav=0", groups=f"CELL_PARAMETERS bohr\n{MATRIX.replace('1', '12')}\n"),
        Reads(),
    ),
    "no K_POINTS": (text(kpoints=""), Reads()),
    "no K_POINTS but comments": (text(kpoints="! K_POINTS crystal\n# 2\n  ! gamma"), Reads()),
    "mesh with commas": (text(kpoints="K_POINTS automatic\n2,1, 3 ,2*0,1"), Reads(kpoints=GRID)),
    "mesh and comment": (text(kpoints="K_POINTS {automatic}\n2 1 3 0 0 1 ! mesh"), Reads(kpoints=GRID)),
    "list with commas": (
        text(kpoints="K_POINTS crystal\n2\n3*0.0 1 ! gamma\n0.5, 0, 0, 3 # X"),
        Reads(kpoints=LIST),
    ),
    "unit behind a comma": (text(kpoints="K_POINTS, crystal\n 2 \n0 0 0 1\n0.5 0 0 3"), Reads(kpoints=LIST)),
    "no unit is tpiba": (
        text(kpoints="K_POINTS\n1\n0 0 0.5 1.0"),
        Reads(kpoints=KPoints("tpiba", points=((0.0, 0.0, 0.5),), weights=(1.0,))),
    ),
    "species with commas": (text(species="H, 1.008, H.pz-vbc.UPF"), Reads()),
    "quoted file": (text(species="H 1.008 'H.pz-vbc.UPF'"), Reads()),
    "more species than ntyp": (text().replace(H, f"{H}\nO 16 O.UPF"), Reads()),
    "more atoms than nat": (text().replace(H2, f"{H2}\nH 1 1 1"), Reads()),
    "flags and comments": (text(atoms="H 0 0 0 0 0 0 ! fixed\nH 0 0 0.75   !free"), Reads()),
    "flags of two": (text(atoms="H 0 0 0 2 2 2\nH 0 0 0.75"), Reads()),
    "tabs": (text(atoms="H\t0\t0\t0\nH\t0\t0\t0.75\t1\t1\t1"), Reads()),
    "comment with # between atoms": (text().replace("\nH 0 0 0.75", "\n# H 1 1 1\nH 0 0 0.75"), Reads()),
    "what stands beyond column 256": (text(atoms=f"{H2}{' ' * 256}1 1 1 1 1"), Reads()),
    "accents": (text(control="title='Méthode' ! Å"), Reads()),
    "byte order mark": ("\ufeff" + text(), Reads()),
    "label Rhs": (labelled("Rhs", "102.9 H.pz-vbc.UPF"), Reads(z=2.2, symbols="Rh Rh")),
    "label Oh": (labelled("Oh", "16 O.pbe-kjpaw.UPF"), Reads(z=2.2, symbols="O O")),
    "label NiB": (labelled("NiB", "58.69 H.pz-vbc.UPF"), Reads(z=2.2, symbols="Ni Ni")),
    "label Sih": (labelled("Sih", "1.0 Si.pz-vbc.UPF"), Reads(z=2.2, symbols="Si Si")),
    "label Cuh": (labelled("Cuh", "63.546 H.pz-vbc.UPF"), Reads(z=2.2, symbols="Cu Cu")),
    "label Li+": (labelled("Li+", "6.94 H.pz-vbc.UPF"), Reads(z=2.2, symbols="Li Li")),
    "label O2-": (labelled("O2-", "15.99 Si.pz-vbc.UPF"), Reads(z=2.2, symbols="O O")),
    "label D": (labelled("D", "2.014 H.pz-vbc.UPF"), Reads(z=2.2)),
    "label X": (labelled("X", "1.0 H.pz-vbc.UPF"), Reads(z=2.2)),
    "label Ca of carbon": (labelled("Ca", "12 H.pz-vbc.UPF"), Reads(z=2.2, symbols="C C")),
    "label SI": (labelled("SI", "28 Si.pz-vbc.UPF"), Reads(z=2.2, symbols="Si Si")),
    "occupations": (
        text(system=", occupations='from_input', nbnd=2", more="OCCUPATIONS\n2.0 0.0"),
        Reads(),
    ),
    "key twice": (text(system=", ecutwfc=5"), Reads()),
    "namelists end with &end": (text().replace("\n/\n", "\n&end\n"), Reads()),
    "lines that end as on Windows": (text().replace("\n", "\r\n"), Reads()),
}  # fmt: skip

# name -> text, field
REFUSED_BY_BOTH: dict[str, tuple[str, str]] = {
    "cell twice": (text(more=f"CELL_PARAMETERS angstrom\n{MATRIX}"), "CELL_PARAMETERS"),
    "positions first": (
        re.sub(r"(ATOMIC_SPECIES\n.*\n)((?:.*\n)*?)(K_POINTS)", r"\2\1\3", text()),
        "ATOMIC_POSITIONS",
    ),
    "labels cut to the same": (
        text(species="Fe_u 55 H.pz-vbc.UPF\nFe_d 55 H.pz-vbc.UPF", atoms="Fe_u 0 0 0\nFe_d 0 0 2"),
        "ATOMIC_SPECIES",
    ),
    "misspelt key": (text(system=", nbdn=4"), "nbdn"),
    "calculation in capitals": (text(control="calculation='SCF'"), "calculation"),
    "another calculation": (text(control="calculation='ensemble'"), "calculation"),
    "unit unknown": (text(unit="(au)"), "ATOMIC_POSITIONS"),
    "cards in small letters": (text().replace("ATOMIC_S", "atomic_s"), "ATOMIC_SPECIES"),
    "a sign alone": (text(atoms="H 0 0 0\nH 0 0 +0.75"), "ATOMIC_POSITIONS"),
    "division by zero": (text(atoms="H 0 0 0\nH 0 0 1/0"), "ATOMIC_POSITIONS"),
    "open bracket": (text(atoms="H 0 0 0\nH 0 0 (1/2"), "ATOMIC_POSITIONS"),
    "commas between positions": (text(atoms="H, 0, 0, 0\nH, 0, 0, 0.75"), "ATOMIC_POSITIONS"),
    "five words": (text(atoms="H 0 0 0 1\nH 0 0 0.75 1"), "ATOMIC_POSITIONS"),
    "flags that are no whole numbers": (text(atoms="H 0 0 0\nH 0 0 0.75 1.0 1 1"), "ATOMIC_POSITIONS"),
    "comment with ! between atoms": (
        text().replace("\nH 0 0 0.75", "\n!H 1 1 1\nH 0 0 0.75"), "ATOMIC_POSITIONS"
    ),
    "a line of tabs": (text().replace("\nH 0 0 0.75", "\n\t\nH 0 0 0.75"), "ATOMIC_POSITIONS"),
    "no mass": (text(species="H H.pz-vbc.UPF"), "ATOMIC_SPECIES"),
    "mesh without shifts": (text(kpoints="K_POINTS automatic\n2 2 2"), "K_POINTS"),
    "mesh in two lines": (text(kpoints="K_POINTS automatic\n2 2 2\n0 0 0"), "K_POINTS"),
    "unquoted text": (text(system=", occupations=smearing"), "occupations"),
    "# in a namelist": (text(system="\n#nbnd=4"), "noinv"),
    "alat of no length": (
        text(cell="ibrav=0", more=f"CELL_PARAMETERS (alat= 12)\n{MATRIX}"), "CELL_PARAMETERS"
    ),
}  # fmt: skip
# What pw.x reads, but in a way that nobody wants, that is not the same in all versions, or not carried out.
REFUSED_BY_US: dict[str, tuple[str, str]] = {
    "K_POINTS{automatic}": (text(kpoints="K_POINTS{automatic}\n2 2 2 0 0 0"), "K_POINTS"),
    "k_points in small letters": (text(kpoints="k_points automatic\n2 2 2 0 0 0"), "K_POINTS"),
    "KPOINTS": (text(kpoints="KPOINTS automatic\n2 2 2 0 0 0"), "K_POINTS"),
    "a mesh without its card": (text(kpoints="2 2 2 0 0 0"), "K_POINTS"),
    "TOTAL_CHARGE": (text(more="TOTAL_CHARGE\n1"), "TOTAL_CHARGE"),
    "unit overlooked": (
        text(cell="ibrav=0", more="CELL_PARAMETERS angstroem\n6 0 0\n0 6 0\n0 0 6"), "CELL_PARAMETERS"
    ),
    "fraction of a k-point": (text(kpoints="K_POINTS crystal\n1\n1/3 0 0 1"), "K_POINTS"),
    "space group": (text(system=", space_group=19"), "space_group"),
    "element unknown": (labelled("X1", "100.0 H.pz-vbc.UPF"), "ATOMIC_SPECIES"),
    "element of two readings": (labelled("Cuh", "1.0 H.pz-vbc.UPF"), "ATOMIC_SPECIES"),
    "a band structure": (text(kpoints="K_POINTS tpiba_b\n1\n0 0 0 1"), "K_POINTS"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_what_pw_x_reads_is_read(name: str) -> None:
    content, expected = READ[name]
    found = PwInput.parse(content)
    np.testing.assert_allclose(found.positions, [[0, 0, 0], [0, 0, expected.z]], atol=1e-9)
    np.testing.assert_allclose(found.cell, np.eye(3) * expected.edge, atol=1e-9)
    assert " ".join(found.symbols) == expected.symbols
    assert found.kpoints == expected.kpoints


@pytest.mark.parametrize("name", [*REFUSED_BY_BOTH, *REFUSED_BY_US])
def test_what_is_not_read_is_refused_by_name(name: str) -> None:
    content, field = (REFUSED_BY_BOTH | REFUSED_BY_US)[name]
    with pytest.raises(InputError) as refused:
        PwInput.parse(content)
    assert refused.value.field == field


def test_namelists_that_are_cut_out_may_hold_unquoted_text_and_leave_nothing_behind() -> None:
    relax = text(
        groups="   &ions\n   ion_dynamics=bfgs, upscale = 1d0 ! free\n   /\n", control="calculation='relax'"
    )
    task = patch.task_text(
        PwInput.parse(relax), Task(index=0), prefix="p", outdir="./", pseudo_dir="./", electrons={}
    )
    before, after = task.split("ATOMIC_SPECIES")
    assert before.endswith("&electrons\n/\n")
    assert "ion_dynamics" not in task
    assert after == relax.split("ATOMIC_SPECIES")[1]


@pytest.mark.parametrize("calculation", ["md", "nscf", "bands", "vc-md"])
def test_the_structure_of_any_calculation_can_be_looked_at_but_not_submitted(calculation: str) -> None:
    content = text(control=f"calculation='{calculation}', lelfield=.true.")
    assert PwInput.read(content).symbols == ("H", "H")
    with pytest.raises(InputError, match=calculation):
        PwInput.parse(content)


def test_displaced_expressions_become_numbers_and_others_stay() -> None:
    content = text(unit="crystal", atoms="H 1/3 2*(1/3) 0.5 2 2 2\nH 2/3 1/3 1/2")
    task = Task(index=1, atom=0, displacement=(0.01, 0.0, 0.0))
    before = PwInput.parse(content)
    changed = patch.task_text(before, task, prefix="p", outdir="./", pseudo_dir="./", electrons={})
    moved = PwInput.parse(changed)
    np.testing.assert_allclose(
        moved.positions - PwInput.parse(content).positions, [[0.01, 0, 0], [0, 0, 0]], atol=1e-12
    )
    # pw.x multiplies forces by these flags.
    assert re.search(r"^H 0\.33\d+ 2\*\(1/3\) 0\.5 *\nH 2/3 1/3 1/2$", changed, re.M)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (text(atoms="H 0 0 0\nH 0 0 3/4"), text(atoms="H 0 0 0\nH 0 0 0.75")),
        (text(kpoints=""), text(kpoints="K_POINTS gamma")),
        (
            READ["cell with commas"][0],
            text(cell="ibrav=0", more="CELL_PARAMETERS angstrom\n6 0 0\n0 6 0\n0 0 6"),
        ),
        (text(unit="(angstroms)"), text(unit="{angstrom}")),
        (READ["list with commas"][0], text(kpoints="K_POINTS crystal\n2\n0 0 0 1\n0.5 0 0 3")),
    ],
)  # fmt: skip
def test_what_means_the_same_to_pw_x_has_the_same_key(one: str, other: str) -> None:
    keys = {physics.scf_key(PwInput.parse(text), Task(index=0)) for text in (one, other)}
    assert len(keys) == 1


# ------------------------------------------------------------------------------------------ the real pw.x


def pw_x(content: str, folder: Path) -> str:
    """Return what pw.x prints of an input; it stops once it has printed the structure (``nstep = 0``)."""
    folder.mkdir()
    # As it came, but for that key.
    content = re.sub("(?i)&control", lambda found: f"{found[0]} nstep=0,", content, count=1)
    (folder / "pw.in").write_bytes(content.encode())
    done = subprocess.run(
        [os.environ.get("ZPE_TEST_PW", "pw.x"), "-in", "pw.in"],
        cwd=folder,
        env=os.environ | ENVIRONMENT | {"TMPDIR": str(folder)},
        capture_output=True,
        timeout=240,
        check=False,
    )
    return (done.stdout + done.stderr).decode(errors="replace")


def printed(pattern: str, output: str) -> NDArray[Any]:
    return np.array(re.findall(pattern + r" = \(\s*(\S+)\s+(\S+)\s+(\S+)\s*\)", output, re.M), dtype=float)


def sampled(found: PwInput) -> NDArray[np.float64]:
    """Return the k-points of an input in units of the reciprocal lattice vectors."""
    k = found.kpoints
    if k.mesh and k.shift:
        grid = np.indices(k.mesh).reshape(3, -1).T
        return (grid + np.array(k.shift) / 2) / np.array(k.mesh)
    points = np.array(k.points or [(0.0, 0.0, 0.0)])
    return points if k.mode != "tpiba" else points @ found.cell.T / found.alat


@pytest.mark.qe
def test_pw_x_prints_what_is_read(tmp_path: Path) -> None:
    for number, (name, (content, _)) in enumerate(READ.items()):
        found, output = PwInput.parse(content), pw_x(content, tmp_path / str(number))
        alat = float(re.findall(r"lattice parameter \(alat\)\s*=\s*(\S+)", output)[0]) * Bohr
        np.testing.assert_allclose(alat, found.alat, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(printed(r"a\(\d\)", output) * alat, found.cell, atol=1e-4, err_msg=name)
        sites = re.findall(r"^\s+\d+\s+(\S+)\s+tau\(", output, re.M)
        assert sites == list(found.labels), name
        places = printed(r"tau\(\s*\d+\)", output) * alat
        np.testing.assert_allclose(places, found.positions, atol=1e-5, err_msg=name)
        k = printed(r"^\s+k\(\s*\d+\)", output.split("Dense")[0]) @ found.cell.T / found.alat
        wanted = sampled(found)
        assert len(k) == len(wanted), name
        apart = k[:, None] - wanted[None]
        distances = np.abs(apart - apart.round()).max(axis=2)
        assert distances.min(axis=0).max() < 1e-5, name
        assert distances.min(axis=1).max() < 1e-5, name


@pytest.mark.qe
def test_expressions_flags_and_what_is_left_out_give_the_forces_of_the_plain_input(tmp_path: Path) -> None:
    box = "ibrav=1, celldm(1)=8"
    inputs = [
        text(cell=box, cutoff="ecutwfc=10,", unit="crystal", atoms="H 0 0 0\nH 0 0 0.2"),
        text(cell=box, cutoff="ecutwfc=10,", unit="crystal", atoms="H 0 0 0\nH 0 1-1 1/5 2 2 2", kpoints=""),
    ]
    forces = []
    for number, content in enumerate(inputs):
        folder = tmp_path / str(number)
        folder.mkdir()
        task = patch.task_text(
            PwInput.parse(content),
            Task(index=1, atom=1, displacement=(0.01, 0.0, 0.01)),
            prefix="pw",
            outdir="./",
            pseudo_dir=ENVIRONMENT["ESPRESSO_PSEUDO"],
            electrons={"conv_thr": 1e-9},
        )
        forces.append(run_scf(pw_command(), task, folder, prefix="pw").forces_ev_ang)
    assert np.abs(forces[0]).max() > 0.1
    np.testing.assert_allclose(forces[1], forces[0], atol=1e-5)


@pytest.mark.qe
def test_without_ecutwfc_the_pseudopotential_decides_or_the_key_is_named(tmp_path: Path) -> None:
    content = text(cutoff="", species="H 1.008 H.pbe-kjpaw.UPF", unit="crystal")
    assert "45.6556  Ry" in pw_x(content, tmp_path / "paw")  # wfc_cutoff in the file's header
    (tmp_path / "nc").mkdir()
    silent = patch.task_text(
        PwInput.parse(text(cutoff="")),
        Task(index=0),
        prefix="pw",
        outdir="./",
        pseudo_dir=ENVIRONMENT["ESPRESSO_PSEUDO"],
        electrons={},
    )
    with pytest.raises(InputError, match="ecutwfc not set") as refused:
        run_scf(pw_command(), silent, tmp_path / "nc", prefix="pw")
    assert refused.value.field == "ecutwfc"


@pytest.mark.qe
def test_pw_x_refuses_what_is_refused_in_its_name(tmp_path: Path) -> None:
    for number, (name, (content, _)) in enumerate(REFUSED_BY_BOTH.items()):
        output = pw_x(content, tmp_path / str(number))
        assert re.search("Error in routine|Fortran runtime error", output), name
        assert "tau(" not in output, name
