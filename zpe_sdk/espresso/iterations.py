"""How far an SCF is while it runs: its iterations, as pw.x tells of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from zpe_sdk.espresso.fortran import real
from zpe_sdk.espresso.process import Listener, Output


@dataclass(frozen=True)
class Iteration:
    """One iteration of an SCF that runs.

    Attributes
    ----------
    number
        Its number, from 1 on.
    accuracy_ry
        What pw.x estimates that the energy still lacks, in Ry; the SCF ends below ``conv_thr``.
    """

    number: int
    accuracy_ry: float


_NUMBER = re.compile(r"^ +iteration # *(\d{1,9})\b")
_ACCURACY = re.compile(r"^ +estimated scf accuracy +< +(\d\S*) Ry")


def tell_iterations(on_iteration: Callable[[Iteration], None]) -> Listener:
    """Return a listener for the output of pw.x that calls a function at the end of each iteration."""
    number = 0

    def listen(line: str, _: Output) -> None:
        nonlocal number
        if found := _NUMBER.match(line):
            number = int(found[1])
        elif number and (found := _ACCURACY.match(line)) and math.isfinite(accuracy := real(found[1])):
            on_iteration(Iteration(number, accuracy))
            number = 0  # hybrids tell the accuracy of all electrons once more

    return listen
