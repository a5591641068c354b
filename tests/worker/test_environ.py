"""SCFs in Environ: with the input of the job or the machine's own, or not at all.

Debian's pw.x has no plug-in. With ``ZPE_TEST_ENVIRON_PW``, the path of a pw.x that has Environ 3, the physics
are tested with that one.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from zpe_sdk.errors import ConfigError, InputError
from zpe_sdk.espresso import patch
from zpe_sdk.espresso.environ import EnvironInput
from zpe_sdk.espresso.fingerprint import environ_mark, sha256_of
from zpe_sdk.espresso.run import pw_command, run_scf
from zpe_sdk.wire import JobPayload, JobRequest, Task, TaskReport
from zpe_sdk.worker.engines.espresso import EspressoEngine
from zpe_sdk.worker.settings import WorkerSettings
from zpe_server.planning import PlannedJob, plan_job
from zpe_server.settings import Settings

pytestmark = pytest.mark.qe

REAL = os.environ.get("ZPE_TEST_ENVIRON_PW")
needs_environ = pytest.mark.skipif(REAL is None, reason="ZPE_TEST_ENVIRON_PW names no pw.x with Environ 3")

PSEUDO_DIR = Path("/usr/share/espresso/pseudo")
H2 = """&CONTROL
  calculation = 'scf', title = 'Environ Setup Summary'
/
&SYSTEM
  ibrav = 1, A = 6.0, nat = 2, ntyp = 1, ecutwfc = 25.0, ecutrho = 200.0
/
&ELECTRONS
/
ATOMIC_SPECIES
H 1.008 H.pbe-kjpaw.UPF
ATOMIC_POSITIONS angstrom
H 0.0 0.0 0.0
H 0.0 0.0 0.752
K_POINTS gamma
"""
WATER = "&ENVIRON\n  environ_type = 'water'\n/\n&BOUNDARY\n/\n"
# Off the axis of the molecule, and to one side of it.
CHARGE = """&ENVIRON
  env_electrostatic = .true., env_external_charges = 1
/
&BOUNDARY
/
&ELECTROSTATIC
/
EXTERNAL_CHARGES (angstrom)
0.5 1.8 0.0 1.2 0.5
"""
ALONG = Task(index=1, atom=1, displacement=(0.0, 0.0, 0.01))


def payload(environ: str | None = None, *, use_environ: bool = True) -> JobPayload:
    return JobPayload(
        content=H2,
        mobile_indices=[0, 1],
        use_environ=use_environ,
        environ=environ,
        delta=0.01,
        low_cut_cm=50,
        temperature=300,
    )


def plan(**request: object) -> PlannedJob:
    return plan_job(JobRequest.model_validate({"content": H2, **request}), Settings())


class Lab:
    """An engine whose pw.x notes what it was given, and behaves as one with the plug-in does."""

    PLUG_IN = f"""#!/bin/sh
box() {{ printf ' {78 * "%%"}\\n     Error in routine %s (1):\\n     %s\\n {78 * "%%"}\\n' "$1" "$2"; }}
case " $* " in *" -environ "*) ;; *) exec pw.x "$@";; esac
if [ ! -e environ.in ]; then
  box read_environ_input 'Missing input file'
  exit 1
fi
{{ echo "=== $(pwd)"; cat pw.in environ.in; }} >>SEEN
if grep -q wine environ.in; then
  box environ_checkin 'wine is no option'
  exit 1
