"""What a worker's journal tells the next one."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.worker.disk import full_disk
from zpe_sdk.worker.held import Entry
from zpe_sdk.worker.journal import Journal


def test_the_next_worker_finds_what_ran_under_the_leases_that_were_held(tmp_path: Path) -> None:
    before = Journal(tmp_path)
    before.note(Entry("job", "lease-1", [0]))
    before.note(Entry("job", "lease-1", [0, 2]))
    before.note(Entry("job", "lease-2", []))
    before.note(Entry("job", "lease-3", [1]))
    before.strike("lease-3")
    before.strike("lease-4")
    assert list(Journal(tmp_path).entries()) == [Entry("job", "lease-1", [0, 2]), Entry("job", "lease-2", [])]


def test_the_entries_of_a_worker_of_an_earlier_version_are_understood(tmp_path: Path) -> None:
    (tmp_path / "l1.json").write_text('{"job_id": "j", "lease_id": "l1", "running": [3, 4]}')
    assert list(Journal(tmp_path).entries()) == [Entry("j", "l1", [3, 4])]


@pytest.mark.parametrize(
    "garbage", ["", "{", "[]", '{"job_id": "j"}', '{"job_id": "j", "lease_id": "../l", "running": []}']
)
def test_an_entry_that_cannot_be_read_is_removed_and_the_others_are_kept(
    garbage: str, tmp_path: Path
) -> None:
    journal = Journal(tmp_path)
    journal.note(Entry("job", "lease-1", [0]))
    (tmp_path / "lease-2.json").write_text(garbage)
    assert list(journal.entries()) == [Entry("job", "lease-1", [0])]
    assert [path.name for path in tmp_path.iterdir()] == ["lease-1.json"]


def test_an_entry_that_was_never_finished_tells_nothing_and_goes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with full_disk(), capture_logs():
        journal.note(Entry("job", "lease-1", [0]))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".lease-1.json.new").touch()  # the process was killed
    with capture_logs() as logs:
        assert list(Journal(tmp_path).entries()) == []
    assert logs == []
    assert list(tmp_path.iterdir()) == []
