"""pw.x ends with the process that asked for it, however that process ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.processes import PATIENCE, Process, running_in, wait_until
from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso.run import pw_command, run_scf

pytestmark = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks at processes in /proc")

# Minutes of work on any machine.
LONG = """&CONTROL
  prefix = 'pw', outdir = './', tprnfor = .true., pseudo_dir = '/usr/share/espresso/pseudo'
/
&SYSTEM
  ibrav = 1, A = 16.0, nat = 2, ntyp = 1, ecutwfc = 80.0
/
&ELECTRONS
  conv_thr = 1e-14
/
ATOMIC_SPECIES
H 1.008 H.pz-vbc.UPF
ATOMIC_POSITIONS angstrom
H 0 0 0
H 0 0 0.85
K_POINTS automatic
4 4 4 1 1 1
"""
ASKING = """
import sys
from pathlib import Path
from zpe_sdk.espresso.run import pw_command, run_scf

folder = Path(sys.argv[1])
run_scf(pw_command(), (folder.parent / "long.in").read_text(), folder, prefix="pw")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "long.in").write_text(LONG)
    folder = tmp_path.resolve() / "run"
    folder.mkdir()
    return folder


@pytest.mark.qe
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_pw_ends_when_the_process_that_asked_for_it_is_ended(how: signal.Signals, folder: Path) -> None:
    with Process([sys.executable, "-c", ASKING, folder]) as asking:
        wait_until(lambda: "pw.x" in running_in(folder).values())  # pw.x runs
        asking.send_signal(how)
        assert asking.wait() == -how
        wait_until(lambda: not running_in(folder))  # pw.x and its keeper are gone
    assert "JOB DONE" not in (folder / "pw.out").read_text()


@pytest.mark.qe
def test_pw_ends_when_its_run_is_stopped(folder: Path) -> None:
    stop = Event()
    raised: list[ComputeError] = []

    def run() -> None:
        try:
            run_scf(pw_command(), LONG, folder, prefix="pw", stop=stop)
        except ComputeError as error:
            raised.append(error)

    thread = Thread(target=run)
    thread.start()
    wait_until(lambda: "pw.x" in running_in(folder).values())  # pw.x runs
    stop.set()
    thread.join(PATIENCE)
    assert [error.code for error in raised] == ["stopped"]
    assert "pw.x" not in running_in(folder).values()
    wait_until(lambda: not running_in(folder))  # what MPI started with it is gone too


@pytest.mark.qe
def test_pw_runs_on_the_cores_it_is_given(folder: Path) -> None:
    core = max(os.sched_getaffinity(0))
    stop = Event()
    seen: list[set[int]] = []

    def look() -> None:
        # While MPI starts, it looks at each core of the machine from that core, for some milliseconds.
        output = folder / "pw.out"
        wait_until(lambda: output.exists() and "Program PWSCF" in output.read_text())  # pw.x has begun
        pid = next(pid for pid, name in running_in(folder).items() if name == "pw.x")
        seen.append(os.sched_getaffinity(pid))
        stop.set()

    thread = Thread(target=look)
    thread.start()
    with pytest.raises(ComputeError):
        run_scf(pw_command(), LONG, folder, prefix="pw", cpus=[core], stop=stop)
    thread.join(PATIENCE)
    assert seen == [{core}]
