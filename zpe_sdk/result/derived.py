"""The fields of a result that an analysis of its Hessian decides, at first and again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.result.data import ResultData
from zpe_sdk.result.thermo import check_temperature
from zpe_sdk.vibrations.analysis import Analysis, Settings, analyse, with_warnings_of
from zpe_sdk.vibrations.kinds import counted_modes
from zpe_sdk.wire import Expect, ZPEResultDocument
from zpe_sdk.wire.jobs import MAX_CUTOFF_CM

Array = NDArray[np.float64]

_REEVALUATED = "re-evaluated from the Hessian: masses, cutoff or temperature are not those of the job"
_OUTDATED = (
    "re-evaluated from the Hessian: an earlier version did not tell all motions of the whole from vibrations"
)
# Above this, in eV, two zero-point energies are not the same: half of a mode of 2 cm⁻¹.
_SAME_ZPE = 1e-4


def derived_fields(analysis: Analysis) -> dict[str, Any]:
    """Return the fields of a result document that an analysis decides, by name.

    Its warnings and checks are not among them: a document has others beside these.
    """
    modes, heat = analysis.modes, analysis.thermodynamics
    return {
        "freqs_cm": modes.frequencies_cm.tolist(),
        # Rounded: they are for arrows and animations, and as many numbers as the Hessian has.
        "modes": [
            [(x, y, z) for x, y, z in mode] for mode in (np.round(modes.displacements, 6) + 0.0).tolist()
        ],
        "mode_kinds": list(modes.kinds),
        "imaginary_modes": np.flatnonzero(analysis.imaginary).tolist(),
        "ir_intensities_km_mol": None
        if analysis.ir_intensities is None
        else analysis.ir_intensities.tolist(),
        "point_group": analysis.irreps and analysis.irreps.point_group,
        "irreps": analysis.irreps and analysis.irreps.names,
        "masses": analysis.structure.masses.tolist(),
        "low_cut_cm": analysis.settings.low_cut_cm,
        "temperature": analysis.settings.temperature,
        "zpe_ev": heat.zpe_ev,
        "s_vib_jmol_k": heat.entropy_jmol_k,
        "u_vib_ev": heat.internal_energy_ev,
        "f_vib_ev": heat.free_energy_ev,
        "cv_jmol_k": heat.heat_capacity_jmol_k,
    }


def evaluated_again(
    document: ZPEResultDocument,
    *,
    masses: Array | None = None,
    low_cut_cm: float | None = None,
    temperature: float | None = None,
    expect: Expect | None = None,
) -> ZPEResultDocument:
    """Return what the same Hessian gives with other masses, cutoff, temperature or expectation.

    None: as they are.

    Parameters
    ----------
    document
        The result until now.
    masses
        Of the mobile atoms in u, shape (M,).
    low_cut_cm
        In cm⁻¹.
    temperature
        In K.
    expect
        What the structure is to be.

    Raises
    ------
    InputError
        ``bad_masses``, ``bad_cutoff`` or ``bad_temperature``.
    """
    before = np.array(document.masses)
    weights = before if masses is None else masses
    cutoff = document.low_cut_cm if low_cut_cm is None else low_cut_cm
    kelvin = document.temperature if temperature is None else temperature
    if not isinstance(cutoff, Real) or isinstance(cutoff, bool) or not 0 <= cutoff <= MAX_CUTOFF_CM:
        raise InputError(
            f"the cutoff is a number from 0 to {MAX_CUTOFF_CM:g} cm⁻¹",
            code="bad_cutoff",
            field="low_cut_cm",
        )
    check_temperature(kelvin)
    analysis = analyse(
        np.array(document.hessian),
        replace(ResultData(document).structure, masses=weights),
        Settings(cutoff, kelvin, saddle=(expect or document.expect) == "saddle"),
        tensors=None if document.born_charges is None else np.array(document.born_charges),
    )
    warnings = with_warnings_of(analysis, document.warnings)
    same_masses = np.array_equal(weights, before)
    if not same_masses or (cutoff, kelvin) != (document.low_cut_cm, document.temperature):
        warnings = [_REEVALUATED, *(told for told in warnings if told != _REEVALUATED)]
    counted_before = counted_modes(document.freqs_cm, document.mode_kinds, document.low_cut_cm)
    checks = dict(document.checks)
    if not same_masses or not np.array_equal(analysis.counted, counted_before):
        checks = _without_error(checks)
    told = {"warnings": warnings, "checks": checks, "expect": expect or document.expect}
    return document.model_copy(update={**derived_fields(analysis), **told})


def up_to_date(document: ZPEResultDocument) -> ZPEResultDocument:
    """Return a result, or what its Hessian gives if other modes were counted in it."""
    now = evaluated_again(document)
    same_kinds = Counter(now.mode_kinds) == Counter(document.mode_kinds)
    if same_kinds and abs(now.zpe_ev - document.zpe_ev) < _SAME_ZPE:
        return document
    return now.model_copy(
        update={"warnings": [_OUTDATED, *now.warnings], "checks": _without_error(now.checks)}
    )


def _without_error(checks: dict[str, Any]) -> dict[str, Any]:
    # How noise spreads over the Hessian is known to the plan only, and that is not in the result.
    return {**checks, "zpe_error_ev": None}
