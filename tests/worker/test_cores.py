"""How SCFs share a machine's cores."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from zpe_sdk.errors import ComputeError
from zpe_sdk.worker.engines.cores import (
    CorePool,
    available_cores,
    available_memory_gb,
    memory_free_gb,
    ranks_for,
)


def test_only_cores_this_process_may_use_are_counted() -> None:
    allowed = os.sched_getaffinity(0)
    one = min(allowed)
    os.sched_setaffinity(0, {one})
    try:
        assert available_cores() == [one]
    finally:
        os.sched_setaffinity(0, allowed)
    assert set(available_cores()) <= allowed


def test_free_memory_is_the_machines_or_what_its_container_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zpe_sdk.worker.engines.cores.CGROUP", tmp_path)  # no limit
    free = memory_free_gb()
    assert free is not None
    assert 0 < free < available_memory_gb()
    # 2 GB at most, of which 1.9 are in use, 0.1 GB of that by files that nobody needs in memory.
    numbers = {"max": "2000000000", "current": "1900000000", "stat": "anon 1\ninactive_file 100000000"}
    for name, text in numbers.items():
        (tmp_path / f"memory.{name}").write_text(f"{text}\n")
    assert memory_free_gb() == 0.2
    assert available_memory_gb() == 2.0


@pytest.mark.parametrize("cores", [1, 2, 6, 16, 64])
def test_small_cells_run_on_one_core_and_large_ones_on_a_divisor(cores: int) -> None:
    molecule, slab = np.eye(3) * 8.0, np.diag([11.0, 11.0, 30.0])
    assert ranks_for(molecule, 240.0, cores) == 1
    ranks = ranks_for(slab, 400.0, cores)
    assert cores % ranks == 0
    assert ranks > 1 or cores == 1
    assert ranks_for(np.eye(3) * 60.0, 400.0, cores) == cores


def test_a_large_scf_is_not_starved_by_small_ones() -> None:
    pool, never = CorePool([0, 1]), Event()
    order: list[str] = []
    waits = Event()

    def large() -> None:
        waits.set()
        with pool.take(2, never) as cores:
            order.append("large")
            assert sorted(cores) == [0, 1]

    def small() -> None:
        with pool.take(1, never):
            order.append("small")

    with pool.take(1, never):
        first = Thread(target=large)
        first.start()
        waits.wait()
        while len(pool._waiting) < 1:  # the large one stands in line
            pass
        second = Thread(target=small)
        second.start()
        while len(pool._waiting) < 2:
            pass
        assert order == []  # a core is free, but it is the large one's turn
    first.join()
    second.join()
    assert order == ["large", "small"]


def test_waiting_for_cores_ends_on_request_and_others_go_on() -> None:
    pool, stop = CorePool([0]), Event()
    with pool.take(1, Event()):
        stop.set()
        with pytest.raises(ComputeError) as caught, pool.take(1, stop):
            pass
        assert caught.value.code == "stopped"
    with pool.take(5, Event()) as cores:  # more than there are: all
        assert cores == [0]


def test_who_may_use_more_cores_gets_those_that_are_free() -> None:
    pool, never = CorePool([0, 1, 2]), Event()
    with pool.take(1, never) as first, pool.take(1, never, most=8) as others:
        assert sorted([*first, *others]) == [0, 1, 2]
    with pool.take(1, never, most=2) as cores:
        assert len(cores) == 2
