"""The model of the time of an SCF, against what was measured and what must be."""

from __future__ import annotations

import pytest

from zpe_sdk.worker.engines.layout import Work, most_ranks_for, pools_for, relative_time

# CO on 2x2 Al(111), three layers: 25/200 Ry, 5.6 x 5.6 x 17.7 Å.
SLAB = Work(points=640_000, planes=150, kpoints=3)
TINY = Work(points=30_000, planes=90, kpoints=4)


def test_two_pools_for_three_k_points_are_slower_by_as_much_as_was_measured() -> None:
    # On two ranks, the SCF took 45 s in two pools and 35 s in one.
    assert relative_time(SLAB, 2, 2) / relative_time(SLAB, 2, 1) == pytest.approx(45 / 35, rel=0.1)
    assert pools_for(SLAB, 2) == 1


def test_k_points_are_shared_out_evenly_first() -> None:
    assert pools_for(TINY, 2) == 2
    assert pools_for(TINY, 4) == 4
    assert pools_for(Work(points=640_000, planes=150, kpoints=5), 15) == 5
    assert pools_for(Work(points=640_000, planes=150, kpoints=1), 8) == 1


def test_ranks_end_where_they_would_be_idle() -> None:
    assert most_ranks_for(TINY, 128) == 4
    assert most_ranks_for(Work(points=30_000, planes=90), 128) == 1
    assert most_ranks_for(SLAB, 2) == 2
    large = Work(points=20_000_000, planes=400, kpoints=8)
    many = most_ranks_for(large, 128)
    assert 32 <= many <= 128
    assert relative_time(large, many, pools_for(large, many)) * many <= 2
