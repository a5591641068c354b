"""How fast a worker gets through its work: how much to ask for, and what still fits into the wall time."""

from __future__ import annotations

import time

# Work for so long is kept at hand, so that a slot need not wait for the network between short SCFs.
AHEAD_SECONDS = 2.0
MAX_TASKS_PER_SLOT = 64
# Of the wall time, kept to end pw.x, to report and to hand leases back.
CLOSING_SECONDS = 10.0


class Pace:
    """Measured SCF times and what follows from them.

    Parameters
    ----------
    max_seconds
        Wall time from now on; None: no end.
    """

    def __init__(self, max_seconds: float | None = None) -> None:
        self._scf_seconds: float | None = None
        self._ends: float | None = None
        if max_seconds is not None:
            self._ends = time.monotonic() + max_seconds - min(CLOSING_SECONDS, max_seconds / 10)

    def measured(self, seconds: float) -> None:
        """Take account of an SCF; recent ones weigh most, since jobs differ."""
        old = self._scf_seconds
        self._scf_seconds = seconds if old is None else (old + seconds) / 2

    def target(self, side_by_side: int) -> int:
        """Return how many tasks to have on hand, waiting and running, if so many SCFs run side by side.

        Long SCFs are fetched one by one as slots fall idle, so that no worker sits on what another could
        run; short ones in batches, the next before the last is used up.
        """
        seconds = self._scf_seconds
        ahead = 0 if seconds is None else int(side_by_side * AHEAD_SECONDS / max(seconds, 1e-3))
        return min(side_by_side + ahead, side_by_side * MAX_TASKS_PER_SLOT)

    def wanted(self, on_hand: int, side_by_side: int) -> int:
        """Return how many tasks to ask for with ``on_hand`` of them there; see :meth:`target`."""
        target = self.target(side_by_side)
        low = max(side_by_side - 1, target // 2)
        return target - on_hand if on_hand <= low else 0

    def fits(self) -> bool:
        """Tell whether an SCF of average length would end in time."""
        return self._ends is None or time.monotonic() + (self._scf_seconds or 0.0) < self._ends

    def time_is_up(self) -> bool:
        """Tell whether what still runs must be stopped."""
        return self._ends is not None and time.monotonic() >= self._ends
