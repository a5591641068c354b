"""What people see while they wait."""

from __future__ import annotations

import re

import pytest

from zpe_sdk.client.progress import Bar, duration, time_left
from zpe_sdk.wire import JobStatus, Progress


def status(job: str, done: int, total: int, **more: object) -> JobStatus:
    at = "2026-03-31T12:00:00+00:00"
    fields = {"status": "started", "updated_at": at, "created_at": at, "name": job} | more
    return JobStatus(job_id=job, progress=Progress(done=done, total=total), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (89, "89 s"), (120, "2 min"), (5000, "83 min"), (3 * 3600, "3 h"), (100 * 3600, "4 d")],
)
def test_a_duration_is_as_exact_as_an_estimate(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_time_left_follows_from_what_was_seen_to_end() -> None:
    assert time_left(new=0, left=7, seconds=100.0) == ""
    assert time_left(new=2, left=4, seconds=60.0) == "about 2 min left"
    assert time_left(new=7, left=0, seconds=60.0) == ""


def test_one_bar_counts_the_scfs_of_all_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(shown=True, jobs=3) as bar:
        bar.show(status("one", 6, 7))
        bar.show(status("two", 0, 7, status="queued", detail="no worker has enrolled yet"))
        bar.show(status("three", 7, 7, status="failed"))
        bar.show(status("one", 7, 7, status="finished"))
    shown = capsys.readouterr().err.split("\r")[-1]
    assert "3 jobs" in shown
    assert "14/21 SCFs" in shown
    assert "2 of 3 jobs over, 1 failed, no worker has enrolled yet" in shown
    # No rate: SCFs that were there before the first look took no time.
    assert not re.search(r"\d ?SCF/s|s/SCF|it/s", shown)


def test_what_was_there_before_is_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(shown=True, jobs=2) as bar:
        bar.show(status("one", 6, 7))
        bar.show(status("two", 6, 7))
    assert "left" not in capsys.readouterr().err
