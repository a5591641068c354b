"""The model of the time of an SCF, against what was measured and what must be."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

import pytest

from zpe_sdk.worker.engines.layout import Work, most_ranks_for, pools_for, relative_time

# CO on 2x2 Al(111), three layers: 25/200 Ry, 5.6 x 5.6 x 17.7 Å.
SLAB = Work(points=640_000, planes=150, kpoints=3)
TINY = Work(points=30_000, planes=90, kpoints=4)


def published() -> dict[tuple[str, str], list[tuple[Work, int, int, float]]]:
    """Return by system and machine what there is to do, ranks, pools, and the seconds of an iteration."""
    found = defaultdict(list)
    with Path(__file__).with_name("pw_scaling.csv").open() as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            planes, seconds = int(row["planes"]), float(row["seconds"]) / int(row["iterations"])
            work = Work(points=planes**3, planes=planes, kpoints=int(row["kpoints"]))
            found[row["system"], row["machine"]].append((work, int(row["ranks"]), int(row["pools"]), seconds))
    return found


@pytest.mark.parametrize("where", published(), ids=" on ".join)
def test_times_on_many_ranks_are_those_that_others_have_published(where: tuple[str, str]) -> None:
    rows = published()[where]
    ratios = [relative_time(work, ranks, pools) / seconds for work, ranks, pools, seconds in rows]
    # The seconds of one rank alone, which nobody has measured.
    scale = math.exp(sum(map(math.log, ratios)) / len(ratios))
    assert [ratio / scale for ratio in ratios] == pytest.approx([1.0] * len(rows), rel=0.36)


@pytest.mark.parametrize("where", published(), ids=" on ".join)
def test_of_published_pools_the_model_prefers_the_fastest(where: tuple[str, str]) -> None:
    by_ranks = defaultdict(list)
    for work, ranks, pools, seconds in published()[where]:
        by_ranks[ranks].append((relative_time(work, ranks, pools), seconds))
    for times in by_ranks.values():
        _, preferred = min(times)
        assert preferred <= 1.1 * min(seconds for _, seconds in times)


def test_two_pools_for_three_k_points_are_slower_by_as_much_as_was_measured() -> None:
    # On two ranks, the SCF took 45 s in two pools and 35 s in one.
    assert relative_time(SLAB, 2, 2) / relative_time(SLAB, 2, 1) == pytest.approx(45 / 35, rel=0.1)
    assert pools_for(SLAB, 2) == 1


def test_two_ranks_take_the_time_that_was_measured() -> None:
    # H2 in 8 Å: 1.35 s alone, 0.75 s on two ranks without the start of MPI.
    molecule = Work(points=75**3, planes=75)
    assert relative_time(molecule, 2, 1) == pytest.approx(0.75 / 1.35, rel=0.05)


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
