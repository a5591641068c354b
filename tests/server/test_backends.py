"""Compute backends other than the main road: the same jobs API, the same results."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.processes import PATIENCE, ControlPlane, RedisServer, free_port, h2, wait_until
from zpe_sdk import ZPEClient
from zpe_sdk.errors import ComputeError, ConfigError

Start = Callable[..., ControlPlane]


def local_worker(plane: ControlPlane) -> psutil.Process | None:
    assert plane.process is not None
    for process in psutil.Process(plane.process.pid).children(recursive=True):
        if process.cmdline()[-1] == "zpe_sdk.worker" and "keeper" not in " ".join(process.cmdline()):
            return process
    return None


def test_mock_finishes_jobs_in_the_control_plane_with_the_same_numbers_anywhere(
    own_control_plane: Start,
) -> None:
    zpe = []
    for _ in range(2):
        plane = own_control_plane(ZPE_COMPUTE_MODE="mock")
        with ZPEClient(plane.url, plane.admin_token) as client:
            zpe.append(client.submit(h2()).wait(PATIENCE, progress=False).result().zpe_ev)
            assert [worker.name for worker in client.admin.workers().workers] == ["mock"]
    assert zpe[0] == zpe[1]


def test_mock_fails_and_retries_as_scripted(own_control_plane: Start) -> None:
    plane = own_control_plane(
        ZPE_COMPUTE_MODE="mock", ZPE_RETRY_BASE_DELAY_SECONDS=0.05, ZPE_LEASE_TTL_SECONDS=2
    )
    with ZPEClient(plane.url, plane.admin_token) as client:
        once = client.submit(h2("mock: fail=scf_not_converged task=1 times=1"))
        always = client.submit(h2("mock: fail=pw_crashed task=0 times=always"))
        assert once.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
        with pytest.raises(ComputeError) as caught:
            always.wait(PATIENCE, progress=False)
        assert caught.value.code == "pw_crashed"
        [dead] = client.admin.dead_jobs().jobs
        assert (dead.job.job_id, len(dead.attempts)) == (always.id, 4)


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def test_mock_goes_on_with_its_job_when_redis_is_back(
    own_control_plane: Start, own_redis: RedisServer, tmp_path: Path
) -> None:
    plane = own_control_plane(
        ZPE_COMPUTE_MODE="mock",
        ZPE_REDIS_URL=own_redis.url,
        ZPE_MOCK_SCF_SECONDS=0.2,
        ZPE_MOCK_LOG=tmp_path / "scfs.log",
        ZPE_LOG_LEVEL="DEBUG",
    )
    with ZPEClient(plane.url, plane.admin_token) as client:
        job = client.submit(h2(), symmetry=False)
        wait_until(lambda: job.status().progress.done >= 2)
        own_redis.kill()
        wait_until(lambda: plane.log.count('"the store is away"') >= 3)
        own_redis.start()
        job.wait(PATIENCE, progress=False)
        assert not job.detail().history
        assert client.submit(h2()).wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    computed = [line.split()[:2] for line in (tmp_path / "scfs.log").read_text().splitlines()]
    assert sorted(int(task) for name, task in computed if name == job.id) == list(range(13))
    assert "broke" not in plane.log


def test_local_runs_a_worker_of_its_own_and_starts_it_again(own_control_plane: Start) -> None:
    plane = own_control_plane(
        ZPE_COMPUTE_MODE="local", ZPE_WORKER_MODE="mock", ZPE_MOCK_SCF_SECONDS=0.2, ZPE_LEASE_TTL_SECONDS=2
    )
    with ZPEClient(plane.url, plane.admin_token) as client:
        job = client.submit(h2(), symmetry=False)
        wait_until(lambda: job.status().progress.done > 0)
        worker = local_worker(plane)
        assert worker is not None
        worker.kill()
        assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    found = local_worker(plane)
    plane.stop()
    assert found is not None
    assert not found.is_running()


def test_local_starts_the_same_worker_again_with_what_it_held_and_had_finished(
    own_control_plane: Start, tmp_path: Path
) -> None:
    plane = own_control_plane(
        ZPE_COMPUTE_MODE="local",
        ZPE_WORKER_MODE="mock",
        ZPE_SLOTS=1,
        ZPE_MOCK_SCF_SECONDS=0.3,
        ZPE_MOCK_LOG=tmp_path / "scfs.log",
    )
    outbox = plane.folder / "data" / "local-worker" / "work" / "outbox"
    with ZPEClient(plane.url, plane.admin_token) as client:
        job = client.submit(h2(), symmetry=False)

        def has_more() -> bool:
            progress = job.status().progress
            return progress.done > 0 and progress.running > 1

        # Between two leases it has nothing to finish.
        wait_until(has_more)
        worker = local_worker(plane)
        assert worker is not None
        assert plane.process is not None
        plane.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: any(outbox.glob("*.json")))
        worker.kill()
        plane.process.send_signal(signal.SIGCONT)
        # Long before the lease expires.
        assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
        assert len(client.admin.workers().workers) == 1
    computed = [line.split()[1] for line in (tmp_path / "scfs.log").read_text().splitlines()]
    assert len(computed) == len(set(computed)) == 13


def test_local_enrols_a_worker_that_is_not_known_here_any_more(own_control_plane: Start) -> None:
    plane = own_control_plane(ZPE_COMPUTE_MODE="local", ZPE_WORKER_MODE="mock")
    with ZPEClient(plane.url, plane.admin_token) as client:
        client.submit(h2()).wait(PATIENCE, progress=False)
        [worker] = client.admin.workers().workers
        client.admin.revoke_worker(worker.server_id)
        client.submit(h2()).wait(PATIENCE, progress=False)
    plane.stop()
    plane.port = free_port()
    plane.start()
    with ZPEClient(plane.url, plane.admin_token) as client:
        client.submit(h2()).wait(PATIENCE, progress=False)


def test_local_with_an_executor_that_cannot_be_fails_jobs_and_says_why(own_control_plane: Start) -> None:
    plane = own_control_plane(ZPE_COMPUTE_MODE="local", ZPE_WORKER_MODE="mock", ZPE_EXECUTOR="slurm://here")
    with ZPEClient(plane.url, plane.admin_token) as client:
        with pytest.raises(ConfigError) as caught:
            client.submit(h2()).wait(PATIENCE, progress=False)
        assert caught.value.code == "bad_setting"
        assert "slurm://here" in caught.value.message


def test_local_with_a_bad_setting_fails_jobs_and_names_it(own_control_plane: Start) -> None:
    plane = own_control_plane(ZPE_COMPUTE_MODE="local", ZPE_WORKER_MODE="mock", ZPE_SLOTS="many")
    with ZPEClient(plane.url, plane.admin_token) as client:
        with pytest.raises(ConfigError) as caught:
            client.submit(h2()).wait(PATIENCE, progress=False)
        assert (caught.value.code, caught.value.field) == ("bad_setting", "ZPE_SLOTS")


def test_local_without_pw_fails_jobs_and_says_why(own_control_plane: Start) -> None:
    plane = own_control_plane(ZPE_COMPUTE_MODE="local", ZPE_PW_PATH="/nowhere/pw.x")
    with ZPEClient(plane.url, plane.admin_token) as client:
        with pytest.raises(ConfigError) as caught:
            client.submit(h2()).wait(PATIENCE, progress=False)
        assert caught.value.code == "pw_not_found"
        assert "/nowhere/pw.x" in caught.value.message
