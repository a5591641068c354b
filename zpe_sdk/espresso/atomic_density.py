"""Atoms' own densities, added to the density an SCF starts from.

When an atom moves, most of its electrons go along. The density of the equilibrium knows nothing of that:
beside a metal the ion's charge, left alone by its electrons, makes a dipole that the whole slab answers to,
and many iterations go into taking that back. So the free atom's density is taken away where the atom was and
added where it is:

    ρ ← ρ(0) + ρ_atom(r - R - d) - ρ_atom(r - R)

and where ρ(-d) is extrapolated from ρ(0) and ρ(d), what is extrapolated is what differs from moving along:

    ρ ← 2ρ(0) - ρ(d) + ρ_atom(r - R + d) + ρ_atom(r - R - d) - 2ρ_atom(r - R)

pw.x extrapolates so between the steps of a relaxation (D. Alfè, Comput. Phys. Commun. 118, 31 (1999)). The
density of the atom is the one in its pseudopotential (PP_RHOATOM: 4π r² ρ(r) in electrons per bohr), with

    ρ_atom(G) = 1/Ω ∫ 4π r² ρ(r) sin(Gr)/(Gr) dr.

Its occupations of augmentation charges belong to the atom and go along by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from ase.units import Bohr
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.interpolate import CubicSpline

from zpe_sdk.espresso.plane_waves import PlaneWaves, find, readable

Array = NDArray[np.float64]

_RADIUS = 10.0  # bohr, beyond which pw.x itself takes no atom's density into account
_STEP = 0.02  # 1/bohr, of the table over |G|


@dataclass(frozen=True)
class AtomicDensity:
    """The density of a free atom by its pseudopotential.

    Attributes
    ----------
    radii
        In bohr, shape (n,).
    electrons
        4π r² ρ(r) in electrons per bohr, shape (n,).
    """

    radii: Array
    electrons: Array

    def transform(self, lengths: Array) -> Array:
        """Return ∫ 4π r² ρ(r) sin(Gr)/(Gr) dr, in electrons, for lengths of G in 1/bohr."""
        table = np.arange(0.0, float(lengths.max()) + 2 * _STEP, _STEP)
        waves = np.sinc(np.outer(table, self.radii) / np.pi)
        values: Array = CubicSpline(table, trapezoid(waves * self.electrons, self.radii, axis=1))(lengths)
        return values


@lru_cache(maxsize=16)
def read(path: Path) -> AtomicDensity:
    """Read the density of a free atom from a pseudopotential file of UPF 1 or 2.

    Raises
    ------
    ValueError
        The file has none.
    """
    text = path.read_text(errors="replace")
    radii, electrons = (_numbers(text, tag) for tag in ("PP_R", "PP_RHOATOM"))
    count = min(len(radii), len(electrons), int(np.searchsorted(radii, _RADIUS)))
    return AtomicDensity(radii[:count], electrons[:count])


def add(save: Path, atom: AtomicDensity, places: Sequence[tuple[float, Array]]) -> bool:
    """Add an atom's density to the one in a ``.save`` folder.

    Parameters
    ----------
    save
        The folder an SCF starts from.
    atom
        Its density.
    places
        How many times, and where in Å.

    Returns
    -------
    bool
        False, and nothing is changed, if the density cannot be read.
    """
    if not readable(save):
        return False
    file = find(save)
    try:
        density = PlaneWaves.read(file)
    except (OSError, ValueError, KeyError):
        return False
    vectors = density.millers @ density.lattice
    volume = (2 * np.pi) ** 3 / abs(np.linalg.det(density.lattice))
    form = atom.transform(np.linalg.norm(vectors, axis=1)) / volume
    density.rows[0] += form * sum(weight * np.exp(-1j * (vectors @ (at / Bohr))) for weight, at in places)
    density.write(file)
    return True


def _numbers(text: str, tag: str) -> Array:
    found = re.search(rf"<{tag}\b[^>]*>(.*?)</{tag}>", text, re.DOTALL)
    if found is None:
        raise ValueError(f"no {tag}")
    return np.array(found[1].split(), dtype=np.float64)
