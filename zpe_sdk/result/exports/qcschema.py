"""QCSchema, which MolSSI's programs exchange: https://molssi-qc-schema.readthedocs.io."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from ase.units import Bohr, Hartree

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.data import ResultData
from zpe_sdk.result.moves import in_one_piece
from zpe_sdk.version import __version__


def qcschema(result: ResultData) -> str:
    """Return the Hessian as a ``qcschema_output`` of driver ``hessian``, in atomic units.

    Frequencies (cm⁻¹), intensities (km/mol) and the input of pw.x are in ``extras``, and so is the lattice,
    which QCSchema does not know.

    Raises
    ------
    InputError
        ``atoms_fixed``: a Hessian of QCSchema is of all atoms.
    """
    document = result.document
    if document.mobile_indices != list(range(len(document.symbols))):
        raise InputError(
            "a Hessian in QCSchema is of all atoms; some are fixed here",
            code="atoms_fixed",
            field="mobile_indices",
        )
    system = PwInput.parse(document.pw_input).namelists["system"] if document.pw_input else {}
    energy = document.energy_ev / Hartree
    hessian = (result.hessian * Bohr**2 / Hartree).tolist()
    properties: dict[str, Any] = {
        "calcinfo_natom": len(document.symbols),
        "return_energy": energy,
        "scf_total_energy": energy,
    }
    if result.dipole is not None:
        properties["scf_dipole_moment"] = (result.dipole / Bohr).tolist()
    intensities = result.ir_intensities
    output = {
        "schema_name": "qcschema_output",
        "schema_version": 1,
        "molecule": {
            "schema_name": "qcschema_molecule",
            "schema_version": 2,
            "symbols": document.symbols,
            "geometry": np.round(in_one_piece(result) / Bohr, 10).ravel().tolist(),
            "masses": result.masses.tolist(),
            "molecular_charge": float(system.get("tot_charge", 0.0)),
            **_multiplicity(document.total_magnetization),
            "fix_com": True,
            "fix_orientation": True,
        },
        "driver": "hessian",
        "model": {"method": str(system.get("input_dft", "of the pseudopotentials")), "basis": _basis(result)},
        "keywords": {},
        "properties": properties,
        "return_result": hessian,
        "provenance": {
            "creator": document.fingerprint.engine,
            "version": document.fingerprint.engine_version,
            "routine": f"zpe {__version__}",
        },
        "success": True,
        "extras": {
            "frequencies_cm": document.freqs_cm,
            "mode_kinds": document.mode_kinds,
            "ir_intensities_km_mol": None if intensities is None else intensities.tolist(),
            "cell_angstrom": document.cell,
            "pw_input": document.pw_input,
        },
    }
    return json.dumps(output, indent=2) + "\n"


def _multiplicity(magnetization: float | None) -> dict[str, int]:
    """Return the multiplicity of a magnetisation of whole electrons; nothing where that is not known."""
    if magnetization is None or abs(magnetization - round(magnetization)) > 0.1:
        return {}
    return {"molecular_multiplicity": abs(round(magnetization)) + 1}


def _basis(result: ResultData) -> str:
    cutoff = result.document.ecutwfc
    return "plane waves" if cutoff is None else f"plane waves up to {cutoff:g} Ry"
