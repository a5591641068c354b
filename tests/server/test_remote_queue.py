"""Backend ``remote-queue``: real RQ workers on a real Redis, and a control plane that speaks to neither."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from rq import Queue
from rq.command import send_stop_job_command
from rq.job import Job as RQJob

from tests.processes import PATIENCE, ControlPlane, Process, RedisServer, environment, h2, wait_until
from tests.programs import PW
from zpe_sdk import ZPEClient
from zpe_sdk.client.job import Job
from zpe_sdk.errors import ComputeError, ZPEError
from zpe_sdk.wire import DeadJob
from zpe_server.backends.remote_queue.offers import QUEUE

RQ = str(Path(sys.executable).parent / "rq")
ZPE = str(Path(sys.executable).parent / "zpe")


class Site:
    """A Redis, a control plane in mode ``remote-queue``, and RQ workers that know nothing of it but Redis."""

    def __init__(self, folder: Path, redis_server: RedisServer) -> None:
        self.folder = folder
        self.redis_url = redis_server.url
        self.redis = redis.Redis.from_url(redis_server.url)
        self.redis.flushall()
        self.queue = Queue(QUEUE, connection=self.redis)
        self.plane = self.control_plane("plane")
        self.client = ZPEClient(self.plane.url, self.plane.admin_token)
        self.log = folder / "scfs.log"
        self.workers: list[Process] = []

    def control_plane(self, name: str) -> ControlPlane:
        plane = ControlPlane(
            self.folder / name,
            {
                "ZPE_COMPUTE_MODE": "remote-queue",
                "ZPE_REDIS_URL": self.redis_url,
                "ZPE_LEASE_TTL_SECONDS": 3,
                "ZPE_RETRY_BASE_DELAY_SECONDS": 0.05,
            },
        )
        plane.start()
        return plane

    def worker(self, *command: str, **settings: object) -> Process:
        """Start ``rq worker zpe-2``, or another command, with the mock engine unless told otherwise."""
        defaults: dict[str, object] = {
            "ZPE_REDIS_URL": self.redis_url,
            "RQ_REDIS_URL": self.redis_url,
            "ZPE_WORKER_MODE": "mock",
            "ZPE_WORKER_NAME": "lab",
            "ZPE_WORK_DIR": self.folder / "work",
            "ZPE_MOCK_LOG": self.log,
        }
        process = Process(
            command or [RQ, "worker", QUEUE],
            self.folder / "rq.log",
            env=environment(**(defaults | settings)),
        )
        self.workers.append(process)
        return process

    def submit(self, text: str, **more: Any) -> Job:
        """Submit a job that takes nothing over from those before it."""
        return self.client.submit(text, calc_mode="new", **more)

    def computed(self, job: Job) -> Counter[int]:
        """Count how often each task of a job was computed."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return Counter(int(line.split()[1]) for line in lines if line.split()[0] == job.id)

    def in_rq(self, job: Job) -> str | None:
        """Return the registry in which RQ has a job; None if it is in none that means something to do."""
        name = f"zpe-{job.id}"
        if name in self.queue.failed_job_registry.get_job_ids():
            return "failed"
        if any(entry.startswith(name) for entry in self.queue.started_job_registry.get_job_ids()):
            return "started"
        return "queued" if name in self.queue.get_job_ids() else None

    def agree(self, job: Job, state: str | None) -> None:
        """Wait until RQ has a job where our state of it says, then see that it stays there."""
        wait_until(lambda: self.in_rq(job) == state)

    def dead(self, job: Job) -> DeadJob | None:
        """Return a job's entry in our dead-letter queue."""
        return next((d for d in self.client.admin.dead_jobs().jobs if d.job.job_id == job.id), None)

    def clear(self) -> None:
        """End the workers, and cancel what was not finished."""
        self._end_workers()
        for state in ("queued", "started"):
            for job in self.client.jobs(status=state):
                job.cancel()
        wait_until(lambda: not self.queue.get_job_ids())

    def close(self) -> None:
        """End the workers and the control plane."""
        self._end_workers()
        self.client.close()
        self.plane.stop()

    def _end_workers(self) -> None:
        while self.workers:
            kill(self.workers.pop())


def kill(process: Process) -> None:
    """End an RQ worker and its work-horse with SIGKILL."""
    if process.poll() is None:
        horses = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for horse in horses:
            with contextlib.suppress(psutil.NoSuchProcess):
                horse.kill()
    process.wait()


def horse_of(process: Process) -> psutil.Process:
    return psutil.Process(process.pid).children()[0]


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("site"), redis_server)
    yield found
    assert "could not be brought into line" not in found.plane.log
    found.close()
    found.redis.flushall()


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    yield shared_site
    shared_site.clear()


