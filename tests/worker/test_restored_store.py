"""A store that lost its jobs and gets them back: no SCF that was finished meanwhile is computed again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import redis

from tests.processes import ControlPlane, RedisServer, h2, wait_until
from zpe_sdk.wire import Fingerprint, TaskReport
from zpe_sdk.worker.messages import OutboxMessage
from zpe_sdk.worker.outbox import KEPT_SECONDS, Outbox

# All but tokens and workers, at one moment: what is begun meanwhile would be half in the backup.
BACK_UP_AND_LOSE = """
local kept = {}
for _, name in ipairs(redis.call('KEYS', '{zpe}:*')) do
  if not name:find(':token', 1, true) and not name:find(':worker', 1, true) then
    kept[#kept + 1] = { name, redis.call('DUMP', name) }
    redis.call('DEL', name)
  end
end
return kept
"""


def test_what_a_worker_finishes_while_its_job_is_unknown_counts_when_the_job_is_back(
    own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        # No lease expires here: what is delivered is delivered under the lease that was lost with the job.
        plane = own_control_plane(ZPE_REDIS_URL=server.url, ZPE_LEASE_TTL_SECONDS=3600)
        mock_log, go_on = plane.folder / "mock.log", plane.folder / "worker"
        plane.worker(ZPE_MOCK_SCF_SECONDS=1.0, ZPE_SLOTS=1, ZPE_MOCK_LOG=mock_log)
        with plane.api() as api, redis.Redis.from_url(server.url) as store:
            request = {"content": h2(), "symmetry": False, "calc_mode": "new"}
            job = api.post("/calc/zpe/jobs", json=request).raise_for_status().json()["job_id"]
            wait_until(lambda: mock_log.exists() and len(mock_log.read_text().splitlines()) >= 2)
            backup = store.eval(BACK_UP_AND_LOSE, 0)
            worker_log = go_on / "worker.log"
            wait_until(lambda: "offered again for a week" in worker_log.read_text())
            assert list((go_on / "outbox" / "later").glob("*.json"))
            # The next sweep marks the emptied store; by that, the one that comes back is known to be another.
            wait_until(lambda: bool(store.exists("{zpe}:epoch")))
            # All at once: what looks for work in half a store drops what the other half would explain.
            with store.pipeline(transaction=True) as back:
                for name, dump in backup:
                    back.restore(name, 0, dump, replace=True)
                back.execute()
            wait_until(lambda: api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "finished")
        computed = Counter(line.split()[1] for line in mock_log.read_text().splitlines())
        assert computed == dict.fromkeys(map(str, range(13)), 1)
        assert not list((go_on / "outbox" / "later").glob("*.json"))
    finally:
        server.kill()


def report(job: str, task: int, lease: str = "l") -> OutboxMessage:
    fingerprint = Fingerprint(engine="mock", engine_version="1", physics="x")
    done = TaskReport(
        task=task, energy_ev=-1.0, forces_ev_ang=[(0.1, 0, 0)], fingerprint=fingerprint, scf_seconds=1.0
    )
    return OutboxMessage(job_id=job, lease_id=lease, report=done)


def tasks(outbox: Outbox) -> list[int]:
    return [message.report.task for message in outbox.all() if message.report]


def test_results_wait_on_disk_and_are_known_to_later_leases(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for task in range(3):
        outbox.put(report("j", task))
    outbox.put(OutboxMessage(job_id="j", lease_id="l"))
    assert outbox.postpone(4) == 3
    assert len(outbox) == 0
    after_restart = Outbox(tmp_path)
    assert len(after_restart) == 0  # work goes on meanwhile
    assert tasks(after_restart) == [0, 1, 2]
    # Leased again before the old lease was found: it counts for the new one, once.
    after_restart.put(report("j", 1, lease="new"))
    assert after_restart.bring_back() == 2
    assert [(m.lease_id, m.again) for m in after_restart.all()] == [("new", False), ("l", True), ("l", True)]
    after_restart.remove(3)
    assert not list(tmp_path.rglob("*.json"))


def test_what_nobody_has_wanted_for_a_week_goes(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for task in range(2):
        outbox.put(report("j", task))
    outbox.postpone(2)
    old, new = sorted((tmp_path / "later").glob("*.json"))
    aged = int(old.name[:20]) - int((KEPT_SECONDS + 60) * 1e9)
    old.rename(old.with_name(f"{aged:020d}{old.name[20:]}"))
    outbox = Outbox(tmp_path)
    outbox.bring_back()
    assert tasks(outbox) == [1]
    assert [path.name for path in tmp_path.rglob("*.json")] == [new.name]
