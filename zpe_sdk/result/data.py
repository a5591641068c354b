"""The data of a result, with numpy arrays."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.units import invcm
from numpy.typing import NDArray

from zpe_sdk.result.atoms import atoms_of
from zpe_sdk.vibrations.analysis import Structure
from zpe_sdk.vibrations.assignment import assign_modes
from zpe_sdk.vibrations.kinds import counted_modes, imaginary_modes
from zpe_sdk.vibrations.symmetry import Operation
from zpe_sdk.wire import ZPEResultDocument

Array = NDArray[np.float64]


class ResultData:
    """What is stored of a finished job: frequencies, Hessian, modes, masses and structure.

    Attributes
    ----------
    document
        The whole result as the control plane keeps it, with settings, timings and provenance.
    """

    def __init__(self, document: ZPEResultDocument) -> None:
        self.document = document

    @property
    def zpe_ev(self) -> float:
        """Zero-point energy in eV: half the sum of the vibrations above ``document.low_cut_cm``."""
        return self.document.zpe_ev

    @property
    def frequencies_cm(self) -> Array:
        """Wavenumbers in cm⁻¹, ascending, shape (3M,); imaginary modes are negative."""
        return np.array(self.document.freqs_cm)

    @property
    def energies_ev(self) -> Array:
        """Quanta hν of the modes in eV, shape (3M,); imaginary modes are negative."""
        return self.frequencies_cm * float(invcm)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which modes zero-point energy and thermochemistry sum: vibrations above the cut, shape (3M,)."""
        return counted_modes(self.document.freqs_cm, self.document.mode_kinds, self.document.low_cut_cm)

    @property
    def imaginary(self) -> NDArray[np.bool_]:
        """Along which modes the energy falls: the imaginary vibrations, shape (3M,)."""
        return imaginary_modes(self.document.freqs_cm, self.document.mode_kinds)

    @property
    def hessian(self) -> Array:
        """Second derivatives of the energy by the mobile atoms' positions in eV/Å², shape (3M, 3M)."""
        return np.array(self.document.hessian)

    @property
    def modes(self) -> Array:
        """Cartesian displacements of the mobile atoms, each mode normalised to 1, shape (3M, M, 3)."""
        return np.array(self.document.modes)

    @property
    def masses(self) -> Array:
        """Masses of the mobile atoms in u, shape (M,)."""
        return np.array(self.document.masses)

    @property
    def dipole(self) -> Array | None:
        """Dipole moment of the equilibrium in e Å, shape (3,); None without dipoles.

        Of a charged molecule it is about the centre of mass, of a slab the component along the normal.
        """
        dipole = self.document.dipole_e_ang
        return None if dipole is None else np.array(dipole)

    @property
    def born_charges(self) -> Array | None:
        """Atomic polar tensors in e, shape (M, 3, 3): ∂μ_a/∂x_b in row a, column b; None without dipoles."""
        charges = self.document.born_charges
        return None if charges is None else np.array(charges)

    @property
    def ir_intensities(self) -> Array | None:
        """Infrared intensities of the modes in km/mol, shape (3M,); None without dipoles.

        Those of motions of the whole are 0. Of a slab only the dipole along the normal counts.
        """
        intensities = self.document.ir_intensities_km_mol
        return None if intensities is None else np.array(intensities)

    @property
    def point_group(self) -> str | None:
        """Point group of structure, cell and k-points, as ``"C2v"``; None where no symmetry was used.

        Operations that take an atom to another isotope are not among its operations.
        """
        return self.document.point_group

    @property
    def irreps(self) -> list[str | None] | None:
        """Irreducible representation of each mode, as ``"B2"``; None where no symmetry was used.

        That of a mode is None if it mixes several, which modes of the same wavenumber may do.
        """
        return self.document.irreps

    @property
    def assignments(self) -> list[str]:
        """What moves in each mode, in words: ``"O–H stretch, antisymmetric, 100 %"``."""
        s = self.structure
        return assign_modes(
            s.symbols,
            s.positions,
            s.cell,
            s.mobile,
            self.hessian,
            self.modes,
            self.document.mode_kinds,
        )

    @property
    def structure(self) -> Structure:
        """The atoms as the analysis of the Hessian takes them."""
        d = self.document
        return Structure(
            d.symbols,
            np.array(d.positions),
            np.array(d.cell),
            d.mobile_indices,
            self.masses,
            [Operation(o.rotation, tuple(o.permutation)) for o in d.symmetry_operations],
        )

    @property
    def atoms(self) -> Atoms:
        """The structure of all atoms (positions and cell in Å), with the masses of the calculation in u.

        It has the flags and initial magnetic moments of the input: submitted again with the same options, it
        is computed with the same physics.
        """
        d = self.document
        atoms = atoms_of(d.symbols, d.positions, d.cell, d.pw_input)
        masses = atoms.get_masses()
        masses[d.mobile_indices] = d.masses
        atoms.set_masses(masses)
        return atoms
