"""SCFs in other processes: those of a real Dask cluster, and of the standard library's executors."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pytest
import trustme
from dask import config as dask_config
from distributed import Client

from tests.processes import PATIENCE, ControlPlane, Process, environment, free_port, h2, wait_until
from tests.programs import needs_binary
from zpe_sdk.errors import ComputeError, ConfigError, ZPEError
from zpe_sdk.wire import JobPayload, Task
from zpe_sdk.worker.engines import dask, make_engine
from zpe_sdk.worker.engines.dask import DaskEngine, scheduler_address
from zpe_sdk.worker.engines.executor import ExecutorEngine
from zpe_sdk.worker.settings import WorkerSettings

PSEUDO_DIR = "/usr/share/espresso/pseudo"
NEVER = 240.0  # seconds; longer than any test
# A lambda travels as it is; a function would have to be found by name in a Dask worker.
_RUNNING: Callable[[Any], int] = lambda dask_worker: len(dask_worker.active_threads)  # noqa: E731
TASKS = 13  # the equilibrium and six displacements of each atom


class Cluster:
    """A Dask scheduler and workers with one thread each, as processes on this machine."""

    def __init__(self, folder: Path, scheme: str = "dask", **variables: object) -> None:
        self.folder = folder
        self.variables = variables
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.address = scheduler_address(self.url)
        self.scheduler: Process | None = None
        self.workers: list[Process] = []

    def start(self, workers: int = 2) -> None:
        self.scheduler = self._process("scheduler", "--host", self.address)
        self.workers = [self.worker() for _ in range(workers)]
        if workers:
            self.until_workers(workers)

    def worker(self, **settings: object) -> Process:
        return self._process("worker", self.address, "--nthreads", "1", "--no-nanny", **settings)

    def until_workers(self, count: int) -> None:
        with self.client() as client:
            client.wait_for_workers(count, timeout=PATIENCE)

    def client(self) -> Client:
        return Client(self.address, timeout=PATIENCE, set_as_default=False)

    def idle(self) -> bool:
        """Tell whether no thread of any Dask worker has anything to do."""
        with self.client() as client:
            return not any(client.run(_RUNNING).values())

    def stop(self) -> None:
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            process.kill()
            process.wait()

    def _process(self, kind: str, *arguments: str, **settings: object) -> Process:
        return Process(
            [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"],
            self.folder / "dask.log",
            cwd=self.folder,
            env=environment(**self.variables, **settings),
        )


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    started = Cluster(folder)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that tests share, and leave as it is."""
    with running(tmp_path_factory.mktemp("dask")) as started:
        yield started


