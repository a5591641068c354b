"""The results of jobs without vibrations: a single energy, or a relaxed structure."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from zpe_sdk.result.atoms import atoms_of
from zpe_sdk.result.document import from_text, validated
from zpe_sdk.result.relaxation import Relaxation
from zpe_sdk.result.structure_text import structure_csv, structure_summary
from zpe_sdk.wire import EnergyDocument, RelaxationDocument

Array = NDArray[np.float64]
D = TypeVar("D", EnergyDocument, RelaxationDocument)


class StructureResult(Generic[D]):
    """A structure with its energy and forces.

    Attributes
    ----------
    document
        The whole result as the control plane keeps it, with settings, timings and provenance.
    """

    _model: ClassVar[type[EnergyDocument | RelaxationDocument]]

    def __init__(self, document: D) -> None:
        self.document: D = document

    @classmethod
    def from_dict(cls, result: Mapping[str, Any]) -> Self:
        """Read a result document.

        Raises
        ------
        ComputeError
            ``result_incomplete``: it lacks fields, or is of another kind of job.
        """
        return cls(validated(cls._model, result))  # type: ignore[arg-type]  # each class has its own

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        InputError
            ``bad_json`` or ``result_incomplete``.
        """
        return from_text(cls.from_dict, text)

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the document as JSON."""
        return self.document.model_dump_json(indent=indent)

    @property
    def energy_ev(self) -> float:
        """Energy in eV, as pw.x counts it: compare only energies of the same pseudopotentials."""
        return self.document.energy_ev

    @property
    def forces(self) -> Array:
        """Forces in eV/Å, shape (nat, 3)."""
        return np.array(self.document.forces_ev_ang)

    @property
    def atoms(self) -> Atoms:
        """The structure, with its energy and forces, and the flags and initial moments of the input.

        Submitted again with the same options, it is computed with the same physics.
        """
        d = self.document
        atoms = atoms_of(d.symbols, d.positions, d.cell, d.pw_input)
        atoms.calc = SinglePointCalculator(
            atoms, energy=d.energy_ev, forces=self.forces, magmom=d.total_magnetization
        )
        return atoms

    @property
    def total_magnetization(self) -> float | None:
        """In Bohr magnetons per cell; None without spin."""
        return self.document.total_magnetization

    @property
    def absolute_magnetization(self) -> float | None:
        """The integral of its magnitude, in Bohr magnetons per cell; None without spin."""
        return self.document.absolute_magnetization

    @property
    def dipole(self) -> Array | None:
        """Dipole moment in e Å, shape (3,); None of crystals, relaxations, and where it is not known."""
        dipole = self.document.dipole_e_ang
        return None if dipole is None else np.array(dipole)

    @property
    def warnings(self) -> list[str]:
        """What is to be known before the numbers are used."""
        return self.document.warnings

    def summary(self) -> str:
        """Return the result as a text for people."""
        return structure_summary(self.document)

    def to_csv(self) -> str:
        """Return one line per step, in eV and eV/Å, as CSV with a header."""
        return structure_csv(self.document)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._named()}: {self.energy_ev:.6f} eV>"

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap; word-break: normal">{escape(self.summary())}</pre>'

    def _named(self) -> str:
        mock = "MOCK " if self.document.is_mock else ""
        return f"{mock}{self.atoms.get_chemical_formula()}"


class EnergyResult(StructureResult[EnergyDocument]):
    """Energy and forces of a structure: the result of ``client.energy(…)``.

    Attributes
    ----------
    document
        The whole result as the control plane keeps it, with settings, timings and provenance.
    """

    _model = EnergyDocument


class RelaxationResult(Relaxation, StructureResult[RelaxationDocument]):
    """A relaxed structure and the way to it: the result of ``client.relax(…)``.

    Energy, forces and ``atoms`` are those of the last structure.

    Attributes
    ----------
    document
        The whole result as the control plane keeps it, with settings, timings and provenance.
    """

    _model = RelaxationDocument

    def __init__(self, document: RelaxationDocument) -> None:
        StructureResult.__init__(self, document)
        Relaxation.__init__(self, document.relaxation, self.atoms, mock=document.is_mock)

    def __repr__(self) -> str:
        return f"<RelaxationResult {self._named()}: {self.energy_ev:.6f} eV, {self._told()}>"
