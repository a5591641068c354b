"""Control planes on a Redis Cluster of three masters, which keeps all their keys on one of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.processes import ZPE, ControlPlane, Process, environment, free_port, h2, wait_until
from zpe_server.store import PREFIX

TOKEN = "a" * 32
SLOTS = (range(5461), range(5461, 10923), range(10923, 16384))


@dataclass
class Node:
    """A Redis in cluster mode."""

    port: int
    bus: int
    process: Process

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}/0"

    def ask(self, *command: object) -> str:
        """Send a command; return the answer as text."""
        with redis.Redis.from_url(self.url, decode_responses=True) as connection:
            return str(connection.execute_command(*command))

    def answers(self) -> bool:
        """Tell whether it does."""
        try:
            return self.ask("CLUSTER", "MYID") != ""
        except redis.RedisError:
            return False

    def knows(self, count: int) -> bool:
        """Tell whether all slots are served, and it knows so many nodes."""
        info = self.ask("CLUSTER", "INFO").split()
        return {"cluster_state:ok", f"cluster_known_nodes:{count}"} <= set(info)

    def replication(self, name: str) -> str:
        """Return what it says of its own replication."""
        with redis.Redis.from_url(self.url, decode_responses=True) as connection:
            return str(connection.info("replication").get(name))


def start_node(folder: Path) -> Node:
    port, bus = free_port(), free_port()
    folder.mkdir()
    options = {"port": port, "cluster-port": bus, "bind": "127.0.0.1", "dir": ".", "save": ""}
    options |= {"cluster-enabled": "yes", "appendonly": "yes", "set-proc-title": "no"}
    arguments = [str(part) for name, value in options.items() for part in (f"--{name}", value)]
    process = Process(["redis-server", *arguments], folder / "redis.log", cwd=folder)
    node = Node(port, bus, process)
    wait_until(node.answers)
    return node


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Node]]:
    """Three masters, first the one that gets the keys of control planes, and a replica of that one."""
    started = [start_node(tmp_path / f"node{number}") for number in range(4)]
    for node, slots in zip(started, SLOTS, strict=False):
        node.ask("CLUSTER", "ADDSLOTSRANGE", slots.start, slots.stop - 1)
        node.ask("CLUSTER", "MEET", "127.0.0.1", started[-1].port, started[-1].bus)
    wait_until(lambda: all(node.knows(4) for node in started))
    slot = int(started[0].ask("CLUSTER", "KEYSLOT", PREFIX))
    (owner,) = (node for node, slots in zip(started, SLOTS, strict=False) if slot in slots)
    replica = started[-1]
    replica.ask("CLUSTER", "REPLICATE", owner.ask("CLUSTER", "MYID"))
    wait_until(lambda: replica.replication("master_link_status") == "up")
    yield [owner, *(node for node in started if node not in (owner, replica)), replica]
    for node in started:
        if node.process.poll() is None:
            node.process.kill()
        node.process.wait()


def finish_a_job(submitted_to: ControlPlane, seen_by: ControlPlane) -> None:
    body = {"content": h2(), "calc_mode": "new"}
    with submitted_to.api() as api, seen_by.api() as other:
        job_id = api.post("/calc/zpe/jobs", json=body).raise_for_status().json()["job_id"]

        def ended() -> bool:
            reply = other.get(f"/calc/zpe/jobs/{job_id}")
            return reply.status_code == 200 and reply.json()["status"] in ("finished", "failed")

        wait_until(ended)
        assert other.get(f"/calc/zpe/jobs/{job_id}").json()["status"] == "finished"


def is_ready(plane: ControlPlane) -> bool:
    with plane.api() as api:
        return api.get("/readyz").status_code == 200


def test_any_node_will_do_and_the_keys_may_move_to_another(
    nodes: list[Node], own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    owner, other, third, replica = nodes
    one, two = (own_control_plane(ZPE_REDIS_URL=node.url, ZPE_ADMIN_TOKEN=TOKEN) for node in (owner, other))
    one.admin_token = two.admin_token = TOKEN
    two.worker()
    finish_a_job(one, seen_by=two)
    finish_a_job(two, seen_by=one)

    env = environment(ZPE_REDIS_URL=third.url, ZPE_ADMIN_TOKEN=TOKEN, ZPE_DEFAULT_ENGINE="mock")
    command = [ZPE, "export", str(tmp_path / "all.gz"), "--json"]
    exported = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert json.loads(exported.stdout)["jobs"] == 2
    doctor = subprocess.run([ZPE, "doctor", "--server"], env=env, capture_output=True, text=True)
    assert "on this Redis, with these settings" in doctor.stdout

    owner.process.kill()
    owner.process.wait()
    replica.ask("CLUSTER", "FAILOVER", "TAKEOVER")
    wait_until(lambda: is_ready(two))
    finish_a_job(two, seen_by=two)


@pytest.mark.parametrize("command", [["serve"], ["rq-worker"], ["doctor", "--server"]])
def test_rq_is_not_let_loose_on_a_cluster(command: list[str], tmp_path: Path) -> None:
    node = start_node(tmp_path / "node")
    try:
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: node.knows(1))
        env = environment(
            ZPE_REDIS_URL=node.url,
            ZPE_ADMIN_TOKEN=TOKEN,
            ZPE_COMPUTE_MODE="remote-queue",
            ZPE_WORKER_MODE="mock",
            ZPE_WORK_DIR=tmp_path / "work",
        )
        found = subprocess.run(
            [ZPE, *command], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
    finally:
        node.process.kill()
        node.process.wait()
    assert found.returncode != 0
    assert "RQ cannot work on a Redis Cluster" in found.stdout + found.stderr
