"""Tables for pandas: many results, one at many temperatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zpe_sdk.result.data import ResultData
from zpe_sdk.result.plots import needs_pandas
from zpe_sdk.result.thermo import Thermochemistry, gas_thermochemistry, thermochemistry
from zpe_sdk.vibrations.kinds import vibrations

if TYPE_CHECKING:
    from pandas import DataFrame

    from zpe_sdk.result.kinds import AnyResult
    from zpe_sdk.result.structure import EnergyResult, RelaxationResult

_OF_A_MODE = (
    "wavenumber_cm",
    "energy_mev",
    "kind",
    "counted",
    "imaginary",
    "ir_intensity_km_mol",
    "irrep",
    "motion",
)


def as_table(
    results: Mapping[str, AnyResult | Exception] | Iterable[AnyResult], *, temperature: float | None = None
) -> DataFrame:
    """Return a pandas table of several results, one per row; what it writes as CSV reads back.

    Parameters
    ----------
    results
        By name, or in a row; they are then named by their formulas. Relaxations and single energies have no
        vibrations. An exception stands for a job that has no result: its row has nothing but ``failure``.
    temperature
        Of the entropy and free energies, in K; default: that of each result.

    Returns
    -------
    pandas.DataFrame
        With units in the names of its columns. ``f_vib_ev`` is that of the vibrations above the cut,
        ``g_ev`` the free energy with that of the SCF: for a free molecule as an ideal gas at 1 bar, else
        with ``f_vib_ev``. ``vibrations_cm`` are the wavenumbers of the vibrations as a tuple (imaginary
        ones negative), ``warnings`` and ``pseudopotentials`` texts.
    """
    pd = needs_pandas()
    named = _named(results)
    rows = [
        {"failure": str(result)} if isinstance(result, Exception) else _row(result, temperature)
        for _, result in named
    ]
    table = pd.DataFrame(rows, index=pd.Index([name for name, _ in named], name="name"))
    if "failure" in table:
        table["failure"] = table.pop("failure")  # behind what all others have
    return table


def modes_table(results: Mapping[str, AnyResult | Exception] | Iterable[AnyResult]) -> DataFrame:
    """Return a pandas table of the modes of several results, one per row.

    What it writes as CSV reads back with ``pandas.read_csv(file, index_col=["name", "mode"])``. Its
    ``to_xarray()`` is a Dataset over names and modes, where the package xarray is installed.

    Parameters
    ----------
    results
        As of :func:`as_table`; what has no vibrations has no modes.

    Returns
    -------
    pandas.DataFrame
        By ``name`` and ``mode`` (from 0): ``wavenumber_cm`` (imaginary ones negative), ``energy_mev``,
        ``kind``, ``counted``, ``imaginary``, ``ir_intensity_km_mol``, ``irrep`` and ``motion`` in words.
        What is not known is missing.
    """
    pd = needs_pandas()
    rows: list[tuple[Any, ...]] = []
    for name, result in _named(results):
        if not isinstance(result, ResultData):
            continue
        cm = result.frequencies_cm
        unknown = [None] * len(cm)
        for mode, values in enumerate(
            zip(
                cm.tolist(),
                (1000 * result.energies_ev).tolist(),
                result.document.mode_kinds,
                result.counted.tolist(),
                result.imaginary.tolist(),
                result.document.ir_intensities_km_mol or unknown,
                result.irreps or unknown,
                result.assignments,
                strict=True,
            )
        ):
            rows.append((name, mode, *values))
    table: DataFrame = pd.DataFrame(rows, columns=["name", "mode", *_OF_A_MODE])
    table["ir_intensity_km_mol"] = table["ir_intensity_km_mol"].astype(float)
    return table.set_index(["name", "mode"])


def _named(
    results: Mapping[str, AnyResult | Exception] | Iterable[AnyResult],
) -> list[tuple[str, AnyResult | Exception]]:
    if isinstance(results, Mapping):
        return list(results.items())
    return [(result.atoms.get_chemical_formula(), result) for result in results]


def thermo_table(states: Sequence[Thermochemistry]) -> DataFrame:
    """Return thermochemistry by temperature; see :meth:`zpe_sdk.result.result.ZPEResult.thermo_table`."""
    pd = needs_pandas()
    rows = [
        {
            "zpe_ev": state.zpe_ev,
            "internal_energy_ev": state.internal_energy_ev,
            "enthalpy_ev": state.enthalpy_ev,
            "entropy_jmol_k": state.entropy_jmol_k,
            "free_energy_ev": state.free_energy_ev,
            "heat_capacity_jmol_k": state.heat_capacity_jmol_k,
            "total_ev": state.energy_ev + state.free_energy_ev,
        }
        for state in states
    ]
    return pd.DataFrame(rows, index=pd.Index([state.temperature for state in states], name="temperature_k"))


def _row(result: AnyResult, temperature: float | None) -> dict[str, Any]:
    if not isinstance(result, ResultData):
        return _structure_row(result)
    document = result.document
    kelvin = document.temperature if temperature is None else temperature
    solid = thermochemistry(result, kelvin)
    whole = gas_thermochemistry(result, kelvin) or solid
    return {
        **_origin(result),
        "zpe_ev": result.zpe_ev,
        "zpe_error_ev": document.checks.get("zpe_error_ev"),
        "temperature_k": kelvin,
        "s_vib_jmol_k": solid.entropy_jmol_k,
        "f_vib_ev": solid.free_energy_ev,
        "g_ev": document.energy_ev + whole.free_energy_ev,
        "g_model": whole.model,
        "imaginary": int(result.imaginary.sum()),
        "scf": len(document.tasks),
        "elapsed_seconds": document.elapsed_seconds,
        "warnings": "; ".join(document.warnings),
        "vibrations_cm": tuple(np.round(result.frequencies_cm[vibrations(document.mode_kinds)], 4).tolist()),
    }


def _structure_row(result: EnergyResult | RelaxationResult) -> dict[str, Any]:
    document = result.document
    return {
        **_origin(result),
        "max_force_ev_ang": document.max_force_ev_ang,
        "scf": len(document.tasks),
        "elapsed_seconds": document.elapsed_seconds,
        "warnings": "; ".join(document.warnings),
    }


def _origin(result: AnyResult) -> dict[str, Any]:
    document = result.document
    return {
        "formula": result.atoms.get_chemical_formula(),
        "engine": "MOCK" if document.is_mock else document.fingerprint.engine,
        "engine_version": document.fingerprint.engine_version,
        "ecutwfc_ry": document.ecutwfc,
        "ecutrho_ry": document.ecutrho,
        "kpts": "x".join(str(count) for count in document.kpts),
        "pseudopotentials": ", ".join(sorted(document.fingerprint.pseudopotentials)),
        "energy_ev": document.energy_ev,
    }
