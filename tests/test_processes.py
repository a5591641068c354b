"""What the tests themselves rely on: waits that end, and runs that leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.processes import PATIENCE, Process, RedisServer, wait_until

# Its children: one as usual, one in a session of its own whose parent has ended.
RUN = """
import signal, subprocess, time
from tests import reaper
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a script starts with &
reaper.watch()
sleep = ["sleep", "3600"]
print(subprocess.Popen(sleep, stdout=subprocess.DEVNULL).pid, flush=True)
orphan = "import subprocess as s; print(s.Popen({}, start_new_session=True, stdout=s.DEVNULL).pid)"
subprocess.run([{!r}, "-c", orphan.format(sleep)], check=True)
print("all", flush=True)
time.sleep(3600)
""".replace("{!r}", repr(sys.executable))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_a_run_has_started_ends_with_it(how: signal.Signals, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    with Process([sys.executable, "-c", RUN], log, cwd=Path(__file__).parents[1]) as run:
        wait_until(lambda: "all" in log.read_text())
        started = [int(line) for line in log.read_text().split()[:-1]]
        assert len(started) == 2
        assert all(psutil.pid_exists(pid) for pid in started)
        run.send_signal(how)
        run.wait()
    wait_until(lambda: not any(alive(pid) for pid in started))


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_reaper_finds_a_redis(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    assert server.process is not None
    try:
        marks = {name for name in os.environ if name.startswith("TEST_RUN_")}
        assert marks
        assert marks <= set(psutil.Process(server.process.pid).environ())
    finally:
        server.kill()


def test_a_wait_ends_with_the_process_that_it_is_for(tmp_path: Path) -> None:
    log = tmp_path / "its.log"
    with (
        Process(["sh", "-c", "echo no room on this ship; exit 3"], log),
        pytest.raises(AssertionError, match="ended with 3; its log:\nno room on this ship"),
    ):
        wait_until(lambda: False, seconds=10 * PATIENCE)


def test_a_wait_that_is_in_vain_says_what_runs(tmp_path: Path) -> None:
    with (
        Process(["sleep", "3600"], tmp_path / "its.log"),
        pytest.raises(AssertionError, match=r"(?s)still not true after 0 s\n\n.*sleep 3600 .* runs"),
    ):
        wait_until(lambda: False, seconds=0)


def test_a_process_that_was_told_to_end_disturbs_no_wait(tmp_path: Path) -> None:
    command = ["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"]
    with Process(command, tmp_path / "its.log") as process:
        wait_until(lambda: "ready" in (tmp_path / "its.log").read_text())
        process.terminate()
        wait_until(lambda: process.poll() == 5)
        assert not process.died
        assert subprocess.Popen.wait(process) == 5