fi
pw.x "$@"
printf '\\n     {80 * "="}\\n\\n{34 * " "}Environ Setup Summary\\n\\n     {80 * "="}\\n\\n'
printf '\\n     add environment contribution to local potential\\n'
"""

    def __init__(self, folder: Path) -> None:
        self.folder, self._seen = folder, folder / "seen"
        program = folder / "pw.x"
        program.write_text(self.PLUG_IN.replace("SEEN", str(self._seen)))
        program.chmod(0o755)
        self.program = program

    def engine(self, **options: object) -> EspressoEngine:
        settings = {"work_dir": self.folder / "work", "pseudo_dir": PSEUDO_DIR, "pw_path": str(self.program)}
        return EspressoEngine(WorkerSettings.model_validate(settings | options))

    def seen(self) -> list[str]:
        """Return pw.in and environ.in of each SCF."""
        return self._seen.read_text().split("=== ")[1:]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def run(engine: EspressoEngine, given: JobPayload, task: Task = Task(index=0)) -> TaskReport:  # noqa: B008
    return engine.run(given, task, job_id="job", stop=Event())


def test_a_pw_without_the_plug_in_is_found_out_before_and_after_an_scf(tmp_path: Path) -> None:
    (tmp_path / "environ.in").write_text(WATER)
    options = {"work_dir": tmp_path / "work", "pseudo_dir": PSEUDO_DIR, "environ_path": tmp_path}
    engine = EspressoEngine(WorkerSettings.model_validate(options))
    able = engine.capabilities()
    assert (able.environ, able.environ_input) == (False, False)
    # The title of the input has the words that Environ prints.
    with pytest.raises(ConfigError) as caught:
        run(engine, payload())
    assert (caught.value.code, caught.value.field) == ("environ_missing", "ZPE_PW_PATH")


def test_the_input_of_a_job_is_what_environ_reads_and_both_ends_know_its_hash(lab: Lab) -> None:
    engine = lab.engine()
    assert (engine.capabilities().environ, engine.capabilities().environ_input) == (False, True)
    report = run(engine, payload(WATER))
    assert report.fingerprint.environ == environ_mark("3", EnvironInput.parse(WATER).physics_hash())
    run(engine, payload(WATER), ALONG)
    cold, warm = lab.seen()
    assert cold.endswith(WATER)
    assert warm.endswith(WATER.replace("&ENVIRON\n", "&ENVIRON\n  environ_restart = .true.\n"))
    assert "nosym" not in cold


def test_a_job_that_brings_no_input_is_run_with_the_machines_own_and_without_symmetry(lab: Lab) -> None:
    own = lab.folder / "environ.in"
    own.write_text(WATER)
    engine = lab.engine(environ_path=own)
    assert engine.capabilities().environ
    report = run(engine, payload())
    assert report.fingerprint.environ == environ_mark("3", sha256_of(own))
    [seen] = lab.seen()
    assert "nosym = .true." in seen
    with pytest.raises(ConfigError) as caught:
        run(lab.engine(), payload())
    assert (caught.value.code, caught.value.field) == ("environ_missing", "ZPE_ENVIRON_PATH")


def test_pw_makes_nothing_symmetric_where_the_medium_is_not(lab: Lab) -> None:
    run(lab.engine(), payload(CHARGE))
    [seen] = lab.seen()
    assert "nosym = .true." in seen


def test_a_broken_environ_in_is_the_fault_of_whose_it_is(lab: Lab) -> None:
    broken = WATER.replace("water", "wine")
    (lab.folder / "environ.in").write_text(broken)
    engine = lab.engine(environ_path=lab.folder)
    with pytest.raises(ConfigError) as own:
        run(engine, payload())
    assert (own.value.code, own.value.field) == ("environ_unusable", "ZPE_ENVIRON_PATH")
    with pytest.raises(InputError) as brought:
        run(engine, payload(broken))
    assert (brought.value.code, brought.value.field) == ("bad_input", "environ")
    assert "wine is no option" in brought.value.message


def test_capabilities_change_with_each_file_that_decides_forces(lab: Lab) -> None:
    folder = lab.folder / "pseudo"
    folder.mkdir()
    (folder / "H.pbe-kjpaw.UPF").write_bytes((PSEUDO_DIR / "H.pbe-kjpaw.UPF").read_bytes())
    own = lab.folder / "environ.in"
    own.write_text(WATER)
    engine = lab.engine(pseudo_dir=folder, environ_path=own)
    seen = [engine.capabilities()]
    assert engine.capabilities() == seen[0]
    for change in (
        lambda: own.write_text(CHARGE),
        lambda: (folder / "H.pbe-kjpaw.UPF").open("a").write("\n"),
        lambda: lab.program.write_text(lab.program.read_text() + "\n# rebuilt\n"),
    ):
        change()
        seen.append(engine.capabilities())
    assert len({able.files_sha256 for able in seen}) == 4
    # Of a folder that comes with a job, nothing is known.
    assert lab.engine(allow_input_pseudo_dir=True).capabilities().files_sha256 is None


# ------------------------------------------------------------------------------------------- planning


def test_a_medium_that_may_break_the_symmetry_has_all_displacements_computed() -> None:
    assert len(plan().tasks) == len(plan(environ=WATER).tasks) == 3
    assert len(plan(environ=CHARGE).tasks) == len(plan(use_environ=True).tasks) == 13
    assert plan(environ=WATER).payload.use_environ


def test_other_media_are_other_scfs_and_the_layout_is_none() -> None:
    first = plan(environ=CHARGE)
    for other in (plan(environ=CHARGE.replace("1.8", "1.9")), plan(use_environ=True), plan(symmetry=False)):
        assert set(other.scf_keys).isdisjoint(first.scf_keys)
    assert plan(environ="! mine\n" + CHARGE).scf_keys == first.scf_keys


def test_listed_k_points_do_not_go_with_a_medium_that_may_break_the_symmetry() -> None:
    listed = H2.replace("K_POINTS gamma", "K_POINTS crystal\n2\n0 0 0 1\n0 0 0.5 1")
    plan(content=listed, environ=WATER)
    with pytest.raises(InputError) as caught:
        plan(content=listed, environ=CHARGE)
    assert (caught.value.code, caught.value.field) == ("not_supported", "K_POINTS")
    plan(content=listed.replace("nat = 2", "nat = 2, nosym = .true."), environ=CHARGE)


# ----------------------------------------------------------------------------------------- the program


@needs_environ
def test_a_warm_start_in_a_solvent_saves_iterations_and_gives_the_forces_of_a_cold_one(
    tmp_path: Path,
) -> None:
    options = {"work_dir": tmp_path / "work", "pseudo_dir": PSEUDO_DIR, "pw_path": REAL, "use_mpi": False}
    engine = EspressoEngine(WorkerSettings.model_validate(options))
    assert engine.capabilities().environ_input
    rest = run(engine, payload(WATER))
    warm = run(engine, payload(WATER), ALONG)
    (tmp_path / "cold").mkdir()
    text = plan(environ=WATER)
    cold = run_scf(
        pw_command(str(REAL)),
        _text(text, ALONG),
        tmp_path / "cold",
        prefix="pw",
        environ=WATER,
    )
    np.testing.assert_allclose(warm.forces_ev_ang, cold.forces_ev_ang, atol=5e-5)
    assert warm.scf_iterations is not None
    assert rest.scf_iterations is not None
    assert warm.scf_iterations < rest.scf_iterations
    assert rest.fingerprint == warm.fingerprint
    vacuum = run(engine, payload(use_environ=False))
    assert abs(rest.energy_ev - vacuum.energy_ev) > 0.01


@needs_environ
def test_a_charge_beside_a_molecule_pulls_it_to_its_side(tmp_path: Path) -> None:
    options = {"work_dir": tmp_path, "pseudo_dir": PSEUDO_DIR, "pw_path": REAL, "use_mpi": False}
    engine = EspressoEngine(WorkerSettings.model_validate(options))
    forces = np.array(run(engine, payload(CHARGE)).forces_ev_ang)
    # pw.x knows nothing of the charge: with the molecule's own symmetry it would average these away.
    assert np.abs(forces[:, 0]).max() > 0.05


@needs_environ
@pytest.mark.parametrize("text", [WATER.replace("'water'", "'wine'"), WATER + "FOO\n"])
def test_environ_itself_says_what_is_wrong_with_its_input(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run_scf(pw_command(str(REAL)), _text(plan(), Task(index=0)), tmp_path, prefix="pw", environ=text)
    assert (caught.value.code, caught.value.field) == ("bad_input", "environ")
    assert "wine" in caught.value.message or "FOO" in caught.value.message


def _text(planned: PlannedJob, task: Task) -> str:
    from zpe_sdk.espresso.input import PwInput

    return patch.task_text(
        PwInput.parse(planned.payload.content),
        task,
        prefix="pw",
        outdir="./",
        pseudo_dir=str(PSEUDO_DIR),
        electrons={"conv_thr": 1e-11},
    )
