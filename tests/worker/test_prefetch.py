"""How many tasks a worker asks for."""

from __future__ import annotations

from zpe_sdk.worker.prefetch import Prefetch


def test_long_scfs_are_fetched_only_for_idle_slots() -> None:
    prefetch = Prefetch()
    assert prefetch.wanted(0, 4) == 4  # nothing measured yet
    prefetch.measured(600.0)
    assert [prefetch.wanted(on_hand, 4) for on_hand in (0, 3, 4, 5)] == [4, 1, 0, 0]


def test_short_scfs_travel_in_bounded_batches_fetched_ahead() -> None:
    prefetch = Prefetch()
    prefetch.measured(0.5)
    assert prefetch.wanted(0, 2) == 10  # 2 slots, 2 s, 0.5 s each, and what runs
    assert prefetch.wanted(5, 2) == 5
    assert prefetch.wanted(6, 2) == 0
    prefetch.measured(0.0)
    prefetch.measured(0.0)
    for _ in range(20):
        prefetch.measured(0.0)
    assert prefetch.wanted(0, 2) == 128
