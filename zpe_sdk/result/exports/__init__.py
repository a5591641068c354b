"""Results in the formats of other programs, one module for each: a result in, the text of a file out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from zpe_sdk.errors import InputError
from zpe_sdk.result.data import ResultData
from zpe_sdk.result.exports.citations import bibtex
from zpe_sdk.result.exports.molden import molden
from zpe_sdk.result.exports.phonopy_files import force_sets, phonopy_yaml
from zpe_sdk.result.exports.qcschema import qcschema

Format = Literal["molden", "extxyz", "vib.json", "phonopy.yaml", "FORCE_SETS", "qcschema", "bibtex"]


def exported(result: ResultData, format: Format) -> str:
    """Return a result as another program reads it; see :meth:`zpe_sdk.result.result.ZPEResult.export`."""
    # ASE's vibrations bring half a second of imports that the others do not need.
    from zpe_sdk.result.exports.ase_formats import extxyz, vib_json

    formats: dict[str, Callable[[ResultData], str]] = {
        "molden": molden,
        "extxyz": extxyz,
        "vib.json": vib_json,
        "phonopy.yaml": phonopy_yaml,
        "FORCE_SETS": force_sets,
        "qcschema": qcschema,
        "bibtex": bibtex,
    }
    if format not in formats:
        raise InputError(f"{format!r}: give one of {', '.join(formats)}", code="bad_format", field="format")
    return formats[format](result)
