"""Motions of a free molecule or crystal as a whole, and the modes that count in a zero-point energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
ModeKind = Literal["translation", "rotation", "vibration"]

# A molecule is linear if its smallest moment of inertia is below this share of its largest. One that was
# relaxed ends a little off the line; its third rotation would be a bending mode.
LINEAR_SHARE = 1e-3


def counted_modes(frequencies_cm: ArrayLike, kinds: Sequence[str], low_cut_cm: float) -> Mask:
    """Return which modes zero-point energy, entropy and all that goes with them sum: the one rule for it.

    Counted are vibrations above the cut; motions of the whole never are, whatever their wavenumber.

    Parameters
    ----------
    frequencies_cm
        Wavenumbers in cm⁻¹, shape (3M,); imaginary modes are negative.
    kinds
        Of each mode, see :class:`zpe_sdk.vibrations.modes.Modes`.
    low_cut_cm
        In cm⁻¹.
    """
    counted: Mask = vibrations(kinds) & (np.asarray(frequencies_cm) > low_cut_cm)
    return counted


def imaginary_modes(frequencies_cm: ArrayLike, kinds: Sequence[str]) -> Mask:
    """Return along which modes the energy falls: the imaginary vibrations, shape (3M,).

    A motion of the whole is imaginary as often as not, from the grid, the box or a force that is left.
    """
    imaginary: Mask = vibrations(kinds) & (np.asarray(frequencies_cm) < 0)
    return imaginary


def vibrations(kinds: Sequence[str]) -> Mask:
    """Return which modes are vibrations, shape (3M,)."""
    return np.array([kind == "vibration" for kind in kinds], dtype=np.bool_)


def external_motions(masses: Array, molecule: Array | None) -> Array:
    """Return the motions of atoms as a whole, of which all are mobile.

    Parameters
    ----------
    masses
        In u, shape (N,).
    molecule
        Positions in Å of a molecule in one piece, shape (N, 3); None: the atoms repeat, and do not rotate.

    Returns
    -------
    numpy.ndarray
        Orthonormal mass-weighted vectors, shape (3, 3N), (5, 3N) or (6, 3N): the three translations, then
        the rotations. A linear molecule has two of these, an atom none.

    Notes
    -----
    √m times a shift, or times a turn about the centre of mass: the conditions of Eckart, Phys. Rev. 47, 552
    (1935); E. B. Wilson, J. C. Decius, P. C. Cross, *Molecular Vibrations* (1955), chapter 2.
    """
    translations: Array = np.tile(np.eye(3), len(masses)) * np.repeat(np.sqrt(masses / masses.sum()), 3)
    if molecule is None:
        return translations
    from_centre = molecule - masses @ molecule / masses.sum()
    turned = np.cross(np.eye(3)[:, None], from_centre[None])
    rotations = (turned * np.sqrt(masses)[:, None]).reshape(3, -1)
    # Squared, the lengths are the principal moments of inertia: about its axis a linear molecule has no
    # rotation, and an atom has none at all.
    _, lengths, about_axes = np.linalg.svd(rotations, full_matrices=False)
    kept = about_axes[(lengths > 0) & (lengths**2 >= LINEAR_SHARE * lengths[0] ** 2)]
    return np.vstack([translations, kept])


def linear_axis(molecule: Array, external: Array) -> Array | None:
    """Return the direction of a linear molecule, a unit vector; None if it is bent, or an atom.

    Parameters
    ----------
    molecule
        Its positions in Å, in one piece, shape (N, 3).
    external
        Its motions as a whole, see :func:`external_motions`.
    """
    if len(external) != 5:
        return None
    axis: Array = np.linalg.svd(molecule - molecule.mean(axis=0))[2][0]
    return axis
