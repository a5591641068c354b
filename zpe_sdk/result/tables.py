"""Tables for pandas and xarray: many results, one at many temperatures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from zpe_sdk.errors import InputError
from zpe_sdk.result.bare import BareResult
from zpe_sdk.result.data import ResultData
from zpe_sdk.result.plots import package
from zpe_sdk.result.thermo import Thermochemistry, gas_thermochemistry, thermochemistry
from zpe_sdk.vibrations.kinds import vibrations

if TYPE_CHECKING:
    from pandas import DataFrame
    from xarray import Dataset

    from zpe_sdk.result.kinds import AnyResult
    from zpe_sdk.result.structure import EnergyResult, RelaxationResult

    Results: TypeAlias = Mapping[str, AnyResult | BareResult | Exception] | Iterable[AnyResult | BareResult]

_OF_A_RESULT = (
    "formula",
    "engine",
    "engine_version",
    "ecutwfc_ry",
    "ecutrho_ry",
    "kpts",
    "pseudopotentials",
    "energy_ev",
    "max_force_ev_ang",
    "zpe_ev",
    "zpe_error_ev",
    "temperature_k",
    "s_vib_jmol_k",
    "f_vib_ev",
    "g_ev",
    "g_model",
    "imaginary",
    "scf",
    "elapsed_seconds",
    "warnings",
    "vibrations_cm",
    "failure",
)
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


_UNITS = {
    "_ev": "eV",
    "_mev": "meV",
    "_ev_ang": "eV/Å",
    "_ry": "Ry",
    "_k": "K",
    "_jmol_k": "J/(mol K)",
    "_seconds": "s",
    "_cm": "cm⁻¹",
    "_km_mol": "km/mol",
}


def as_table(results: Results, *, temperature: float | None = None) -> DataFrame:
    """Return a pandas table of several results, one per row; what it writes as CSV reads back.

    Parameters
    ----------
    results
        By name, or in a row; they are then named by their formulas. Relaxations and single energies have no
        vibrations, and a :class:`zpe_sdk.BareResult` has what its worker sent: cells of the rest are empty.
        An exception stands for a job that has no result: its row has nothing but ``failure``.
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
    pd = package("pandas")
    named = _named(results)
    rows = [
        {"failure": str(result)} if isinstance(result, Exception) else _row(result, temperature)
        for _, result in named
    ]
    columns = [column for column in _OF_A_RESULT if any(column in row for row in rows)]
    return pd.DataFrame(rows, columns=columns, index=pd.Index([name for name, _ in named], name="name"))


def modes_table(results: Results) -> DataFrame:
    """Return a pandas table of the modes of several results, one per row.

    What it writes as CSV reads back with ``pandas.read_csv(file, index_col=["name", "mode"])``.

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
    pd = package("pandas")
    rows = [
        (name, mode, *values)
        for name, result in _named(results)
        if isinstance(result, ResultData | BareResult)
        for mode, values in enumerate(zip(*_modes(result), strict=True))
    ]
    table: DataFrame = pd.DataFrame(rows, columns=["name", "mode", *_OF_A_MODE])
    table["ir_intensity_km_mol"] = table["ir_intensity_km_mol"].astype(float)
    return table.set_index(["name", "mode"])


def as_dataset(results: Results, *, temperature: float | None = None) -> Dataset:
    """Return an xarray Dataset of several results: that of :func:`as_table` by name, their modes by mode.

    Its variables have their ``units``, and it can be written with ``to_netcdf``.

    Parameters
    ----------
    results, temperature
        As of :func:`as_table`; names must differ.

    Returns
    -------
    xarray.Dataset
        Over ``name``: the columns of :func:`as_table`. Over ``name`` and ``mode`` (from 0): those of
        :func:`modes_table`, of which ``imaginary`` and ``wavenumber_cm`` stand for the columns that count and
        list modes there. Numbers that are not known, and modes that a molecule has not, are NaN; texts are
        empty, and such modes count nowhere.

    Raises
    ------
    ConfigError
        ``extra_missing``: xarray is not installed.
    InputError
        ``bad_request``: two results have the same name.
    """
    xr = package("xarray", "xarray")
    named = _named(results)
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(
            f"two results have the name {twice[0]!r}: give them in a dict, by names that differ",
            code="bad_request",
            field="results",
        )
    table = as_table(dict(named), temperature=temperature)
    of_results = table.drop(columns=["imaginary", "vibrations_cm"], errors="ignore").to_xarray()
    of_modes = modes_table(dict(named)).to_xarray().reindex(name=names)
    dataset: Dataset = xr.merge([of_results, of_modes])
    for name, values in list(dataset.data_vars.items()):
        if name in ("counted", "imaginary"):
            dataset[name] = values.fillna(False).astype(bool)
        elif values.dtype == object:
            dataset[name] = values.fillna("").astype(str)
        if endings := [ending for ending in _UNITS if name.endswith(ending)]:
            dataset[name].attrs["units"] = _UNITS[max(endings, key=len)]
    return dataset


def _modes(result: ResultData | BareResult) -> list[Sequence[Any]]:
    """Return what is known of the modes, in the order of the columns."""
    cm, mev = result.frequencies_cm.tolist(), (1000 * result.energies_ev).tolist()
    unknown = [None] * len(cm)
    if isinstance(result, BareResult):
        return [cm, mev, *[unknown] * (len(_OF_A_MODE) - 2)]
    document = result.document
    return [
        cm,
        mev,
        document.mode_kinds,
        result.counted.tolist(),
        result.imaginary.tolist(),
        document.ir_intensities_km_mol or unknown,
        result.irreps or unknown,
        result.assignments,
    ]


def _named(results: Results) -> list[tuple[str, AnyResult | BareResult | Exception]]:
    if isinstance(results, Mapping):
        return list(results.items())
    return [
        ("" if isinstance(result, BareResult) else result.atoms.get_chemical_formula(), result)
        for result in results
    ]


def thermo_table(states: Sequence[Thermochemistry]) -> DataFrame:
    """Return thermochemistry by temperature; see :meth:`zpe_sdk.result.result.ZPEResult.thermo_table`."""
    pd = package("pandas")
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


def _row(result: AnyResult | BareResult, temperature: float | None) -> dict[str, Any]:
    if isinstance(result, BareResult):
        return _bare_row(result, temperature)
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


def _bare_row(result: BareResult, temperature: float | None) -> dict[str, Any]:
    document = result.document
    row = {
        "ecutwfc_ry": document.ecutwfc,
        "ecutrho_ry": document.ecutrho,
        "kpts": document.kpts and "x".join(str(count) for count in document.kpts),
        "zpe_ev": result.zpe_ev,
        "elapsed_seconds": document.elapsed_seconds,
    }
    if temperature in (None, document.temperature):  # of another one, nothing is known
        row |= {"temperature_k": document.temperature, "s_vib_jmol_k": document.s_vib_jmol_k}
    return row


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