@pytest.fixture
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster for one test."""
    with running(tmp_path_factory.mktemp("dask")) as started:
        yield started


def settings(tmp_path: Path, **options: object) -> WorkerSettings:
    return WorkerSettings.model_validate({"work_dir": tmp_path / "work", "worker_mode": "mock", **options})


def payload(title: str = "") -> JobPayload:
    return JobPayload(content=h2(title), mobile_indices=[0, 1], delta=0.01, low_cut_cm=50, temperature=300)


def submit(plane: ControlPlane, content: str | None = None, **more: Any) -> str:
    request = {"content": content or h2(), "symmetry": False, "calc_mode": "new"} | more
    with plane.api() as api:
        return str(api.post("/calc/zpe/jobs", json=request).raise_for_status().json()["job_id"])


def get(plane: ControlPlane, path: str) -> dict[str, Any]:
    with plane.api() as api:
        return dict(api.get(f"/calc/zpe/{path}").raise_for_status().json())


def until_finished(plane: ControlPlane, job_id: str) -> None:
    wait_until(lambda: get(plane, f"jobs/{job_id}")["status"] in ("finished", "failed"))
    assert get(plane, f"jobs/{job_id}")["status"] == "finished"


def log(plane: ControlPlane) -> str:
    return (plane.folder / "worker" / "worker.log").read_text()


def pids(file: Path) -> list[int]:
    return [int(line.split()[2]) for line in file.read_text().splitlines()] if file.exists() else []


# ------------------------------------------------------------------------------- a worker and a cluster


def test_a_job_is_computed_in_the_processes_of_the_cluster(
    control_plane: ControlPlane, cluster: Cluster, tmp_path: Path
) -> None:
    mock_log = tmp_path / "mock.log"
    worker = control_plane.worker(
        ZPE_EXECUTOR=cluster.url, ZPE_MOCK_LOG=mock_log, ZPE_MOCK_SCF_SECONDS=0.1, ZPE_DRAIN=1
    )
    job_id = submit(control_plane)
    until_finished(control_plane, job_id)
    assert len(pids(mock_log)) == TASKS
    assert set(pids(mock_log)) == {process.pid for process in cluster.workers}
    assert '"slots": 2' in log(control_plane)
    assert worker.wait() == 0


def test_a_killed_dask_worker_costs_no_job_and_no_attempt(
    control_plane: ControlPlane, own_cluster: Cluster, tmp_path: Path
) -> None:
    mock_log = tmp_path / "mock.log"
    worker = control_plane.worker(
        ZPE_EXECUTOR=own_cluster.url, ZPE_MOCK_LOG=mock_log, ZPE_MOCK_SCF_SECONDS=0.5
    )
    job_id = submit(control_plane)
    wait_until(lambda: len(pids(mock_log)) >= 3)
    victim, survivor = own_cluster.workers
    victim.kill()
    victim.wait()
    until_finished(control_plane, job_id)
    assert pids(mock_log)[-1] == survivor.pid
    found = get(control_plane, f"jobs/{job_id}/detail")
    assert sum(task["attempts"] for task in found["tasks"]) == 0
    worker.terminate()
    assert worker.wait() == 0


def test_scfs_that_nobody_wants_any_more_are_ended_on_the_cluster(
    control_plane: ControlPlane, cluster: Cluster
) -> None:
    worker = control_plane.worker(ZPE_EXECUTOR=cluster.url, ZPE_MOCK_SCF_SECONDS=NEVER)
    job_id = submit(control_plane)
    wait_until(lambda: not cluster.idle())
    with control_plane.api() as api:
        api.post(f"/calc/zpe/jobs/{job_id}/cancel").raise_for_status()
    wait_until(cluster.idle)

    job_id = submit(control_plane)
    wait_until(lambda: not cluster.idle())
    worker.kill()
    worker.wait()
    wait_until(cluster.idle)
    with control_plane.api() as api:
        api.post(f"/calc/zpe/jobs/{job_id}/cancel").raise_for_status()


def test_without_a_scheduler_a_worker_says_so_and_ends(control_plane: ControlPlane) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        worker = control_plane.worker("lonely", ZPE_EXECUTOR=f"dask://127.0.0.1:{unused.getsockname()[1]}")
        assert worker.wait() == 1
    last = (control_plane.folder / "lonely" / "worker.log").read_text().splitlines()[-1]
    assert last.startswith("zpe worker: there is no Dask scheduler at tcp://127.0.0.1:")
    assert last.endswith("[config/executor_unreachable]")


def test_with_local_compute_jobs_wait_for_a_cluster_that_is_not_there_yet(
    tmp_path: Path, own_control_plane: Callable[..., ControlPlane]
) -> None:
    late = Cluster(tmp_path)
    plane = own_control_plane(ZPE_COMPUTE_MODE="local", ZPE_WORKER_MODE="mock", ZPE_EXECUTOR=late.url)
    job_id = submit(plane)
    worker_log = plane.folder / "data" / "local-worker" / "worker.log"
    wait_until(lambda: worker_log.exists() and "executor_unreachable" in worker_log.read_text())
    assert get(plane, f"jobs/{job_id}")["status"] == "queued"
    try:
        late.start(workers=1)
        until_finished(plane, job_id)
    finally:
        late.stop()


# ---------------------------------------------------------------------------------- the engine on Dask


def test_the_loss_of_the_scheduler_is_named_and_a_new_one_is_found(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    engine = DaskEngine(settings(tmp_path, executor=own_cluster.url, mock_scf_seconds=NEVER))
    assert engine.capabilities().slots == 2
    with ThreadPoolExecutor() as threads:
        lost = threads.submit(engine.run, payload(), Task(index=0), job_id="job", stop=Event())
        wait_until(lambda: not own_cluster.idle())
        own_cluster.stop()
        with pytest.raises(ComputeError) as caught:
            lost.result(PATIENCE)
    assert caught.value.code == "executor_lost"
    with pytest.raises(ConfigError) as unreachable:
        engine.capabilities()
    assert unreachable.value.code == "executor_unreachable"
    with pytest.raises(ComputeError) as again:
        engine.run(payload(), Task(index=0), job_id="job", stop=Event())
    assert again.value.code == "executor_lost"

    own_cluster.start(workers=1)

    def is_back() -> bool:
        try:
            return engine.capabilities().slots == 1
        except ConfigError:
            return False

    wait_until(is_back)


def test_what_all_dask_workers_can_is_what_the_engine_can(
    own_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "FRESH_SECONDS", 0.0)
    engine = DaskEngine(settings(tmp_path, executor=own_cluster.url))
    assert engine.capabilities().slots == 2
    own_cluster.workers.append(own_cluster.worker())
    own_cluster.until_workers(3)
    assert engine.capabilities().slots == 3
    assert DaskEngine(settings(tmp_path, executor=own_cluster.url, slots=40)).capabilities().slots == 40

    own_cluster.workers.append(own_cluster.worker(ZPE_WORK_DIR="/dev/null/nowhere"))
    own_cluster.until_workers(4)
    with pytest.raises(ConfigError, match=r"Dask worker tcp://127.0.0.1:\d+: the work folder") as caught:
        engine.capabilities()
    assert (caught.value.code, caught.value.field) == ("bad_work_dir", "ZPE_WORK_DIR")

    for process in own_cluster.workers:
        process.kill()
        process.wait()

    def is_empty() -> bool:
        try:
            engine.capabilities()
        except ConfigError as error:
            return error.code == "executor_empty"
        return False

    wait_until(is_empty)


def test_an_scf_that_kills_dask_workers_is_given_up(own_cluster: Cluster, tmp_path: Path) -> None:
    """Dask tries each worker in turn, ``allowed-failures`` (3) times over."""
    engine = DaskEngine(settings(tmp_path, executor=own_cluster.url, mock_scf_seconds=NEVER))
    with ThreadPoolExecutor() as threads, own_cluster.client() as client:
        lost = threads.submit(engine.run, payload(), Task(index=0), job_id="job", stop=Event())
        for _ in range(4):
            own_cluster.workers.append(own_cluster.worker())
            wait_until(lambda: any(client.processing().values()))
            address = next(address for address, tasks in client.processing().items() if tasks)
            wait_until(lambda: client.run(_RUNNING, workers=[address])[address] > 0)  # noqa: B023
            os.kill(client.run(os.getpid, workers=[address])[address], signal.SIGKILL)
            wait_until(lambda: address not in client.nthreads())  # noqa: B023
        with pytest.raises(ComputeError, match="4 Dask workers died") as caught:
            lost.result(PATIENCE)
    assert caught.value.code == "worker_died"


def test_a_scheduler_that_speaks_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    own, tls = str(tmp_path / "own.pem"), "distributed.comm.tls"
    of_tls = {f"{tls}.ca-file": str(tmp_path / "ca.pem"), f"{tls}.scheduler.cert": own}
    of_tls |= {f"{tls}.worker.cert": own, f"{tls}.client.cert": own}
    variables = {
        f"DASK_{name.replace('.', '__').replace('-', '_').upper()}": value for name, value in of_tls.items()
    }
    secured = Cluster(tmp_path, scheme="dask+tls", **variables)
    try:
        with dask_config.set(of_tls):
            secured.start(workers=1)
            engine = DaskEngine(settings(tmp_path, executor=secured.url))
            assert engine.run(payload(), Task(index=0), job_id="job", stop=Event()).task == 0
        with pytest.raises(ConfigError, match="TLS") as caught:
            DaskEngine(settings(tmp_path, executor=secured.url)).capabilities()
        assert caught.value.code == "executor_unreachable"
    finally:
        secured.stop()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("dask://scheduler", "tcp://scheduler:8786"),
        ("dask://10.0.0.7:9000/", "tcp://10.0.0.7:9000"),
        ("dask+tls://[fd00::7]:8786", "tls://[fd00::7]:8786"),
    ],
)
def test_addresses_of_schedulers(url: str, address: str) -> None:
    assert scheduler_address(url) == address


@pytest.mark.parametrize("url", ["", "scheduler:8786", "slurm://x", "dask://", "dask://x:port", "dask://a/b"])
def test_a_wrong_address_names_the_setting(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ZPE_EXECUTOR") as caught:
        make_engine(settings(tmp_path, executor=url))
    assert (caught.value.code, caught.value.field) == ("bad_setting", "ZPE_EXECUTOR")


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "zpe_sdk.worker.engines.dask")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'zpe\[dask\]'"):
        make_engine(settings(tmp_path, executor="dask://scheduler:8786"))


# ------------------------------------------------------------------------------- executors of any kind


def processes(count: int) -> ProcessPoolExecutor:
    """Return a pool; its processes are not forked, for that does not go well with threads."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


