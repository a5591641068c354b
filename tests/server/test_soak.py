"""Nothing piles up: a short run of the benchmark that measures it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak import soak


def test_after_their_retention_jobs_leave_no_trace(tmp_path: Path) -> None:
    levels, problems = soak(tmp_path, rounds=2, jobs=40)
    assert "keys are left over" not in problems, levels
