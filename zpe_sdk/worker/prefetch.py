"""How many tasks to ask for: no slot waits for the network, no worker sits on what others could run."""

from __future__ import annotations

# Work for so long is kept at hand, so that a slot need not wait for the network between short SCFs.
AHEAD_SECONDS = 2.0
MAX_TASKS_PER_SLOT = 64


class Prefetch:
    """The measured time of an SCF, and what follows from it.

    Attributes
    ----------
    scf_seconds
        What an SCF takes on average; None before the first.
    """

    def __init__(self) -> None:
        self.scf_seconds: float | None = None

    def measured(self, seconds: float) -> None:
        """Take account of an SCF; recent ones weigh most, since jobs differ."""
        old = self.scf_seconds
        self.scf_seconds = seconds if old is None else (old + seconds) / 2

    def target(self, side_by_side: int) -> int:
        """Return how many tasks to have on hand, waiting and running, if so many SCFs run side by side.

        Long SCFs are fetched one by one as slots fall idle, so that no worker sits on what another could
        run; short ones in batches, the next before the last is used up.
        """
        seconds = self.scf_seconds
        ahead = 0 if seconds is None else int(side_by_side * AHEAD_SECONDS / max(seconds, 1e-3))
        return min(side_by_side + ahead, side_by_side * MAX_TASKS_PER_SLOT)

    def wanted(self, on_hand: int, side_by_side: int) -> int:
        """Return how many tasks to ask for with ``on_hand`` of them there; see :meth:`target`."""
        target = self.target(side_by_side)
        low = max(side_by_side - 1, target // 2)
        return target - on_hand if on_hand <= low else 0
