"""Where an imaginary mode leads: the structures on both of its sides, relaxed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from zpe_sdk.errors import InputError
from zpe_sdk.result.data import ResultData
from zpe_sdk.result.differences import differences

R = TypeVar("R", bound=ResultData)
# Energies in eV that are as good as the same: relaxations end within it of their minimum.
SAME_EV = 1e-3


@dataclass(frozen=True, repr=False)
class Descent(Generic[R]):
    """What lies on the sides of a structure along a mode.

    Attributes
    ----------
    energies_ev
        Of each side, above the structure in between, in eV; below 0: it is lower.
    imaginary
        How many imaginary vibrations each side has.
    minimum
        The result of the lowest side that is lower by more than 1 meV and has no imaginary vibration; None:
        neither is.
    """

    energies_ev: tuple[float, ...]
    imaginary: tuple[int, ...]
    minimum: R | None

    @property
    def leads_down(self) -> bool:
        """Whether a lower minimum was found."""
        return self.minimum is not None

    def __repr__(self) -> str:
        sides = ", ".join(
            f"{1000 * energy:+.1f} meV with {count or 'no'} imaginary mode{'s' * (count != 1)}"
            for energy, count in zip(self.energies_ev, self.imaginary, strict=True)
        )
        found = "leads to a lower minimum" if self.leads_down else "no lower minimum"
        return f"<Descent: {found} (sides: {sides})>"


def descent(result: R, sides: Sequence[R]) -> Descent[R]:
    """Compare the relaxed sides of a mode with the structure between; see :class:`Descent`.

    Raises
    ------
    InputError
        ``not_comparable``: other atoms, or other physics.
    """
    documents = {"here": result.document} | {f"side {n}": side.document for n, side in enumerate(sides, 1)}
    if not sides or any(side.document.symbols != result.document.symbols for side in sides):
        raise InputError("give results of the same atoms", code="not_comparable", field="sides")
    if told := differences(documents):
        raise InputError(
            f"the sides were computed in another way: {'; '.join(told)}", code="not_comparable", field="sides"
        )
    energies = tuple(side.document.energy_ev - result.document.energy_ev for side in sides)
    imaginary = tuple(int(side.imaginary.sum()) for side in sides)
    lower = [(energy, n) for n, energy in enumerate(energies) if energy < -SAME_EV and not imaginary[n]]
    return Descent(energies, imaginary, sides[min(lower)[1]] if lower else None)