def test_a_job_finishes_with_the_numbers_of_any_other_mode(
    site: Site, own_control_plane: Callable[..., ControlPlane]
) -> None:
    site.worker()
    job = site.submit(h2(), symmetry=False)
    result = job.wait(PATIENCE, progress=False).result()
    site.agree(job, None)
    plane = own_control_plane(ZPE_COMPUTE_MODE="mock")
    with ZPEClient(plane.url, plane.admin_token) as client:
        other = client.submit(h2(), symmetry=False).wait(PATIENCE, progress=False).result()
    assert (result.zpe_ev, list(result.frequencies_cm)) == (other.zpe_ev, list(other.frequencies_cm))
    assert site.computed(job) == Counter(range(13))
    [name] = job.status().workers
    assert name.startswith("lab rq-")
    assert name in [worker.name for worker in site.client.admin.workers().workers]


def test_progress_is_seen_while_rq_runs_the_job_and_cancelling_stops_it(site: Site) -> None:
    site.worker(ZPE_MOCK_SCF_SECONDS=0.5, ZPE_SLOTS=1)
    job = site.submit(h2(), symmetry=False)
    wait_until(lambda: 0 < job.status().progress.done < 13)
    assert job.status().status == "started"
    assert site.in_rq(job) == "started"
    job.cancel()
    site.agree(job, None)
    assert job.status().status == "cancelled"
    assert site.computed(job).total() < 13


def test_a_killed_worker_costs_no_scf_that_was_acknowledged(site: Site) -> None:
    worker = site.worker(ZPE_MOCK_SCF_SECONDS=0.3, ZPE_SLOTS=1)
    job = site.submit(h2(), symmetry=False)
    wait_until(lambda: job.status().progress.done >= 2)
    kill(worker)
    # What RQ remembers of the execution expires in a minute or two: do not wait for it.
    site.redis.delete(*site.redis.scan_iter(f"rq:execution:zpe-{job.id}:*"))
    done = {task.index for task in job.detail().tasks if task.state == "done"}
    site.worker()
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    computed = site.computed(job)
    assert {computed[task] for task in done} == {1}
    assert set(computed) == set(range(13))
    site.agree(job, None)


def test_what_a_worker_took_and_never_began_is_offered_again(site: Site) -> None:
    job, cancelled = site.submit(h2()), site.submit(h2())
    for each in (job, cancelled):
        site.agree(each, "queued")
        # What a worker does first of all, and all that one does which is killed then.
        site.redis.lmove(site.queue.key, site.queue.intermediate_queue.key)
    cancelled.cancel()
    site.worker()
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    assert not job.detail().history
    wait_until(lambda: not site.queue.intermediate_queue.get_job_ids())
    for each in (job, cancelled):
        site.agree(each, None)