def test_processes_of_a_pool_compute_each_in_a_folder_of_its_own(tmp_path: Path) -> None:
    mock_log = tmp_path / "mock.log"
    with processes(2) as pool, ThreadPoolExecutor(4) as threads:
        engine = ExecutorEngine(settings(tmp_path, mock_log=mock_log, mock_scf_seconds=0.3), pool, slots=2)
        assert engine.capabilities().slots == 2
        runs = [
            threads.submit(engine.run, payload(), Task(index=index), job_id="job", stop=Event())
            for index in range(4)
        ]
        reports = [run.result(PATIENCE) for run in runs]
    assert [report.task for report in reports] == [0, 1, 2, 3]
    assert len(set(pids(mock_log))) == 2
    assert os.getpid() not in pids(mock_log)
    folders = [path.name for path in (tmp_path / "work").iterdir()]
    assert sorted(name.rpartition("-")[2] for name in folders) == ["0", "1"]


@pytest.mark.parametrize("code", ["scf_not_converged", "pseudopotential_missing", "bad_input"])
def test_an_error_comes_back_as_itself(code: str, tmp_path: Path) -> None:
    with processes(1) as pool:
        engine = ExecutorEngine(settings(tmp_path), pool, slots=1)
        with pytest.raises(ZPEError, match="scripted failure 1 of 1") as caught:
            engine.run(payload(f"mock: fail={code}"), Task(index=0), job_id="job", stop=Event())
        assert caught.value.code == code
        assert engine.run(payload(f"mock: fail={code}"), Task(index=0), job_id="job", stop=Event()).task == 0


