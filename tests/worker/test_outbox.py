"""Letters survive whatever happens to the worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.worker.disk import full_disk
from zpe_sdk.wire import (
    FailedRequest,
    Fingerprint,
    JobPayload,
    LeaseReply,
    Task,
    TaskReport,
    TaskReportRequest,
)
from zpe_sdk.worker.outbox import Letter, Outbox, request_for
from zpe_sdk.worker.shares import Logbook, Share


def report(task: int, lease: str = "lease") -> Letter:
    return Letter(
        job_id="job",
        lease_id=lease,
        report=TaskReport(
            task=task,
            energy_ev=-31.4,
            forces_ev_ang=[(0.1, 0.2, 1 / 3)],
            fingerprint=Fingerprint(engine="mock", engine_version="1", physics="x"),
            scf_seconds=1.0,
        ),
    )


def failure(task: int) -> Letter:
    request = FailedRequest(lease_id="lease", error_code="pw_crashed", error_message="!", tasks=[task])
    return Letter(job_id="job", lease_id="lease", failure=request)


def test_letters_of_an_earlier_life_come_first_and_in_order(tmp_path: Path) -> None:
    before = Outbox(tmp_path)
    letters = [report(3), failure(1), report(2), Letter(job_id="job", lease_id="lease")]
    for letter in letters:
        before.put(letter)
    after = Outbox(tmp_path)  # the process was killed
    after.put(report(7, "new"))
    found = []
    while len(after):
        batch = after.first(10)
        found += batch
        after.remove(len(batch))
    assert found == [*letters, report(7, "new")]  # every digit of the forces included
    assert len(Outbox(tmp_path)) == 0


def test_reports_of_one_lease_travel_together_and_nothing_else_does(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for letter in (report(0), report(1), report(2), failure(3), report(4), report(5, "other")):
        outbox.put(letter)
    sizes = []
    while len(outbox):
        batch = outbox.first(2)
        sizes.append(len(batch))
        outbox.remove(len(batch))
    assert sizes == [2, 1, 1, 1, 1]
    request = request_for([report(0), report(1)])
    assert isinstance(request, TaskReportRequest)
    assert [r.task for r in request.reports] == [0, 1]


@pytest.mark.parametrize("garbage", [b"", b"{", b"\xff\xfe", b'{"job_id": "job"}', b"[]"])
def test_a_corrupt_letter_is_set_aside_and_blocks_nothing(garbage: bytes, tmp_path: Path) -> None:
    Outbox(tmp_path).put(report(0))
    (tmp_path / "00000000000000000000-000000.json").write_bytes(garbage)
    (tmp_path / ".half-written.json.new").write_bytes(garbage)
    outbox = Outbox(tmp_path)
    assert outbox.first(10) == [report(0)]
    assert [path.read_bytes() for path in (tmp_path / "aside").iterdir()] == [garbage]
    assert not (tmp_path / ".half-written.json.new").exists()


def test_a_full_disk_loses_no_letter_of_this_life_and_leaves_no_litter(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    with full_disk(), capture_logs() as logs:
        outbox.put(report(0))
    assert [entry["event"] for entry in logs] == ["a letter cannot be written; it waits in memory"]
    assert outbox.first(10) == [report(0)]
    assert [path.name for path in tmp_path.iterdir()] == ["aside"]


def test_what_ran_when_a_worker_died_has_failed_and_the_rest_goes_back(tmp_path: Path) -> None:
    share = Share.of(lease("lease-1", [2, 0, 1]))
    share.running.add(share.waiting.popleft().index)
    done = Share.of(lease("lease-2", []))
    before = Logbook(tmp_path / "leases")
    before.note(share)
    before.note(done)
    (tmp_path / "leases" / "lease-3.json").write_text("{")
    failed, released = Logbook(tmp_path / "leases").testament()
    assert failed.failure is not None
    assert failed.failure.tasks == [0]
    assert failed.failure.error_code == "worker_died"
    assert (released.kind, released.lease_id) == ("release", "lease-1")
    assert list(Logbook(tmp_path / "leases").testament()) == []


def test_a_note_that_was_never_finished_tells_nothing_and_goes(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path / "leases")
    share = Share.of(lease("lease-1", [0]))
    with full_disk(), capture_logs():
        logbook.note(share)
    assert list((tmp_path / "leases").iterdir()) == []
    (tmp_path / "leases" / ".lease-1.json.new").touch()  # the process was killed
    with capture_logs() as logs:
        assert list(Logbook(tmp_path / "leases").testament()) == []
    assert logs == []
    assert list((tmp_path / "leases").iterdir()) == []


def lease(name: str, tasks: list[int]) -> LeaseReply:
    payload = JobPayload(content="", mobile_indices=[0], delta=0.01, low_cut_cm=50, temperature=300)
    return LeaseReply(
        job_id="job",
        payload=payload,
        lease_id=name,
        lease_ttl_seconds=600,
        tasks=[Task(index=index) for index in tasks],
    )
