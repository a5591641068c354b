"""Numbers as people write them."""

from __future__ import annotations

from collections.abc import Iterable


def ranges(numbers: Iterable[int]) -> str:
    """Return whole numbers in ascending order, neighbours together: ``0, 3-5``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def numbered(tasks: Iterable[int]) -> str:
    """Return the numbers of tasks as people count them, from 1 on: ``1-3, 5``."""
    return ranges(task + 1 for task in tasks)
