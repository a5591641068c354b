"""deploy/slurm/zpe-worker.sbatch, on a Slurm of one node that the tests start."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.processes import PATIENCE, ControlPlane, Process, environment, free_port, h2, wait_until

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "deploy" / "slurm" / "zpe-worker.sbatch"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo")
SEARCHED = f"{os.environ['PATH']}:/usr/sbin"
CONFIGURATION = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(program, path=SEARCHED) is None for program in PROGRAMS),
    reason="no Slurm here, or not root, as its daemons have to be: apt install slurm-wlm munge",
)


@dataclass
class Slurm:
    """A Slurm of one node."""

    folder: Path

    def run(self, *command: str | Path, **settings: object) -> str:
        """Run one of its commands; return what it prints."""
        env = environment(**settings, SLURM_CONF=self.folder / "slurm.conf", PATH=SEARCHED)
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            folder=folder,
            controller=free_port(),
            daemon=free_port(),
            cores=len(os.sched_getaffinity(0)),
        )
    )
    munge = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    own = [f"--{option}={folder}/munge.{ending}" for option, ending in munge.items()]
    found = Slurm(folder)
    daemons = (
        ["munged", "--foreground", "--force", *own],
        ["slurmctld", "-D", "-c", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf)],
    )
    running = []
    for command in daemons:
        program = shutil.which(command[0], path=SEARCHED)
        env = environment(SLURM_CONF=conf)
        running.append(Process([str(program), *command[1:]], folder / f"{command[0]}.out", env=env))
        if command[0] == "munged":
            wait_until((folder / "munge.socket").exists)
    try:
        wait_until(lambda: "idle" in found.run("sinfo", "-h", "-o", "%t"))
        yield found
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


@pytest.fixture
def batch(slurm: Slurm, control_plane: ControlPlane, tmp_path: Path) -> dict[str, object]:
    """Settings of the template's jobs, and a file of settings of their worker; each test has its own."""
    token = tmp_path / "enroll-token"
    token.write_text(control_plane.enroll_token())
    worker = {
        "ZPE_CONTROL_API_URL": control_plane.url,
        "ZPE_ENROLL_FILE": token,
        "ZPE_WORKER_MODE": "mock",
        "ZPE_WORK_DIR": tmp_path / "work",
    }
    file = tmp_path / "compute.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in worker.items()))
    return {"ZPE_ENV_FILE": file, "ZPE_PYTHON": sys.executable}


def submit(plane: ControlPlane) -> str:
    with plane.api() as api:
        body = {"content": h2(), "calc_mode": "new", "symmetry": False}
        return str(api.post("/calc/zpe/jobs", json=body).raise_for_status().json()["job_id"])


def status(plane: ControlPlane, job_id: str) -> dict[str, Any]:
    with plane.api() as api:
        return dict(api.get(f"/calc/zpe/jobs/{job_id}").raise_for_status().json())


def run_template(slurm: Slurm, batch: dict[str, object], minutes: int, tmp_path: Path) -> str:
    """Run the template as a job until it is over; return what it logged."""
    log = tmp_path / "batch.log"
    options = ["--wait", "--ntasks=1", f"--time={minutes}", f"--output={log}", f"--chdir={tmp_path}"]
    slurm.run("sbatch", *options, TEMPLATE, **batch)
    return log.read_text()


def test_batch_jobs_work_until_there_is_nothing_to_do(
    slurm: Slurm, control_plane: ControlPlane, batch: dict[str, object], tmp_path: Path
) -> None:
    job_id = submit(control_plane)
    assert "enrolled" in run_template(slurm, batch, 10, tmp_path)
    assert status(control_plane, job_id)["status"] == "finished"
    # The enroll token is used up, and the identity is kept.
    (tmp_path / "enroll-token").unlink()
    job_id = submit(control_plane)
    run_template(slurm, batch, 10, tmp_path)
    assert status(control_plane, job_id)["status"] == "finished"


def test_the_end_of_the_walltime_costs_no_attempt(
    slurm: Slurm, control_plane: ControlPlane, batch: dict[str, object], tmp_path: Path
) -> None:
    with Path(str(batch["ZPE_ENV_FILE"])).open("a") as file:
        file.write("ZPE_MOCK_SCF_SECONDS=3600\n")
    job_id = submit(control_plane)
    said = run_template(slurm, batch, 3, tmp_path)  # sbatch fails if Slurm had to kill it
    assert "the wall time is over" in said
    with control_plane.api() as api:
        detail = api.get(f"/calc/zpe/jobs/{job_id}/detail").raise_for_status().json()
        assert api.get("/calc/zpe/compute/leases").json()["leases"] == []
    assert detail["job"]["status"] == "queued"
    assert sum(task["attempts"] for task in detail["tasks"]) == 0


def test_a_dask_cluster_whose_nodes_slurm_starts_computes_a_job(
    slurm: Slurm, own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "scaling-out.md").read_text()
    (script,) = re.findall(r"^```python\n(from dask_jobqueue.*?)^```$", page, flags=re.M | re.S)
    port = free_port()
    here = {
        "cores=16": "cores=1",
        '"64GB"': '"500MB"',
        "8786": str(port),
        "ib0": "lo",
        '"module load quantum-espresso"': f'"cd {tmp_path}"',
        "maximum_jobs=8": "maximum_jobs=1",
    }
    for there, value in here.items():
        assert there in script
        script = script.replace(there, value)
    (tmp_path / "cluster.py").write_text(script)
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    env = environment(SLURM_CONF=slurm.folder / "slurm.conf", PATH=SEARCHED, TMPDIR=work_dir)
    cluster = Process(
        [sys.executable, "cluster.py"],
        tmp_path / "cluster.log",
        cwd=tmp_path,
        env=env,
        stdin=subprocess.PIPE,
    )
    wait_until(lambda: "R" in slurm.run("squeue", "-h", "-o", "%t").split())
    plane = own_control_plane()
    plane.worker(ZPE_EXECUTOR=f"dask://127.0.0.1:{port}", ZPE_SLOTS=1)
    job_id = submit(plane)
    wait_until(lambda: status(plane, job_id)["status"] in ("finished", "failed"))
    assert status(plane, job_id)["status"] == "finished"
    assert cluster.stdin is not None
    cluster.stdin.write(b"\n")
    cluster.stdin.close()
    cluster.wait()
    wait_until(lambda: not slurm.run("squeue", "-h"))