def test_notes_of_an_error_survive_the_journey() -> None:
    error = ComputeError("pw.x crashed", code="pw_crashed", field="x")
    error.add_note("the last lines")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.field, copy.__notes__) == (
        *(ComputeError, str(error), "x"),
        ["the last lines"],
    )


def test_other_errors_come_back_with_their_traceback(tmp_path: Path) -> None:
    with processes(1) as pool:
        engine = ExecutorEngine(settings(tmp_path, mock_log=tmp_path), pool, slots=1)  # a folder is no file
        with pytest.raises(ComputeError, match="IsADirectoryError") as caught:
            engine.run(payload(), Task(index=0), job_id="job", stop=Event())
    assert caught.value.code == "worker_error"
    assert "mock.py" in caught.value.__notes__[0]


def test_stopping_frees_the_process(tmp_path: Path) -> None:
    stop = Event()
    with processes(1) as pool, ThreadPoolExecutor(1) as threads:
        engine = ExecutorEngine(settings(tmp_path, mock_scf_seconds=NEVER), pool, slots=1)
        run = threads.submit(engine.run, payload(), Task(index=0), job_id="job", stop=stop)
        wait_until(lambda: (tmp_path / "work").is_dir())  # it has begun
        stop.set()
        with pytest.raises(ComputeError) as caught:
            run.result(PATIENCE)
        assert caught.value.code == "stopped"
        assert pool.submit(os.getpid).result(PATIENCE) != os.getpid()
    assert list((tmp_path / "work" / "stops").iterdir()) == []


def test_a_broken_pool_ends_the_work(tmp_path: Path) -> None:
    with processes(1) as pool, ThreadPoolExecutor(1) as threads:
        engine = ExecutorEngine(settings(tmp_path, mock_scf_seconds=NEVER), pool, slots=1)
        engine.capabilities()
        pid = pool.submit(os.getpid).result(PATIENCE)
        idle = psutil.Process(pid).num_threads()
        run = threads.submit(engine.run, payload(), Task(index=0), job_id="job", stop=Event())
        wait_until(lambda: psutil.Process(pid).num_threads() > idle)  # it has begun
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ComputeError) as caught:
            run.result(PATIENCE)
        assert caught.value.code == "executor_lost"
        with pytest.raises(ComputeError, match="new one"):
            engine.capabilities()


