"""The pw.x engine: warm starts change nothing but the time, and failures name their side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event

import numpy as np
import pytest

from tests.programs import PW
from zpe_sdk.errors import ComputeError, ConfigError, ZPEError
from zpe_sdk.espresso import patch
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.output import ScfResult
from zpe_sdk.espresso.run import run_scf
from zpe_sdk.wire import JobPayload, Task
from zpe_sdk.worker.engines import converging, starts
from zpe_sdk.worker.engines.espresso import EspressoEngine
from zpe_sdk.worker.settings import WorkerSettings

PSEUDO_DIR = Path("/usr/share/espresso/pseudo")
# Not on its axis and not at its minimum: nothing is zero by symmetry alone.
H2 = """&CONTROL
  calculation = 'relax'
/
&SYSTEM
  ibrav = 1, A = 6.0, nat = 2, ntyp = 1, ecutwfc = 25.0, ecutrho = 200.0 {system}
/
&ELECTRONS
  conv_thr = 1e-6 {electrons}
/
&IONS
/
ATOMIC_SPECIES
H 1.008 {pseudo}
ATOMIC_POSITIONS angstrom
H 0.0 0.0 0.0
H 0.0 0.1 0.74
K_POINTS automatic
1 1 1 0 0 0
"""
# Hydrogen on two layers of aluminium, at a hollow with three mirror planes.
SLAB = """&SYSTEM
  ibrav = 0, nat = 3, ntyp = 2, ecutwfc = 12.0, occupations = 'smearing', smearing = 'mv', degauss = 0.03
/
&ELECTRONS
  conv_thr = 1e-6
