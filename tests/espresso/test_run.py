"""Running the real pw.x: what it computes, and how its failures are named."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from tests.programs import PW
from zpe_sdk.errors import ComputeError, ConfigError, InputError, ZPEError
from zpe_sdk.espresso.banner import ranks_in
from zpe_sdk.espresso.iterations import Iteration, tell_iterations
from zpe_sdk.espresso.process import MAX_OUTPUT, Output
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


def test_each_mpirun_has_its_own_folder_for_what_it_leaves_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    launcher = tmp_path / "mpirun"
    launcher.write_text('#!/bin/sh\ntouch "$TMPDIR/left" && ls -d "$TMPDIR"/*\n')
    launcher.chmod(0o755)
    folders = set()
    for _ in range(2):
        with pytest.raises(ComputeError):
            run_scf(["mpirun", "-np", "2", "pw.x"], h2(), tmp_path, prefix="zpe", ranks=2)
        left = Path((tmp_path / "pw.out").read_text().strip())
        assert left.name == "left"
        assert not left.parent.exists()
        folders.add(left.parent)
    assert len(folders) == 2


@pytest.mark.qe
def test_pw_needs_nothing_that_other_runs_take_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared").touch()  # where Open MPI would make the folder that all runs of a user share
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shared"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run_scf(PW, h2(), tmp_path, prefix="zpe").energy_ev < 0
    assert not list(tmp_path.glob("zpe-mpi-*"))


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
    assert "OMPI_MCA_mpi_yield_when_idle=1" in environment(["mpirun", "-np", "2", "pw.x"], 2)
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


@pytest.mark.qe
def test_each_iteration_is_told_while_pw_runs(tmp_path: Path) -> None:
    told: list[Iteration] = []
    stop = Event()

    def note(iteration: Iteration) -> None:
        told.append(iteration)
        stop.set()

    with pytest.raises(ComputeError) as caught:
        run_scf(PW, h2(), tmp_path, prefix="zpe", stop=stop, on_iteration=note)
    assert caught.value.code == "stopped"
    told.clear()
    result = run_scf(PW, h2(), tmp_path, prefix="zpe", on_iteration=told.append)
    assert [iteration.number for iteration in told] == list(range(1, (result.iterations or 0) + 1))
    assert told[0].accuracy_ry > 1e-3
    assert told[-1].accuracy_ry < 1e-8


def test_iterations_of_hybrids_count_from_one_again(tmp_path: Path) -> None:
    told: list[Iteration] = []
    output = Output(tmp_path / "pw.out", tell_iterations(told.append))
    printed = b"""
     iteration #  1     ecut=    20.00 Ry     beta= 0.70
     estimated scf accuracy    <       0.00321304 Ry
     iteration #  2     ecut=    20.00 Ry     beta= 0.70
     estimated scf accuracy    <          2.1E-09 Ry
!    total energy              =      -2.24 Ry
     estimated scf accuracy    <          2.1E-09 Ry
     est. exchange err (dexx)  =       0.00047213 Ry
     iteration #  1     ecut=    20.00 Ry     beta= 0.70
     estimated scf accuracy    <       0.00000115 Ry
"""
    for place in range(0, len(printed), 10):
        output.feed(printed[place : place + 10])
    output.close()
    assert told == [Iteration(1, 0.00321304), Iteration(2, 2.1e-9), Iteration(1, 0.00000115)]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pw_that_prints_without_end_is_ended(stream: str, tmp_path: Path) -> None:
    script = tmp_path / "pw.x"
    script.write_text(f"#!{sys.executable}\nimport sys\nwhile True: sys.{stream}.write('again\\n' * 10000)\n")
    script.chmod(0o755)
    with pytest.raises(ComputeError) as caught:
        run_scf([str(script)], h2(), tmp_path, prefix="zpe")
    assert caught.value.code == "output_too_long"
    assert "again\nagain" in caught.value.__notes__[-1]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2 * MAX_OUTPUT


def test_a_command_that_prints_without_end_is_no_pw() -> None:
    with pytest.raises(ConfigError) as caught:
        pw_version(["yes", "no"])
    assert caught.value.code == "pw_not_found"


@pytest.mark.qe
def test_a_full_disk_does_not_lose_what_pw_prints(tmp_path: Path) -> None:
    told: list[Iteration] = []

    def fill(iteration: Iteration) -> None:
        told.append(iteration)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        result = run_scf(PW, h2(), tmp_path, prefix="zpe", on_iteration=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.iterations == len(told)