def slow_pw(folder: Path, seconds: int) -> Path:
    """Write a pw.x that is slow to say its version, the first time it is asked."""
    program = folder / "pw.x"
    first = f'mkdir "{folder}/asked" 2>/dev/null && sleep {seconds}'
    program.write_text(f'#!/bin/sh\n{first}\nexec "{PW[0]}" "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.qe
def test_what_a_worker_began_and_never_leased_is_offered_again(site: Site, tmp_path: Path) -> None:
    job = site.submit(h2())
    dying = site.worker(ZPE_WORKER_MODE="qe", ZPE_PW_PATH=slow_pw(tmp_path, 60))
    wait_until((tmp_path / "asked").exists)
    assert site.in_rq(job) == "started"
    kill(dying)
    site.worker()
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    assert not job.detail().history
    site.agree(job, None)


@pytest.mark.qe
def test_a_worker_that_is_slow_to_begin_gets_its_lease(site: Site, tmp_path: Path) -> None:
    job = site.submit(h2(), engine="espresso")
    site.worker(
        ZPE_WORKER_MODE="qe",
        ZPE_PW_PATH=slow_pw(tmp_path, 20),
        ZPE_PSEUDO_DIR="/usr/share/espresso/pseudo",
    )
    wait_until((tmp_path / "asked").exists)
    # It is taken for dead, and what is offered in its place lies there until it begins after all.
    site.agree(job, "queued")
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    assert not job.detail().history
    assert [run.worker for run in job.detail().tasks] == job.status().workers * 3
    site.agree(job, None)


def test_a_killed_work_horse_counts_as_an_attempt_at_once(site: Site) -> None:
    worker = site.worker(ZPE_MOCK_SCF_SECONDS=0.3, ZPE_SLOTS=1)
    job = site.submit(h2(), symmetry=False)
    wait_until(lambda: job.status().progress.done >= 2)
    horse_of(worker).kill()
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    codes = {event.code for event in job.detail().history}
    assert "worker_died" in codes
    assert "worker_lost" not in codes  # nobody waited for the lease to expire
    site.agree(job, None)


def test_a_failure_goes_to_both_dead_letter_queues_and_comes_out_of_both(site: Site) -> None:
    site.worker(ZPE, "rq-worker")
    job = site.submit(h2("mock: fail=pw_crashed task=1 times=4"))
    with pytest.raises(ComputeError) as caught:
        job.wait(PATIENCE, progress=False)
    assert caught.value.code == "pw_crashed"
    dead = site.dead(job)
    assert dead is not None
    assert len(dead.attempts) == 4
    site.agree(job, "failed")
    result = RQJob.fetch(f"zpe-{job.id}", connection=site.redis).latest_result()
    assert result is not None
    assert dead.error.message in (result.exc_string or "")

    job.requeue()
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    site.agree(job, None)
    assert site.computed(job) == Counter({0: 1, 1: 1, 2: 1})


def test_what_is_requeued_in_rq_is_requeued_with_us_and_what_we_discard_leaves_rq(site: Site) -> None:
    site.worker(ZPE, "rq-worker")
    job = site.submit(h2("mock: fail=bad_input task=0 times=1"))
    other = site.submit(h2("mock: fail=bad_input times=always"))
    for each in (job, other):
        with pytest.raises(ZPEError) as caught:
            each.wait(PATIENCE, progress=False)
        assert caught.value.code == "bad_input"
        site.agree(each, "failed")
    subprocess.run([RQ, "requeue", "--queue", QUEUE, "-u", site.redis_url, f"zpe-{job.id}"], check=True)
    wait_until(lambda: job.status().status != "failed")
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    assert site.dead(job) is None
    site.client.admin.discard([other.id])
    for each in (job, other):
        site.agree(each, None)


def test_what_is_stopped_or_cancelled_in_rq_is_cancelled_with_us(site: Site) -> None:
    waiting = site.submit(h2())
    site.agree(waiting, "queued")
    RQJob.fetch(f"zpe-{waiting.id}", connection=site.redis).cancel()
    wait_until(lambda: waiting.status().status == "cancelled")

    site.worker(ZPE_MOCK_SCF_SECONDS=0.5, ZPE_SLOTS=1)
    running = site.submit(h2(), symmetry=False)
    wait_until(lambda: running.status().progress.done > 0)
    send_stop_job_command(site.redis, f"zpe-{running.id}")
    wait_until(lambda: running.status().status == "cancelled")
    for job in (waiting, running):
        site.agree(job, None)


def test_jobs_wait_in_rq_in_the_order_of_our_line(site: Site) -> None:
    jobs = [site.submit(h2(), priority=priority) for priority in (0, 5, 0, 5)]
    wait_until(lambda: len(site.queue.get_job_ids()) == 4)
    assert site.queue.get_job_ids() == [f"zpe-{jobs[n].id}" for n in (1, 3, 0, 2)]
    jobs[3].cancel()
    wait_until(lambda: len(site.queue.get_job_ids()) == 3)


def test_two_control_planes_offer_each_job_once_and_either_may_die(site: Site) -> None:
    other = site.control_plane("other")
    with ZPEClient(other.url, other.admin_token) as client:
        jobs = [submitter.submit(h2(), calc_mode="new") for submitter in (site.client, client) * 3]
    wait_until(lambda: len(site.queue.get_job_ids()) >= 6)
    assert site.queue.get_job_ids() == [f"zpe-{job.id}" for job in jobs]
    other.kill()
    site.worker(ZPE, "rq-worker")
    for job in jobs:
        found = site.client.job(job.id).wait(PATIENCE, progress=False)
        assert site.computed(found) == Counter(range(3))


# What a machine that cannot begin has of this, nobody knows.
NEEDS: list[dict[str, Any]] = [{}, {"cores": 1, "memory_gb": 0.1, "tags": ["gpu"]}]


@pytest.mark.parametrize("requires", NEEDS)
def test_what_rq_cannot_even_begin_is_counted_and_ends_in_the_dead_letter_queue(
    site: Site, requires: dict[str, Any]
) -> None:
    site.worker(ZPE_REDIS_URL="", RQ_REDIS_URL=site.redis_url)
    job = site.submit(h2(), requires=requires)
    with pytest.raises(ComputeError) as caught:
        job.wait(PATIENCE, progress=False)
    assert caught.value.code == "worker_error"
    assert "ZPE_REDIS_URL must name the Redis" in caught.value.message
    dead = site.dead(job)
    assert dead is not None
    assert len(dead.attempts) == 4
    site.agree(job, "failed")


# An RQ worker on a machine where zpe is not installed, as those of other services are.
STRANGER = """import sys
sys.modules["zpe_server"] = None
from rq.cli import main
main()
"""


def test_workers_of_other_services_see_no_job_of_ours(site: Site) -> None:
    site.worker(sys.executable, "-c", STRANGER, "worker", "zpe")
    job = site.submit(h2())
    site.agree(job, "queued")
    site.worker()
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    assert not job.detail().history
    assert not Queue("zpe", connection=site.redis).failed_job_registry.get_job_ids()


def test_what_no_worker_of_ours_can_have_begun_goes_back_uncounted(site: Site) -> None:
    stranger = site.worker(sys.executable, "-c", STRANGER, "worker", QUEUE)
    job = site.submit(h2())
    wait_until(lambda: "cannot run what zpe offers" in (job.status().detail or ""))
    assert job.status().status == "queued"
    assert [event.code for event in job.detail().history] == ["zpe_missing"]
    kill(stranger)
    site.worker()
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    assert sum(task.attempts for task in job.detail().tasks) == 0
    site.agree(job, None)


@pytest.mark.parametrize("requires", NEEDS)
def test_a_machine_without_pw_leaves_the_job_to_others_and_its_status_says_why(
    site: Site, requires: dict[str, Any]
) -> None:
    poor = site.worker(ZPE_WORKER_MODE="qe", ZPE_PW_PATH="/nowhere/pw.x")
    job = site.submit(h2(), requires=requires)
    wait_until(lambda: "/nowhere/pw.x" in (job.status().detail or ""))
    assert job.status().status == "queued"
    kill(poor)
    site.worker(ZPE_TAGS="gpu")
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2


def test_sigterm_twice_hands_the_rest_back(site: Site) -> None:
    worker = site.worker(ZPE_MOCK_SCF_SECONDS=0.3, ZPE_SLOTS=1)
    job = site.submit(h2(), symmetry=False)
    wait_until(lambda: job.status().progress.done > 0)
    horse_of(worker).send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGTERM)
    worker.wait()
    assert {event.what for event in job.detail().history} == {"released"}
    site.agree(job, "queued")


