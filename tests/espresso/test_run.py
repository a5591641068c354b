"""Running the real pw.x: what it computes, and how its failures are named."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.programs import PW
from zpe_sdk.errors import ComputeError, ConfigError, InputError, ZPEError
from zpe_sdk.espresso.banner import ranks_in
from zpe_sdk.espresso.run import pw_command, pw_version, run_scf

PSEUDO_DIR = "/usr/share/espresso/pseudo"
H2 = """&CONTROL
  calculation = 'scf', prefix = 'zpe', outdir = './', tprnfor = .true., pseudo_dir = '{pseudo_dir}'
/
&SYSTEM
  ibrav = 1, A = 6.0, nat = 2, ntyp = 1, ecutwfc = 20.0, ecutrho = 100.0 {system}
/
&ELECTRONS
  conv_thr = 1e-8 {electrons}
/
ATOMIC_SPECIES
H 1.008 {pseudo}
ATOMIC_POSITIONS angstrom
H 0 0 0
H 0 0 0.85
K_POINTS gamma
"""


def h2(
    *, system: str = "", electrons: str = "", pseudo: str = "H.pbe-kjpaw.UPF", pseudo_dir: str = PSEUDO_DIR
) -> str:
    return H2.format(system=system, electrons=electrons, pseudo=pseudo, pseudo_dir=pseudo_dir)


@pytest.mark.qe
def test_forces_pull_a_stretched_h2_together_and_cancel(tmp_path: Path) -> None:
    result = run_scf(PW, h2(), tmp_path, prefix="zpe")
    forces = np.asarray(result.forces_ev_ang)
    assert forces.shape == (2, 3)
    assert forces[0, 2] > 0.5  # eV/Å, towards the other atom
    np.testing.assert_allclose(forces[0], -forces[1], atol=1e-6)
    # pw.x's own text output gives the force in Ry/bohr, to eight digits.
    line = next(
        x for x in (tmp_path / "pw.out").read_text().splitlines() if "atom    1" in x and "force" in x
    )
    assert forces[0, 2] == pytest.approx(float(line.split()[-1]) * 13.605693 / 0.52917721, rel=1e-5)


@pytest.mark.qe
@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        (h2(electrons=", electron_maxstep = 1"), ComputeError, "scf_not_converged"),
        (h2(system=", no_such_key = 1"), InputError, "bad_input"),
        (h2(pseudo="H.absent.UPF"), ConfigError, "pseudopotential_missing"),
    ],
)
def test_failures_of_pw_are_named(text: str, kind: type[ZPEError], code: str, tmp_path: Path) -> None:
    with pytest.raises(kind) as caught:
        run_scf(PW, text, tmp_path, prefix="zpe")
    assert caught.value.code == code


@pytest.mark.qe
def test_a_run_that_is_stopped_says_so(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(ComputeError) as caught:
        run_scf(PW, h2(), tmp_path, prefix="zpe", stop=stop)
    assert caught.value.code == "stopped"


@pytest.mark.qe
def test_pw_tells_its_version() -> None:
    assert pw_version(PW)[0].isdigit()


def test_what_may_start_mpi_is_left_its_interconnect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZPE_WORKER_TOKEN", "secret")
    script = tmp_path / "pw.x"
    script.write_text("#!/bin/sh\nenv\n")
    script.chmod(0o755)
    with pytest.raises(ComputeError):
        run_scf([str(script)], h2(), tmp_path, prefix="zpe")
    environment = (tmp_path / "pw.out").read_text()
    assert "OMPI_MCA_btl=" not in environment
    assert "OMP_NUM_THREADS=1" in environment
    assert "secret" not in environment


def test_mpirun_looks_for_no_network_unless_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def environment(command: list[str], ranks: int) -> str:
        with pytest.raises(ComputeError):
            run_scf(command, h2(), tmp_path, prefix="zpe", ranks=ranks)
        return (tmp_path / "pw.out").read_text()

    for name in ("mpirun", "srun"):
        launcher = tmp_path / name
        launcher.write_text("#!/bin/sh\nenv\n")
        launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "OMPI_MCA_pml=ob1" in environment(["mpirun", "-np", "2", "pw.x"], 2)
    # A whole command of the user's may span several machines.
    assert "OMPI_MCA_pml=" not in environment(["mpirun", "-np", "2", "pw.x"], 1)
    assert "OMPI_MCA_pml=" not in environment(["srun", "-np", "2", "pw.x"], 2)
    monkeypatch.setenv("OMPI_MCA_pml", "ucx")
    assert "OMPI_MCA_pml=ucx" in environment(["mpirun", "-np", "2", "pw.x"], 2)


@pytest.mark.parametrize(
    ("lines", "ranks"),
    [
        ("     Parallel version (MPI), running on     6 processors", 6),
        (
            "     Parallel version (MPI & OpenMP), running on       8 processor cores\n"
            "     Number of MPI processes:                 4\n"
            "     Threads/MPI process:                     2",
            4,
        ),
        ("     Serial version", None),
    ],
)
def test_pw_says_on_how_many_ranks_it_runs(lines: str, ranks: int | None) -> None:
    assert ranks_in(f"     Program PWSCF v.7.3 starts\n{lines}\n") == ranks


def test_a_missing_program_names_the_setting() -> None:
    with pytest.raises(ConfigError) as caught:
        pw_command("/nowhere/pw.x")
    assert (caught.value.code, caught.value.field) == ("pw_not_found", "ZPE_PW_PATH")