/
ATOMIC_SPECIES
Al 26.982 Al.pz-vbc.UPF
H   1.008 H.pz-vbc.UPF
CELL_PARAMETERS angstrom
2.8142849891224593 0.0 0.0
1.4071424945612296 2.4372422940692620 0.0
0.0 0.0 9.0
ATOMIC_POSITIONS angstrom
Al  0.0000000000  1.6248281961  1.0  0 0 0
Al  0.0000000000  0.0000000000  3.3  0 0 0
H   1.4071424946  0.8124140980  4.2
K_POINTS automatic
3 3 1 0 0 0
"""
H2_TIGHT = H2.format(system="", electrons=", electron_maxstep = 3", pseudo="H.pbe-kjpaw.UPF").replace(
    "conv_thr = 1e-6", "conv_thr = 1e-59"
)
DISPLACED = Task(index=4, atom=1, displacement=(0.01, 0.0, 0.0))

pytestmark = pytest.mark.qe


def engine(tmp_path: Path, **options: object) -> EspressoEngine:
    return EspressoEngine(
        WorkerSettings.model_validate({"work_dir": tmp_path, "pseudo_dir": PSEUDO_DIR, **options})
    )


def payload(
    *, system: str = "", electrons: str = "", pseudo: str = "H.pbe-kjpaw.UPF", environ: bool = False
) -> JobPayload:
    return JobPayload(
        content=H2.format(system=system, electrons=electrons, pseudo=pseudo),
        mobile_indices=[0, 1],
        use_environ=environ,
        delta=0.01,
        low_cut_cm=50,
        temperature=300,
    )


def test_a_warm_start_saves_iterations_and_gives_the_forces_of_a_cold_one(tmp_path: Path) -> None:
    pw = engine(tmp_path / "work")
    rest = pw.run(payload(), Task(index=0), job_id="job", stop=Event())
    warm = pw.run(payload(), DISPLACED, job_id="job", stop=Event())
    text = patch.task_text(
        PwInput.parse(payload().content),
        DISPLACED,
        prefix="pw",
        outdir="./",
        pseudo_dir=str(PSEUDO_DIR),
        electrons={"conv_thr": 1e-12, "startingpot": "atomic"},
    )
    (tmp_path / "cold").mkdir()
    cold = run_scf(PW, text, tmp_path / "cold", prefix="pw")
    np.testing.assert_allclose(warm.forces_ev_ang, cold.forces_ev_ang, atol=2e-5)
    assert warm.energy_ev == pytest.approx(cold.energy_ev, abs=1e-7)
    assert warm.scf_iterations is not None
    assert rest.scf_iterations is not None
    assert warm.scf_iterations < rest.scf_iterations
    assert warm.fingerprint == rest.fingerprint
    assert warm.fingerprint.pseudopotentials.keys() == {"H.pbe-kjpaw.UPF"}
    assert warm.pseudo_dir == str(PSEUDO_DIR)


def test_the_opposite_displacement_is_nearly_known_beforehand(tmp_path: Path) -> None:
    pw = engine(tmp_path / "work")
    pw.run(payload(), Task(index=0), job_id="job", stop=Event())
    first = pw.run(payload(), DISPLACED, job_id="job", stop=Event())
    opposite = Task(index=5, atom=1, displacement=(-0.01, 0.0, 0.0))
    second = pw.run(payload(), opposite, job_id="job", stop=Event())
    alone = engine(tmp_path / "other").run(payload(), opposite, job_id="job", stop=Event())
    np.testing.assert_allclose(second.forces_ev_ang, alone.forces_ev_ang, atol=3e-5)
    assert second.energy_ev == pytest.approx(alone.energy_ev, abs=1e-7)
    assert second.scf_iterations is not None
    assert first.scf_iterations is not None
    assert alone.scf_iterations is not None
    assert second.scf_iterations <= first.scf_iterations < alone.scf_iterations


def test_an_equilibrium_that_two_lack_is_computed_for_both(tmp_path: Path) -> None:
    """They are to start from it, and other workers have run it."""
    pw = engine(tmp_path)
    tasks = [
        Task(index=n, atom=1, displacement=(x, 0.0, 0.0), start="equilibrium")
        for n, x in ((4, 0.01), (5, -0.01))
    ]
    with ThreadPoolExecutor(2) as threads:
        runs = [threads.submit(pw.run, payload(), task, job_id="job", stop=Event()) for task in tasks]
        there, back = (np.array(run.result().forces_ev_ang) for run in runs)
    # Along x, a mirror plane of the molecule lies between the two.
    np.testing.assert_allclose(there[:, 0], -back[:, 0], atol=1e-3)


@pytest.mark.parametrize("system", ["", ", nspin = 2, starting_magnetization(2) = 0.3"])
def test_on_a_metal_wave_functions_spare_work_and_forces_are_those_of_a_cold_start(
    system: str, tmp_path: Path
) -> None:
    content = SLAB.replace("degauss = 0.03", "degauss = 0.03" + system)
    slab = payload().model_copy(update={"content": content, "mobile_indices": [2]})
    pw = engine(tmp_path / "work")
    rest = pw.run(slab, Task(index=0), job_id="job", stop=Event())
    first = Task(index=1, atom=2, displacement=(0.0, 0.008, 0.006))
    opposite = Task(index=2, atom=2, displacement=(0.0, -0.008, -0.006))
    warm = [pw.run(slab, task, job_id="job", stop=Event()) for task in (first, opposite)]
    for task, report in zip((first, opposite), warm, strict=True):
        text = patch.task_text(
            PwInput.parse(content),
            task,
            prefix="pw",
            outdir="./",
            pseudo_dir=str(PSEUDO_DIR),
            electrons={"conv_thr": 1e-12, "electron_maxstep": 200},
        )
        folder = tmp_path / str(task.index)
        folder.mkdir()
        cold = run_scf(PW, text, folder, prefix="pw")
        np.testing.assert_allclose(report.forces_ev_ang, cold.forces_ev_ang, atol=1e-4)
        assert report.energy_ev == pytest.approx(cold.energy_ev, abs=1e-6)
        assert report.scf_iterations is not None
        assert cold.iterations is not None
        assert report.scf_iterations < 0.7 * cold.iterations
        assert report.fingerprint == rest.fingerprint


@pytest.mark.parametrize(("memory_gb", "most"), [(0.15, 1), (64.0, 2)])
def test_as_many_scfs_run_side_by_side_as_the_memory_holds(
    memory_gb: float, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slab = payload().model_copy(update={"content": SLAB, "mobile_indices": [2]})
    pw = engine(tmp_path, memory_gb=memory_gb, slots=2)
    pw.run(slab, Task(index=0), job_id="job", stop=Event())  # needs 0.1 GB, as it says
    running: list[int] = []
    beside: list[int] = []
    together = Barrier(most)

    def counted(*arguments: object, **options: object) -> ScfResult:
        running.append(1)
        together.wait(timeout=60)  # as many as there may be
        beside.append(len(running))
        try:
            return run_scf(*arguments, **options)  # type: ignore[arg-type]
        finally:
            running.pop()

    monkeypatch.setattr(converging, "run_scf", counted)
    tasks = [Task(index=n, atom=2, displacement=(0.0, 0.01 * n, 0.0)) for n in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda t: pw.run(slab, t, job_id="job", stop=Event()), tasks))
    assert [report.task for report in done] == [1, 2]
    assert max(beside) == most


def test_an_scf_on_all_cores_starts_where_one_on_one_core_would(tmp_path: Path) -> None:
    # The densities it starts from are of SCFs on one core.
    opposite = Task(index=5, atom=1, displacement=(-0.01, 0.0, 0.0))
    large = payload(system=", nr1 = 81, nr2 = 81, nr3 = 81")
    large = large.model_copy(update={"content": large.content.replace("A = 6.0", "A = 9.0")})
    reports = []
    for slots in (1, 2):
        pw = engine(tmp_path / str(slots))
        if pw.slots_for(large) != (1, 2):
            pytest.skip("one core: there is nothing to share")
        for task in (Task(index=0), DISPLACED):
            pw.run(large, task, job_id="job", stop=Event(), slots=1)
        reports.append(pw.run(large, opposite, job_id="job", stop=Event(), slots=slots))
    one, two = reports
    np.testing.assert_allclose(two.forces_ev_ang, one.forces_ev_ang, atol=2e-6)
    assert two.energy_ev == pytest.approx(one.energy_ev, abs=1e-8)
    assert two.scf_iterations == one.scf_iterations
    assert two.fingerprint == one.fingerprint


def test_a_density_of_no_use_costs_a_start_from_scratch_and_no_more(tmp_path: Path) -> None:
    pw = engine(tmp_path)
    rest = pw.run(payload(), Task(index=0), job_id="job", stop=Event())
    density = tmp_path / "jobs" / "job" / "equilibrium.save" / "charge-density.dat"
    density.write_bytes(density.read_bytes()[:1000])
    assert pw.run(payload(), DISPLACED, job_id="job", stop=Event()).fingerprint == rest.fingerprint


def test_only_densities_stay_on_disk_and_only_until_the_job_is_over(tmp_path: Path) -> None:
    pw = engine(tmp_path)
    job = tmp_path / "jobs" / "job"

    def kept() -> list[str]:
        return sorted(path.name.split("_")[0] for path in job.iterdir())

    pw.run(payload(), Task(index=0), job_id="job", stop=Event())
    assert kept() == ["equilibrium.save"]
    pw.run(payload(), DISPLACED, job_id="job", stop=Event())
    assert kept() == ["displaced", "equilibrium.save"]
    size = sum(path.stat().st_size for path in job.rglob("*") if path.is_file())
    assert size < 4_000_000
    # The opposite displacement is what it was kept for.
    opposite = Task(index=5, atom=1, displacement=(-0.01, 0.0, 0.0))
    pw.run(payload(), opposite, job_id="job", stop=Event())
    assert kept() == ["equilibrium.save"]
    pw.forget("job")
    assert list((tmp_path / "jobs").iterdir()) == []


def test_an_scf_that_does_not_converge_gets_a_second_try(tmp_path: Path) -> None:
    # Two iterations are too few, the two hundred of the second try are enough.
    report = engine(tmp_path).run(
        payload(electrons=", electron_maxstep = 2"), Task(index=0), job_id="job", stop=Event()
    )
    assert report.scf_iterations is not None
    assert report.scf_iterations > 2


def test_an_scf_that_stalls_below_the_threshold_of_the_input_counts_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = Task(index=0)
    good = engine(tmp_path / "good").run(payload(), rest, job_id="job", stop=Event())
    usual = starts.recipe
    # Beyond what double precision can reach.
    monkeypatch.setattr(starts, "recipe", lambda *given: replace(usual(*given), conv_thr=1e-60))
    stalled = engine(tmp_path / "stalls").run(
        payload(electrons=", electron_maxstep = 3"), rest, job_id="job", stop=Event()
    )
    np.testing.assert_allclose(stalled.forces_ev_ang, good.forces_ev_ang, atol=2e-5)
    assert not good.warnings
    assert any("no further" in warning for warning in stalled.warnings)
    assert stalled.lacking_ry
    assert good.lacking_ry is None
    with pytest.raises(ComputeError) as caught:
        engine(tmp_path / "fails").run(
            payload().model_copy(
                update={"content": H2_TIGHT},
            ),
            rest,
            job_id="job",
            stop=Event(),
        )
    assert caught.value.code == "scf_not_converged"


@pytest.mark.parametrize(
    ("of_job", "of_worker", "side"), [(0.01, None, "compute"), (0.01, 9.0, "compute"), (9.0, 0.01, "config")]
)
def test_an_scf_that_takes_too_long_is_ended_and_another_worker_may_have_more_time(
    of_job: float, of_worker: float | None, side: str, tmp_path: Path
) -> None:
    job = payload().model_copy(update={"max_scf_seconds": of_job})
    with pytest.raises(ZPEError) as caught:
        engine(tmp_path, max_scf_seconds=of_worker).run(job, Task(index=0), job_id="job", stop=Event())
    assert (caught.value.side, caught.value.code) == (side, "scf_too_slow")


@pytest.mark.parametrize(
    ("options", "wrong", "side", "code"),
    [
        ({}, {"pseudo": "H.absent.UPF"}, "config", "pseudopotential_missing"),
        ({}, {"environ": True}, "config", "environ_missing"),
        ({}, {"system": ", no_such_key = 1"}, "input", "unknown_key"),
        ({"pw_path": "/nowhere/pw.x"}, {}, "config", "pw_not_found"),
    ],
)
def test_failures_name_their_side(
    options: dict[str, object], wrong: dict[str, object], side: str, code: str, tmp_path: Path
) -> None:
    with pytest.raises(ZPEError) as caught:
        engine(tmp_path, **options).run(
            payload(**wrong),  # type: ignore[arg-type]
            Task(index=0),
            job_id="job",
            stop=Event(),
        )
    assert (caught.value.side, caught.value.code) == (side, code)
    assert not list(tmp_path.glob("jobs/job/0"))


def test_a_machine_that_is_not_set_up_says_so_before_it_takes_work(tmp_path: Path) -> None:
    for options, field in (
        ({"pseudo_dir": None}, "ZPE_PSEUDO_DIR"),
        ({"pseudo_dir": tmp_path / "no"}, "ZPE_PSEUDO_DIR"),
        ({"pw_path": "no-such-pw.x"}, "ZPE_PW_PATH"),
        ({"pw_command": "true"}, "ZPE_PW_PATH"),
    ):
        with pytest.raises(ConfigError) as caught:
            engine(tmp_path / "work", **options).capabilities()
        assert caught.value.field == field


def test_a_machine_says_what_it_can_run(tmp_path: Path) -> None:
    able = engine(tmp_path, slots=3).capabilities()
    assert able.engine == "espresso"
    assert able.engine_version is not None
    assert able.engine_version[0].isdigit()
    assert able.pseudopotentials is not None
    assert "H.pbe-kjpaw.UPF" in able.pseudopotentials
    assert (able.environ, able.environ_input, able.slots) == (False, False, 3)