def test_zpe_rq_worker_computes_and_refuses_a_machine_that_cannot(site: Site) -> None:
    job = site.submit(h2())
    site.agree(job, "queued")
    assert site.worker(ZPE, "rq-worker", "--burst").wait() == 0
    assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    assert site.worker(ZPE, "rq-worker", ZPE_WORKER_MODE="qe", ZPE_PW_PATH="/nowhere/pw.x").wait() == 1
    assert "/nowhere/pw.x" in (site.folder / "rq.log").read_text()


@pytest.mark.qe
def test_rq_runs_pw(site: Site) -> None:
    site.worker(ZPE_WORKER_MODE="qe", ZPE_PSEUDO_DIR="/usr/share/espresso/pseudo")
    job = site.submit(h2(), engine="espresso")
    result = job.wait(PATIENCE, progress=False).result()
    # The frequency of H2 is 4401 cm-1; a small cutoff and cell cost some of it.
    assert 4000 < max(result.frequencies_cm) < 4800
    assert [run.worker for run in job.detail().tasks] == job.status().workers * 3
    site.agree(job, None)


def test_redis_may_go_away_in_the_middle_of_a_job(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    site = Site(tmp_path, server)
    try:
        site.worker(ZPE_MOCK_SCF_SECONDS=0.3, ZPE_SLOTS=1)
        job = site.submit(h2(), symmetry=False)
        wait_until(lambda: job.status().progress.done >= 2)
        server.kill()
        # It goes on meanwhile: what it computes is told when Redis is back.
        before = site.computed(job).total()
        wait_until(lambda: site.computed(job).total() >= before + 2)
        server.start()
        assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
        assert site.computed(job) == Counter(range(13))
        site.agree(job, None)
    finally:
        site.close()
        server.kill()


def test_the_mode_is_refused_without_a_redis_that_workers_reach(tmp_path: Path) -> None:
    ended = subprocess.run(
        [ZPE, "serve", "--data-dir", str(tmp_path)],
        env=environment(ZPE_COMPUTE_MODE="remote-queue"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 1
    assert "ZPE_COMPUTE_MODE=remote-queue needs ZPE_REDIS_URL" in " ".join(ended.stderr.split())
