"""The result of a job, with numpy arrays, and what follows from it without another SCF."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from ase import Atoms
from ase.units import invcm
from numpy.typing import NDArray
from pydantic import ValidationError

from zpe_sdk.errors import ComputeError, InputError
from zpe_sdk.vibrations.kinds import mode_kinds
from zpe_sdk.vibrations.modes import (
    heat_capacity,
    internal_energy,
    normal_modes,
    vibrational_entropy,
    zero_point_energy,
)
from zpe_sdk.vibrations.result import J_PER_MOL_K_IN_EV, freqs_csv, summary_text
from zpe_sdk.wire import ZPEResultDocument

if TYPE_CHECKING:
    from ase.vibrations import VibrationsData

Array = NDArray[np.float64]


class ZPEResult:
    """Zero-point energy, frequencies and Hessian of a finished job.

    Attributes
    ----------
    document
        The whole result as the control plane keeps it, with settings, timings and provenance.
    """

    def __init__(self, document: ZPEResultDocument) -> None:
        self.document = document

    @classmethod
    def from_dict(cls, result: Mapping[str, Any]) -> Self:
        """Read a result document.

        Raises
        ------
        ComputeError
            ``result_incomplete``: it lacks fields, e.g. because an old worker made it.
        """
        try:
            return cls(ZPEResultDocument.model_validate(result))
        except ValidationError as error:
            fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}) or [
                "result"
            ]
            raise ComputeError(
                f"the result lacks or misstates {', '.join(fields)}; its summary and CSV can still be had",
                code="result_incomplete",
                field=fields[0],
            ) from None

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        InputError
            ``bad_json``; ComputeError as for :meth:`from_dict`.
        """
        try:
            return cls.from_dict(json.loads(text))
        except ValueError as error:
            raise InputError(f"this is no JSON: {error}", code="bad_json", field="text") from None

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the document as JSON."""
        return self.document.model_dump_json(indent=indent)

    @property
    def zpe_ev(self) -> float:
        """Zero-point energy in eV: half the sum of the modes above ``document.low_cut_cm``."""
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
    def atoms(self) -> Atoms:
        """The structure, with the masses of the calculation."""
        d = self.document
        atoms = Atoms(d.symbols, d.positions, cell=d.cell, pbc=True)
        masses = atoms.get_masses()
        masses[d.mobile_indices] = d.masses
        atoms.set_masses(masses)
        return atoms

    def to_ase(self) -> VibrationsData:
        """Return the Hessian as ASE's VibrationsData, for its thermochemistry, spectra and mode files."""
        # Half a second of imports (matplotlib among them) that nothing else here needs.
        from ase.vibrations import VibrationsData

        return VibrationsData.from_2d(self.atoms, self.hessian, indices=self.document.mobile_indices)

    def summary(self) -> str:
        """Return the result as a text for people."""
        return summary_text(self.document)

    def freqs_csv(self) -> str:
        """Return one line per mode, as CSV with a header."""
        return freqs_csv(self.document)

    def reevaluated(
        self,
        *,
        masses: Mapping[str, float] | Sequence[float] | None = None,
        low_cut_cm: float | None = None,
        temperature: float | None = None,
    ) -> Self:
        """Return the result for other masses, cutoff or temperature, from the same Hessian.

        Parameters
        ----------
        masses
            In u: by chemical symbol (``{"H": 2.0141}`` for deuterium), or one per mobile atom.
        low_cut_cm
            Modes below this wavenumber are left out of ZPE and thermochemistry.
        temperature
            In K.

        Raises
        ------
        InputError
            ``bad_masses``, ``bad_temperature`` or ``bad_cutoff``.
        """
        d = self.document
        chosen = self._masses(masses)
        cutoff = d.low_cut_cm if low_cut_cm is None else low_cut_cm
        kelvin = d.temperature if temperature is None else temperature
        if not cutoff >= 0:
            raise InputError("the cutoff must not be negative", code="bad_cutoff", field="low_cut_cm")
        if not kelvin > 0:
            raise InputError("the temperature must be above 0 K", code="bad_temperature", field="temperature")
        modes = normal_modes(self.hessian, chosen)
        kinds = d.mode_kinds
        if len(d.mobile_indices) == len(d.symbols):
            order = d.mobile_indices
            positions = np.array(d.positions)[order]
            kinds = list(mode_kinds(modes.eigenvectors, chosen, positions, np.array(d.cell)))
        real = modes.frequencies_cm[modes.frequencies_cm > cutoff]
        entropy, energy = vibrational_entropy(real, kelvin), internal_energy(real, kelvin)
        return type(self)(
            d.model_copy(
                update={
                    "masses": chosen.tolist(),
                    "low_cut_cm": cutoff,
                    "temperature": kelvin,
                    "freqs_cm": modes.frequencies_cm.tolist(),
                    "modes": modes.displacements.tolist(),
                    "mode_kinds": kinds,
                    "imaginary_modes": np.flatnonzero(modes.frequencies_cm < 0).tolist(),
                    "zpe_ev": zero_point_energy(real),
                    "s_vib_jmol_k": entropy,
                    "u_vib_ev": energy,
                    "f_vib_ev": energy - kelvin * entropy / J_PER_MOL_K_IN_EV,
                    "cv_jmol_k": heat_capacity(real, kelvin),
                    "warnings": ["re-evaluated; the warnings below are those of the job", *d.warnings],
                }
            )
        )

    def _masses(self, given: Mapping[str, float] | Sequence[float] | None) -> Array:
        if given is None:
            return self.masses
        if not isinstance(given, Mapping):
            return np.array(given, dtype=np.float64)
        symbols = [self.document.symbols[i] for i in self.document.mobile_indices]
        if absent := set(given) - set(symbols):
            raise InputError(
                f"no mobile atom is of {', '.join(sorted(absent))}", code="bad_masses", field="masses"
            )
        return np.array([given.get(s, mass) for s, mass in zip(symbols, self.document.masses, strict=True)])

    def __repr__(self) -> str:
        d = self.document
        imaginary = f", {len(d.imaginary_modes)} imaginary" if d.imaginary_modes else ""
        formula = self.atoms.get_chemical_formula()
        return f"<ZPEResult {formula}: ZPE {d.zpe_ev:.6f} eV, {len(d.freqs_cm)} modes{imaginary}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.summary())}</pre>"
