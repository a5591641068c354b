"""How many tasks a worker asks for."""

from __future__ import annotations

from zpe_sdk.worker.pace import Pace


def test_long_scfs_are_fetched_only_for_idle_slots() -> None:
    pace = Pace()
    assert pace.wanted(0, 4) == 4  # nothing measured yet
    pace.measured(600.0)
    assert [pace.wanted(on_hand, 4) for on_hand in (0, 3, 4, 5)] == [4, 1, 0, 0]


def test_short_scfs_travel_in_bounded_batches_fetched_ahead() -> None:
    pace = Pace()
    pace.measured(0.5)
    assert pace.wanted(0, 2) == 10  # 2 slots, 2 s, 0.5 s each, and what runs
    assert pace.wanted(5, 2) == 5
    assert pace.wanted(6, 2) == 0
    pace.measured(0.0)
    pace.measured(0.0)
    for _ in range(20):
        pace.measured(0.0)
    assert pace.wanted(0, 2) == 128


def test_nothing_is_begun_that_would_not_end_in_time() -> None:
    pace = Pace(max_seconds=3600)
    assert pace.fits()
    pace.measured(3000)
    assert pace.fits()
    pace.measured(5000)
    assert not pace.fits()  # 4000 s on average
    assert not pace.time_is_up()
    assert Pace(max_seconds=1e-6).time_is_up()
