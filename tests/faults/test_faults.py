"""A short schedule of kills, as ``python -m benchmarks.faults`` runs long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import report, run


@pytest.mark.timeout(1800)
def test_nothing_is_lost_or_computed_again_whatever_is_killed(tmp_path: Path) -> None:
    outcome = run(jobs=120, kills=8, seed=7, folder=tmp_path / "site", pace=0.8)
    assert not outcome.problems, report(outcome) + "\n" + "\n".join(outcome.problems)
    assert sum(outcome.ends.values()) == 120
    assert outcome.ends["scf_not_converged"] > 0
    assert outcome.ends["bad_input"] > 0
