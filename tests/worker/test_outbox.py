"""Messages survive whatever happens to the worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.worker.disk import full_disk
from zpe_sdk.wire import (
    FailedRequest,
    Fingerprint,
    TaskReport,
    TaskReportRequest,
)
from zpe_sdk.worker.messages import OutboxMessage, request_for
from zpe_sdk.worker.outbox import Outbox


def report(task: int, lease: str = "lease") -> OutboxMessage:
    return OutboxMessage(
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


def failure(task: int) -> OutboxMessage:
    request = FailedRequest(lease_id="lease", error_code="pw_crashed", error_message="!", tasks=[task])
    return OutboxMessage(job_id="job", lease_id="lease", failure=request)


def test_messages_of_an_earlier_process_come_first_and_in_order(tmp_path: Path) -> None:
    before = Outbox(tmp_path)
    messages = [report(3), failure(1), report(2), OutboxMessage(job_id="job", lease_id="lease")]
    for message in messages:
        before.put(message)
    after = Outbox(tmp_path)  # the process was killed
    after.put(report(7, "new"))
    found = []
    while len(after):
        batch = after.first(10)
        found += batch
        after.remove(len(batch))
    assert found == [*messages, report(7, "new")]  # every digit of the forces included
    assert len(Outbox(tmp_path)) == 0


def test_reports_of_one_lease_travel_together_and_nothing_else_does(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for message in (report(0), report(1), report(2), failure(3), report(4), report(5, "other")):
        outbox.put(message)
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
def test_a_corrupt_message_is_set_aside_and_blocks_nothing(garbage: bytes, tmp_path: Path) -> None:
    Outbox(tmp_path).put(report(0))
    (tmp_path / "00000000000000000000-000000.json").write_bytes(garbage)
    (tmp_path / ".half-written.json.new").write_bytes(garbage)
    outbox = Outbox(tmp_path)
    assert outbox.first(10) == [report(0)]
    assert [path.read_bytes() for path in (tmp_path / "aside").iterdir()] == [garbage]
    assert not (tmp_path / ".half-written.json.new").exists()


def test_a_full_disk_loses_no_message_and_leaves_no_litter(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    with full_disk(), capture_logs() as logs:
        outbox.put(report(0))
    assert [entry["event"] for entry in logs] == ["a message cannot be written; it waits in memory"]
    assert outbox.first(10) == [report(0)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aside", "later"]
