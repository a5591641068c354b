"""Cores and MPI ranks of each SCF, as the machine and the administrator want it."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event

import pytest
from structlog.testing import capture_logs

from tests.programs import needs_binary
from zpe_sdk.errors import ConfigError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.process import MPIRUN
from zpe_sdk.worker.engines.machine import Machine
from zpe_sdk.worker.settings import WorkerSettings

BOX = """&SYSTEM
  ibrav = 1, A = {length}, nat = 1, ntyp = 1, ecutwfc = 30.0, ecutrho = 240.0
/
ATOMIC_SPECIES
H 1.008 H.UPF
ATOMIC_POSITIONS angstrom
H 0.0 0.0 0.0
K_POINTS gamma
"""
# Density grids of 53³, 75³ and 149³ points.
TINY, SMALL, LARGE = (PwInput.parse(BOX.format(length=length)) for length in (5.7, 8.0, 16.0))

PW = """#!/bin/sh
echo "     Program PWSCF v.7.3 starts"
echo "     Parallel version (MPI), running on ${RANKS:-1} processors"
"""
SERIAL = """#!/bin/sh
echo "     Program PWSCF v.7.3 starts"
echo "     Serial version"
"""
LAUNCHER = """#!/bin/sh
RANKS=$2 exec "$3"
"""


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zpe_sdk.worker.engines.machine.available_cores", lambda: list(range(8)))


def machine(tmp_path: Path, pw: str = PW, **options: object) -> Machine:
    return Machine(
        WorkerSettings.model_validate(
            {
                "pw_path": str(program(tmp_path / "pw.x", pw)),
                "mpi_cmd": str(program(tmp_path / "launch", LAUNCHER)),
                **options,
            }
        )
    )


@pytest.mark.usefixtures("eight_cores")
def test_an_scf_gets_as_many_cores_as_its_cell_can_use(tmp_path: Path) -> None:
    here = machine(tmp_path)
    assert here.version() == "7.3"
    assert here.slots == 8
    # At least one core; up to one for each 200 000 points, if nobody else wants it.
    assert [here.slots_for(box) for box in (TINY, SMALL, LARGE)] == [(1, 1), (1, 2), (8, 8)]
    with here.take(SMALL, Event()) as place:
        assert (place.ranks, place.command) == (1, [str(tmp_path / "pw.x")])
        assert len(place.cpus) == 1
    with here.take(SMALL, Event(), slots=2) as place:
        assert (place.ranks, place.command[1:]) == (2, ["-np", "2", str(tmp_path / "pw.x")])
        assert len(place.cpus) == 2


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("options", "slots", "ranks"),
    [
        ({"slots": 2}, 2, 1),
        ({"use_mpi": False}, 8, 1),
        ({"use_mpi": True}, 1, 8),
        ({"np_core": 4}, 2, 4),
        ({"np_core": 4, "use_mpi": False}, 8, 1),
    ],
)
def test_what_the_administrator_has_decided_stays(
    options: dict[str, object], slots: int, ranks: int, tmp_path: Path
) -> None:
    here = machine(tmp_path, **options)
    assert here.slots == slots
    assert here.slots_for(SMALL) == (1, 1)
    with here.take(SMALL, Event(), slots=2) as place:
        assert place.ranks == ranks


@pytest.mark.usefixtures("eight_cores")
def test_without_mpi_every_scf_runs_on_one_core_and_the_log_says_why(tmp_path: Path) -> None:
    here = machine(tmp_path, SERIAL)
    with capture_logs() as logged:
        assert here.version() == "7.3"
        assert [here.slots_for(box) for box in (SMALL, LARGE)] == [(1, 1), (1, 1)]
    warnings = [entry for entry in logged if entry["log_level"] == "warning"]
    assert len(warnings) == 1
    assert "does not run one pw.x on 8 ranks" in warnings[0]["reason"]
    assert warnings[0]["ranks"] == 1


@pytest.mark.usefixtures("eight_cores")
def test_no_more_ranks_are_asked_for_than_the_launcher_has_slots(tmp_path: Path) -> None:
    slots = program(tmp_path / "four-slots", '#!/bin/sh\n[ "$2" -le 4 ] || exit 1\nRANKS=$2 exec "$3"\n')
    here = machine(tmp_path, mpi_cmd=str(slots))
    assert here.version() == "7.3"
    assert [here.slots_for(box) for box in (SMALL, LARGE)] == [(1, 2), (4, 4)]


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize("options", [{"np_core": 2}, {"use_mpi": True}])
def test_mpi_that_is_wanted_and_does_not_work_is_an_error(options: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        machine(tmp_path, SERIAL, **options).version()
    assert (caught.value.code, caught.value.field) == ("mpi_unusable", "ZPE_MPI_CMD")


@pytest.mark.usefixtures("eight_cores")
def test_mpi_that_is_not_ours_to_start_is_not_tried(tmp_path: Path) -> None:
    assert machine(tmp_path, SERIAL, np_core=4, use_mpi=False).version() == "7.3"
    # A whole command decides on its ranks itself.
    assert machine(tmp_path, SERIAL, pw_command=f"env {tmp_path / 'pw.x'}", use_mpi=True).version() == "7.3"


@pytest.mark.usefixtures("eight_cores")
def test_a_command_of_one_word_is_a_program_that_runs_under_mpi(tmp_path: Path) -> None:
    pw, launch = program(tmp_path / "pw.x", PW), program(tmp_path / "launch", LAUNCHER)
    named = WorkerSettings(pw_command=f" {pw} ", mpi_cmd=str(launch), np_core=4, work_dir=tmp_path)
    here = Machine(named)
    assert here.version() == "7.3"
    with here.take(SMALL, Event()) as place:
        assert (place.command[:4], place.ranks) == ([str(launch), "-np", "4", str(pw)], 4)
    # The path of a program goes before its name.
    assert WorkerSettings(pw_command="pw.x", pw_path=str(pw)).pw_path == str(pw)


@needs_binary
@pytest.mark.qe
def test_mpirun_runs_one_pw_on_all_cores(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    if cores == 1:
        pytest.skip("one core: there is nothing to share")
    here = Machine(WorkerSettings(np_core=cores, work_dir=tmp_path))
    assert here.version()[0].isdigit()
    assert here.command(cores)[:3] == [MPIRUN, "-np", str(cores)]
