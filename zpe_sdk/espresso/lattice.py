"""Lattice vectors of pw.x's ``ibrav``, by the formulas of its input description (INPUT_PW)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase.units import Bohr
from numpy.typing import NDArray

from zpe_sdk.errors import InputError

Array = NDArray[np.float64]


def lattice(system: Mapping[str, object]) -> Array:
    """Return the lattice vectors that ``&SYSTEM`` describes with ``ibrav`` other than 0.

    Parameters
    ----------
    system
        Keys of the namelist in lower case; ``celldm`` is a list in which None stands for absent.

    Returns
    -------
    ndarray
        Vectors as rows in Å, shape (3, 3).

    Raises
    ------
    InputError
        The lattice is unknown, or a parameter that it needs is missing or impossible.
    """
    ibrav = system.get("ibrav")
    if not isinstance(ibrav, int):
        raise InputError("&SYSTEM needs a whole number ibrav", code="bad_lattice", field="ibrav")
    a, b, c, cos_bc, cos_ac, cos_ab = parameters(system)
    # INPUT_PW gives cos(ab) as the one angle of these lattices (see `parameters`).
    rows = _vectors(ibrav, a, b, c, cos_bc, cos_ac, cos_ab)
    if rows is None:
        raise InputError(f"ibrav = {ibrav} is no lattice that pw.x knows", code="bad_lattice", field="ibrav")
    cell = np.array(rows, dtype=np.float64)
    if not np.all(np.isfinite(cell)) or abs(np.linalg.det(cell)) < 1e-6:
        raise InputError(
            f"the lattice parameters leave the cell of ibrav = {ibrav} without a volume",
            code="bad_lattice",
            field="celldm",
        )
    return cell


def parameters(system: Mapping[str, object]) -> tuple[float, float, float, float, float, float]:
    """Return a, b, c in Å and the cosines of bc, ac and ab, from ``celldm`` or from ``A, B, C, cosAB …``."""
    ibrav = system.get("ibrav")
    raw = system.get("celldm")
    celldm = []
    for value in raw if isinstance(raw, list) else []:
        if not isinstance(value, int | float | None):
            raise InputError(f"celldm holds {value!r}, no number", code="bad_lattice", field="celldm")
        celldm.append(float(value or 0.0))
    celldm += [0.0] * (6 - len(celldm))
    traditional = {name: _number(system, name) for name in ("a", "b", "c", "cosbc", "cosac", "cosab")}
    if celldm[0] and traditional["a"]:
        raise InputError("give celldm or A, B, C, not both", code="bad_lattice", field="celldm(1)")
    if traditional["a"]:
        a, b, c, bc, ac, ab = traditional.values()
        return a, b, c, bc, ac, ab
    if celldm[0] <= 0:
        raise InputError("the lattice needs a positive celldm(1) or A", code="bad_lattice", field="celldm(1)")
    a = celldm[0] * Bohr
    bc, ac, ab = celldm[3], celldm[4], celldm[5]
    if ibrav in (5, -5, 12, 13):
        bc, ac, ab = 0.0, 0.0, celldm[3]
    elif ibrav in (-12, -13):
        bc, ac, ab = 0.0, celldm[4], 0.0
    return a, a * celldm[1], a * celldm[2], bc, ac, ab


def _number(system: Mapping[str, object], name: str) -> float:
    value = system.get(name, 0.0)
    if not isinstance(value, int | float):
        raise InputError(f"{name.upper()} is no number", code="bad_lattice", field=name)
    return float(value)


def _vectors(
    ibrav: int, a: float, b: float, c: float, cos_bc: float, cos_ac: float, cos_ab: float
) -> list[list[float]] | None:
    h = a / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        sin_ab = float(np.sqrt(1 - cos_ab**2))
        sin_ac = float(np.sqrt(1 - cos_ac**2))
        match ibrav:
            case 1:
                return [[a, 0, 0], [0, a, 0], [0, 0, a]]
            case 2:
                return [[-h, 0, h], [0, h, h], [-h, h, 0]]
            case 3:
                return [[h, h, h], [-h, h, h], [-h, -h, h]]
            case -3:
                return [[-h, h, h], [h, -h, h], [h, h, -h]]
            case 4:
                return [[a, 0, 0], [-h, a * 3**0.5 / 2, 0], [0, 0, c]]
            case 5 | -5:
                tx, ty = float(np.sqrt((1 - cos_ab) / 2)), float(np.sqrt((1 - cos_ab) / 6))
                tz = float(np.sqrt((1 + 2 * cos_ab) / 3))
                if ibrav == 5:
                    return [[a * tx, -a * ty, a * tz], [0, 2 * a * ty, a * tz], [-a * tx, -a * ty, a * tz]]
                s = a / 3**0.5
                u, v = tz - 2 * 2**0.5 * ty, tz + 2**0.5 * ty
                return [[s * u, s * v, s * v], [s * v, s * u, s * v], [s * v, s * v, s * u]]
            case 6:
                return [[a, 0, 0], [0, a, 0], [0, 0, c]]
            case 7:
                return [[h, -h, c / 2], [h, h, c / 2], [-h, -h, c / 2]]
            case 8:
                return [[a, 0, 0], [0, b, 0], [0, 0, c]]
            case 9:
                return [[h, b / 2, 0], [-h, b / 2, 0], [0, 0, c]]
            case -9:
                return [[h, -b / 2, 0], [h, b / 2, 0], [0, 0, c]]
            case 91:
                return [[a, 0, 0], [0, b / 2, -c / 2], [0, b / 2, c / 2]]
            case 10:
                return [[h, 0, c / 2], [h, b / 2, 0], [0, b / 2, c / 2]]
            case 11:
                return [[h, b / 2, c / 2], [-h, b / 2, c / 2], [-h, -b / 2, c / 2]]
            case 12:
                return [[a, 0, 0], [b * cos_ab, b * sin_ab, 0], [0, 0, c]]
            case -12:
                return [[a, 0, 0], [0, b, 0], [c * cos_ac, 0, c * sin_ac]]
            case 13:
                return [[h, 0, -c / 2], [b * cos_ab, b * sin_ab, 0], [h, 0, c / 2]]
            case -13:
                return [[h, b / 2, 0], [-h, b / 2, 0], [c * cos_ac, 0, c * sin_ac]]
            case 14:
                y = (cos_bc - cos_ac * cos_ab) / sin_ab
                z = float(np.sqrt(1 - cos_ac**2 - y**2))
                return [[a, 0, 0], [b * cos_ab, b * sin_ab, 0], [c * cos_ac, c * y, c * z]]
    return None