def test_no_token_reaches_an_executor(tmp_path: Path) -> None:
    class Recorder(ThreadPoolExecutor):
        seen = b""

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            self.seen += pickle.dumps((fn, args, kwargs))
            return super().submit(fn, *args, **kwargs)

    secrets = {"worker_token": "zpew_worker-secret", "enroll_token": "zpee_enroll-secret"}
    with Recorder(1) as executor:
        engine = ExecutorEngine(settings(tmp_path, **secrets), executor, slots=1)
        engine.capabilities()
        engine.run(payload(), Task(index=0), job_id="job", stop=Event())
    assert b"worker_mode" in executor.seen
    assert b"secret" not in executor.seen


SCRIPT = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from zpe_sdk.worker.command import run
from zpe_sdk.worker.engines.executor import ExecutorEngine
from zpe_sdk.worker.settings import WorkerSettings

if __name__ == "__main__":
    settings = WorkerSettings(drain=True)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        raise SystemExit(run(settings, ExecutorEngine(settings, executor, slots=2)))
"""


def test_a_worker_with_an_executor_of_ones_own(control_plane: ControlPlane, tmp_path: Path) -> None:
    job_id = submit(control_plane)
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT)
    variables = environment(
        ZPE_CONTROL_API_URL=control_plane.url,
        ZPE_ENROLL_TOKEN=control_plane.enroll_token(),
        ZPE_WORKER_MODE="mock",
        ZPE_WORK_DIR=tmp_path / "work",
        ZPE_MOCK_LOG=tmp_path / "mock.log",
    )
    with Process([sys.executable, script], tmp_path / "worker.log", env=variables) as worker:
        assert worker.wait() == 0
    until_finished(control_plane, job_id)
    assert worker.pid not in pids(tmp_path / "mock.log")
    assert len(pids(tmp_path / "mock.log")) == TASKS


# ------------------------------------------------------------------------------------------ real pw.x


@pytest.mark.qe
def test_hydrogen_with_pw_on_a_cluster(control_plane: ControlPlane, cluster: Cluster) -> None:
    worker = control_plane.worker(
        "hydrogen", ZPE_WORKER_MODE="qe", ZPE_EXECUTOR=cluster.url, ZPE_PSEUDO_DIR=PSEUDO_DIR, ZPE_DRAIN=1
    )
    job_id = submit(control_plane, engine="espresso")
    until_finished(control_plane, job_id)
    assert worker.wait() == 0
    result = get(control_plane, f"jobs/{job_id}/result")["result"]
    # Experiment: 4401 cm⁻¹ (harmonic). The cutoff is low, the bond is not relaxed.
    assert max(result["freqs_cm"]) == pytest.approx(4401, rel=0.1)
    assert result["pseudo_dir"] == PSEUDO_DIR
    # Both have computed, each in its own place.
    kept = (control_plane.folder / "hydrogen").glob(f"executor-*/jobs/{job_id}/*.save")
    assert len({path.parents[2].name for path in kept}) == 2


@needs_binary
@pytest.mark.qe
def test_pw_is_ended_on_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    long = h2().replace("A = 6.0", "A = 14.0").replace("ecutwfc = 20.0", "ecutwfc = 90.0")
    engine = DaskEngine(
        settings(tmp_path, worker_mode="qe", executor=cluster.url, pseudo_dir=PSEUDO_DIR, use_mpi=False)
    )
    stop = Event()

    def running() -> list[psutil.Process]:
        found = []
        for worker in cluster.workers:
            for process in psutil.Process(worker.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                    found += [process] if process.name() == "pw.x" else []
        return found

    with ThreadPoolExecutor(1) as threads:
        job = payload().model_copy(update={"content": long})
        run = threads.submit(engine.run, job, Task(index=0), job_id="job", stop=stop)
        wait_until(lambda: len(running()) == 1)
        stop.set()
        with pytest.raises(ComputeError) as caught:
            run.result(PATIENCE)
    assert caught.value.code == "stopped"
    wait_until(lambda: running() == [])
