"""How the SCFs of a job are brought to convergence: settings by kind of system.

Kinds are told apart by the occupations and spins that the input asks for, and by the gap that the
equilibrium shows. With a gap, charge does not slosh around, few iterations are left to save, and the
densities decide. A metal's slab has many states at many k-points, so that diagonalisation takes most of the
time and wave functions are worth keeping. What each setting is worth is measured in docs/engine.md.

All of this concerns the way to convergence alone, never the equations. What the input itself says stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from ase import Atoms
from ase.data import atomic_numbers

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.vacuum import repeating

DEFAULT_CONV_THR = 1e-6  # pw.x's own
# Ry for each atom, since errors of the energy add up over the cell and those of single forces do not; and
# never less than FEWEST_ATOMS' worth. What pw.x estimates is an energy, in which the forces on stiff
# molecules and beside a d or f shell weigh little, and the magnetisation less.
GAP, D_METAL, MAGNET, FEWEST_ATOMS = 2.5e-12, 1.25e-12, 1e-13, 4
# Ry for the cell, however large: the slow modes of a heavy adsorbate ask for more than those of hydrogen.
SP_METAL = 1e-10
OPEN_EV = 0.5  # a gap above this is one, whatever the displacements do to it

# Of how many times the states Davidson's method keeps vectors. pw.x's own 2 has it begin anew before the
# eigenvalues are as good as the density, which costs iterations of both.
_DIAGONALISATION = {"diago_david_ndim": 4}
_SHELLS = (range(21, 31), range(39, 49), range(57, 81), range(89, 113))  # by atomic number

_Keys = Mapping[str, object]


class Near(Enum):
    """How near to its end an SCF starts."""

    SCRATCH = "from atoms"
    NEIGHBOUR = "from another structure of the job"
    EXTRAPOLATED = "from the equilibrium and the opposite displacement"


@dataclass(frozen=True)
class Recipe:
    """The settings of a job's SCFs.

    Attributes
    ----------
    conv_thr
        Threshold in Ry: tight enough for the forces, or the input's own where that is tighter.
    enough
        The input's own: an SCF that does not come below ``conv_thr`` counts if it comes below this.
    wave_functions
        Whether to start from those of other SCFs too, not from densities alone.
    waits
        Whether displaced SCFs wait for the equilibrium that runs.
    """

    conv_thr: float
    enough: float
    wave_functions: bool
    waits: bool
    _keys: _Keys
    _by_start: Mapping[Near, _Keys]
    _given: _Keys

    def electrons(self, near: Near) -> dict[str, object]:
        """Return keys of ``&ELECTRONS`` for an SCF, as far as the input leaves them open."""
        return {"conv_thr": self.conv_thr, **self.mixing(near)}

    def mixing(self, near: Near) -> dict[str, object]:
        """Return the same without the threshold."""
        keys = {**self._keys, **self._by_start[near]}
        return {key: value for key, value in keys.items() if key not in self._given}


@lru_cache(maxsize=32)
def recipe(pw_input: PwInput, gap_ev: float | None = None) -> Recipe:
    """Return the settings for an input.

    Parameters
    ----------
    pw_input
        The job's input.
    gap_ev
        The band gap that the equilibrium has shown, once it has: smearing may have been asked for out of
        caution.
    """
    given = pw_input.namelists.get("electrons", {})
    system = pw_input.namelists["system"]
    own = given.get("conv_thr")
    wanted = float(own) if isinstance(own, int | float) else DEFAULT_CONV_THR
    atoms = max(FEWEST_ATOMS, len(pw_input.labels))
    fixed = str(system.get("occupations", "fixed")).strip().lower() in ("fixed", "from_input")
    magnetic = system.get("nspin") in (2, 4) or bool(system.get("noncolin"))
    if fixed or (not magnetic and gap_ev is not None and gap_ev > OPEN_EV):
        return Recipe(
            conv_thr=min(wanted, GAP * atoms),
            enough=wanted,
            wave_functions=False,
            # From scratch, a slab takes twice the iterations of one that starts near, and leaves more noise.
            waits=not fixed or _repeats(pw_input),
            # With pw.x's 8, Broyden mixing stalls on what it remembers of long ago; its beta of 0.7 is as
            # good where the start is near.
            _keys={"mixing_ndim": 4, **_DIAGONALISATION},
            _by_start={
                Near.SCRATCH: {"mixing_beta": 0.8},
                # pw.x's own 1e-5 would spoil a good density, which costs an iteration or two.
                Near.NEIGHBOUR: {"diago_thr_init": 1e-7},
                Near.EXTRAPOLATED: {"diago_thr_init": 1e-9},
            },
            _given=given,
        )
    shells = _has_d_or_f(pw_input)
    threshold = MAGNET * atoms if magnetic else D_METAL * atoms if shells else SP_METAL
    near: dict[str, object] = {"diago_thr_init": 1e-5}
    if not magnetic and not shells and not {"mixing_mode", "mixing_beta"} & set(given):
        # Where the atom's density has moved along, what is left to do is to screen, as free electrons do.
        near |= {"mixing_mode": "local-TF", "mixing_beta": 1.0}
    return Recipe(
        conv_thr=min(wanted, threshold),
        enough=wanted,
        wave_functions=_may_share(pw_input),
        waits=True,
        # With spins it takes two thirds of the iterations. Without, from scratch, as many, and each longer.
        _keys={**({"mixing_mode": "local-TF"} if magnetic else {}), **_DIAGONALISATION},
        _by_start={Near.SCRATCH: {}, Near.NEIGHBOUR: near, Near.EXTRAPOLATED: near},
        _given=given,
    )


def _repeats(pw_input: PwInput) -> bool:
    """Tell whether it is a slab, a chain or a crystal, and no molecule."""
    return bool(repeating(Atoms(pw_input.symbols, pw_input.positions, cell=pw_input.cell, pbc=True)).any())


def _has_d_or_f(pw_input: PwInput) -> bool:
    """Tell whether an element has a d or f shell among its valence electrons, one just filled included."""
    numbers = {atomic_numbers[symbol] for symbol in pw_input.symbols}
    return any(number in shell for number in numbers for shell in _SHELLS)


def _may_share(pw_input: PwInput) -> bool:
    """Tell whether an SCF may start from wave functions; symmetry turns spinors in ways not written here."""
    own = str(pw_input.namelists.get("electrons", {}).get("startingwfc", "file")).strip().lower()
    return own == "file" and not pw_input.namelists["system"].get("noncolin")
