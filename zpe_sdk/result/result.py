"""The result of a job, with numpy arrays, and what follows from it without another SCF."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from ase import Atoms

from zpe_sdk.errors import ComputeError, InputError
from zpe_sdk.result import tables
from zpe_sdk.result.comparison import Comparison, compared
from zpe_sdk.result.derived import evaluated_again, up_to_date
from zpe_sdk.result.descent import Descent, descent
from zpe_sdk.result.document import from_text, validated
from zpe_sdk.result.masses import chosen_masses
from zpe_sdk.result.moves import mode_moves
from zpe_sdk.result.relaxation import Relaxation
from zpe_sdk.result.shown import ShownResult
from zpe_sdk.result.thermo import LOW_CM, Model, Thermochemistry, thermochemistry
from zpe_sdk.result.turning import Bonds
from zpe_sdk.vibrations.oscillators import LowModes
from zpe_sdk.wire import Expect, ZPEResultDocument

if TYPE_CHECKING:
    from pandas import DataFrame


class ZPEResult(ShownResult):
    """Zero-point energy, frequencies and Hessian of a finished job.

    Attributes
    ----------
    document
        The whole result as the control plane keeps it, with settings, timings and provenance.
    """

    @classmethod
    def from_dict(cls, result: Mapping[str, Any]) -> Self:
        """Read a result document.

        Earlier versions counted motions of the whole above the cut. Their documents are evaluated again, from
        the Hessian, and a warning says so.

        Raises
        ------
        ComputeError
            ``result_incomplete``: it lacks fields, e.g. because an old worker made it, or they contradict one
            another.
        """
        document = validated(ZPEResultDocument, result)
        try:
            return cls(up_to_date(document))
        except (InputError, ValueError, LookupError) as error:
            raise ComputeError(
                f"the fields of the result do not fit together: {error}",
                code="result_incomplete",
                field="result",
            ) from None

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        InputError
            ``bad_json``, or ``result_incomplete``: it is JSON, but not all of a result.
        """
        return from_text(cls.from_dict, text)

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the document as JSON."""
        return self.document.model_dump_json(indent=indent)

    @property
    def relaxation(self) -> Relaxation | None:
        """The relaxation that came first, of which ``atoms`` are the last structure; None: there was none."""
        record = self.document.relaxation
        return None if record is None else Relaxation(record, self.atoms, mock=self.document.is_mock)

    def thermo(
        self,
        temperature: float | None = None,
        pressure: float = 1e5,
        model: Model = "harmonic",
        *,
        symmetry_number: int | None = None,
        spin: float | None = None,
        degeneracy: int | None = None,
        low_modes: LowModes = "harmonic",
        cut_cm: float = LOW_CM,
        free_rotors: Bonds = (),
    ) -> Thermochemistry:
        """Return energies (eV) and entropy (J/(mol K)) at a temperature and pressure.

        Parameters
        ----------
        temperature
            In K; default: that of the result.
        pressure
            In Pa; for the ideal gas.
        model
            ``"harmonic"``: the vibrations above ``document.low_cut_cm``, as for an adsorbate.
            ``"ideal_gas"``: a free molecule, its translation and rotation included. ``"quasi_harmonic"``: all
            vibrations, those below ``cut_cm`` raised to it (Ribeiro et al., J. Phys. Chem. B 115, 14556
            (2011)).
        symmetry_number
            Of the ideal gas; default: counted from the structure.
        spin
            Total electronic spin of the ideal gas: 0.5 for a radical, 1 for O₂. Default: half the total
            magnetisation that pw.x found, or the input asks for; 0 without spin polarisation.
        degeneracy
            Electronic degeneracy of the ideal gas in place of 2S + 1: 4 for OH, as a rough measure of its ²Π.
        low_modes
            Vibrations of a few wavenumbers have an entropy without bound: ``"truhlar"`` raises those below
            the cut to it, ``"grimme"`` lets their entropy go over into that of a free rotor (quasi-RRHO;
            Chem. Eur. J. 18, 9955 (2012)). Both count all real vibrations, those below
            ``document.low_cut_cm`` too.
        cut_cm
            In cm⁻¹.
        free_rotors
            Groups that turn freely about a bond, in place of the vibration that is this rotation: pairs of
            bonded atoms, of which what hangs on the first turns about the bond to the second. It is
            ``[(0, 1)]`` for the methyl group of a methanol whose atoms begin with C and O. Moments of inertia
            and symmetry numbers (3 for methyl) are found from the structure.

        Notes
        -----
        Of a transition state (:meth:`expecting`) the one imaginary vibration is left out. Of what is to be a
        minimum the harmonic models leave out any, with a warning, and the ideal gas may have none.
        :class:`zpe_sdk.Hindered` is the model of an adsorbate that slides and turns.

        Raises
        ------
        InputError
            ``bad_temperature``, ``bad_pressure``, ``bad_model``, ``bad_spin``, ``bad_symmetry_number``,
            ``bad_cutoff``, ``bad_rotor``, ``no_molecule``, ``no_saddle_point``, or ``mode_not_real``.
        """
        kelvin = self.document.temperature if temperature is None else temperature
        return thermochemistry(
            self,
            kelvin,
            pressure,
            model,
            symmetry_number=symmetry_number,
            spin=spin,
            degeneracy=degeneracy,
            low_modes=low_modes,
            cut_cm=cut_cm,
            free_rotors=free_rotors,
        )

    def thermo_table(
        self, temperatures: Iterable[float], pressure: float = 1e5, model: Model = "harmonic", **options: Any
    ) -> DataFrame:
        """Return the thermochemistry at several temperatures as a pandas table; needs pandas.

        Parameters
        ----------
        temperatures
            In K, such as ``range(300, 1001, 100)``.
        pressure, model, **options
            As of :meth:`thermo`.

        Returns
        -------
        pandas.DataFrame
            By temperature: ZPE, U, H and G (F for solids) in eV, S and the heat capacity (Cp of a gas, Cv of
            solids) in J/(mol K), and ``energy_ev`` + G.
        """
        return tables.thermo_table([self.thermo(t, pressure, model, **options) for t in temperatures])

    def with_masses(self, masses: Mapping[int | str, float | str] | Sequence[float]) -> Self:
        """Return the result for other isotopes, from the same Hessian: no SCF is run.

        Parameters
        ----------
        masses
            By atom (from 0) or by chemical symbol: an isotope (``"D"``, ``"T"``, ``"13C"``, ``"18O"``, …) or
            a mass in u; ``{"H": "D"}`` for heavy water, ``{1: "D"}`` for HDO. An atom's own entry goes before
            that of its symbol, and an element that no mobile atom is of changes nothing. Or one mass in u per
            mobile atom.

        Raises
        ------
        InputError
            ``bad_masses``.
        """
        chosen = chosen_masses(masses, self.document)
        return type(self)(evaluated_again(self.document, masses=chosen))

    def with_cutoff(self, low_cut_cm: float) -> Self:
        """Return the result with vibrations below another wavenumber (in cm⁻¹) left out.

        Raises
        ------
        InputError
            ``bad_cutoff``.
        """
        return type(self)(evaluated_again(self.document, low_cut_cm=low_cut_cm))

    def at(self, temperature: float) -> Self:
        """Return the result at another temperature in K.

        Raises
        ------
        InputError
            ``bad_temperature``.
        """
        return type(self)(evaluated_again(self.document, temperature=temperature))

    def expecting(self, what: Expect) -> Self:
        """Return the result of a structure that is to be a ``"minimum"``, or a ``"saddle"`` point.

        At a saddle point (of first order: a transition state) one imaginary vibration is no alarm, and
        thermochemistry leaves it out; any other number of them is.

        Raises
        ------
        InputError
            ``bad_choice``.
        """
        if what not in ("minimum", "saddle"):
            raise InputError(f"{what!r}: give 'minimum' or 'saddle'", code="bad_choice", field="what")
        return type(self)(evaluated_again(self.document, expect=what))

    def displaced(self, mode: int = 0, amplitude: float = 0.1) -> Atoms:
        """Return the structure moved along a mode, with its flags and initial magnetic moments.

        Parameters
        ----------
        mode
            From 0, or from the end if negative; the imaginary ones come first.
        amplitude
            Of the atom that moves most, in Å; below 0 the other way.

        Raises
        ------
        InputError
            ``bad_mode``.
        """
        atoms, moves = self.atoms, mode_moves(self, mode)
        moves *= amplitude / np.linalg.norm(moves, axis=1).max()
        atoms.set_positions(atoms.positions + moves, apply_constraint=False)
        return atoms

    def descent(self, sides: Iterable[ZPEResult]) -> Descent[ZPEResult]:
        """Tell whether what :meth:`zpe_sdk.ZPEClient.follow` found is a lower minimum.

        Parameters
        ----------
        sides
            The results of its jobs.

        Raises
        ------
        InputError
            ``not_comparable``: their energies are of another physics than this one's.
        """
        return descent(self, list(sides))

    def compare(self, other: ZPEResult) -> Comparison:
        """Compare this result with another one: energies, modes, and how the two were computed.

        Parameters
        ----------
        other
            Of the same atoms (in the same order, turned or shifted as they may be) if modes are to be
            compared: another functional, cutoff, isotope, or a repetition.

        Raises
        ------
        InputError
            ``bad_result``: it is something else than a result of vibrations.
        """
        if not isinstance(other, ZPEResult):
            raise InputError(
                f"give another result of vibrations, not {type(other).__name__}",
                code="bad_result",
                field="other",
            )
        return compared(self, other)

    def __repr__(self) -> str:
        d = self.document
        count = int(self.imaginary.sum())
        imaginary = f", {count} imaginary" if count else ""
        formula = self.atoms.get_chemical_formula()
        mock = "MOCK " if d.is_mock else ""
        return f"<ZPEResult {mock}{formula}: ZPE {d.zpe_ev:.6f} eV, {len(d.freqs_cm)} modes{imaginary}>"

    def _repr_html_(self) -> str:
        # JupyterLab breaks the lines of plain <pre> in the middle of words.
        return f'<pre style="white-space: pre-wrap; word-break: normal">{escape(self.summary())}</pre>'
