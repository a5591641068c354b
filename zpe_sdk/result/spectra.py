"""Spectra as numbers: lines with a shape, molar absorption, vibrational densities of states, experiments."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import ConfigError, InputError
from zpe_sdk.result.data import ResultData
from zpe_sdk.vibrations.kinds import vibrations

Array = NDArray[np.float64]
Shape = Literal["lorentzian", "gaussian", "voigt"]
Sharing = Literal["element", "atom"]

# 1 km/mol, the area below the natural absorption coefficient, in L/(mol cm²) of the decadic one.
DECADIC = 100 / np.log(10)
# Of a Voigt profile, in widths of its Lorentzian and Gaussian if these are as wide: J. J. Olivero, R. L.
# Longbothum, J. Quant. Spectrosc. Radiat. Transf. 17, 233 (1977).
_VOIGT = 0.5346 + np.sqrt(0.2166 + 1)
DARK = 0.01  # km/mol; less is what the noise of dipoles leaves
_GAUSSIAN = 2 * np.sqrt(2 * np.log(2))


def line(offset_cm: Array, width_cm: float, shape: Shape) -> Array:
    """Return a line of area 1, in cm.

    Parameters
    ----------
    offset_cm
        From its middle, in cm⁻¹, any shape.
    width_cm
        Full width at half maximum in cm⁻¹.
    shape
        ``lorentzian``, ``gaussian``, or ``voigt``: the two as wide, folded with one another.

    Raises
    ------
    InputError
        ``bad_width`` or ``bad_shape``.
    """
    if not width_cm > 0:
        raise InputError("the width must be above 0", code="bad_width", field="width_cm")
    from scipy.special import voigt_profile  # slow to import; most results are never drawn

    values: Array
    match shape:
        case "lorentzian":
            values = voigt_profile(offset_cm, 0.0, width_cm / 2)
        case "gaussian":
            values = voigt_profile(offset_cm, width_cm / _GAUSSIAN, 0.0)
        case "voigt":
            each = width_cm / _VOIGT
            values = voigt_profile(offset_cm, each / _GAUSSIAN, each / 2)
        case _:
            raise InputError(
                f"{shape!r}: give 'lorentzian', 'gaussian' or 'voigt'", code="bad_shape", field="shape"
            )
    return values


def absorption(
    result: ResultData, grid_cm: Array, width_cm: float, shape: Shape, scale: float = 1.0
) -> Array:
    """Return the decadic molar absorption coefficient in L/(mol cm) at some wavenumbers.

    Parameters
    ----------
    grid_cm
        Wavenumbers in cm⁻¹, shape (G,).
    width_cm, shape
        Of each line, see :func:`line`; its area is the mode's intensity.
    scale
        Factor of the wavenumbers, for what harmonic frequencies of a functional are off.

    Raises
    ------
    InputError
        ``no_intensities``, ``bad_width`` or ``bad_shape``.
    """
    cm, intensities = absorbing(result, scale)
    lines = line(grid_cm[:, None] - cm[None], width_cm, shape)
    coefficient: Array = DECADIC * lines @ intensities
    return coefficient


def absorbing(result: ResultData, scale: float = 1.0) -> tuple[Array, Array]:
    """Return wavenumbers (cm⁻¹, scaled) and intensities (km/mol) of the vibrations that are real.

    Raises
    ------
    InputError
        ``no_intensities``: the SCFs told no dipoles.
    """
    intensities = result.ir_intensities
    if intensities is None:
        raise InputError(
            "no intensities are known: the SCFs told no dipoles, as is so for crystals, with Environ, and of "
            "older workers and other engines",
            code="no_intensities",
            field="ir_intensities",
        )
    real = (np.array(result.document.mode_kinds) == "vibration") & (result.frequencies_cm > 0)
    return scale * result.frequencies_cm[real], intensities[real]


def is_dark(result: ResultData) -> bool:
    """Tell whether intensities are known, and no vibration has one, as in hydrogen."""
    intensities = result.ir_intensities
    return intensities is not None and bool(np.all(intensities < DARK))


def densities_of_states(
    result: ResultData,
    grid_cm: Array,
    width_cm: float,
    shape: Shape = "gaussian",
    by: Sharing = "element",
) -> dict[str, Array]:
    """Return the vibrational density of states of each element, or mobile atom, in modes per cm⁻¹.

    Each vibration counts by the share that an element's atoms have of its kinetic energy.

    Parameters
    ----------
    grid_cm
        Wavenumbers in cm⁻¹, shape (G,).
    width_cm, shape
        Of each line, see :func:`line`.
    by
        ``element``, by its symbol; ``atom``, by symbol and number: ``"O0"``.

    Raises
    ------
    InputError
        ``bad_choice``, ``bad_width`` or ``bad_shape``.
    """
    d = result.document
    symbols = [d.symbols[atom] for atom in d.mobile_indices]
    match by:
        case "element":
            names = symbols
        case "atom":
            names = [f"{symbol}{atom}" for symbol, atom in zip(symbols, d.mobile_indices, strict=True)]
        case _:
            raise InputError(f"{by!r}: give 'element' or 'atom'", code="bad_choice", field="by")
    energies = result.masses[None, :] * np.sum(result.modes**2, axis=2)
    energies /= energies.sum(axis=1, keepdims=True)
    vibrating = vibrations(d.mode_kinds)
    lines = line(grid_cm[:, None] - result.frequencies_cm[vibrating][None], width_cm, shape)
    kinds = np.array(names)
    return {name: lines @ energies[vibrating][:, kinds == name].sum(axis=1) for name in dict.fromkeys(names)}


def dos_grid(result: ResultData, width_cm: float) -> Array:
    """Return the wavenumbers in cm⁻¹ between which all vibrations lie, shape (2000,)."""
    cm = result.frequencies_cm[vibrations(result.document.mode_kinds)]
    low, high = cm.min(initial=0.0), cm.max(initial=100.0)
    return np.linspace(low - 3 * width_cm, high + 3 * width_cm, 2000)


def read_experiment(path: str | Path) -> tuple[Array, Array]:
    """Read a measured spectrum: JCAMP-DX, or two columns of wavenumber (cm⁻¹) and absorbance.

    Returns
    -------
    tuple
        Wavenumbers in cm⁻¹, ascending, and absorbances (without a scale of their own).

    Raises
    ------
    InputError
        ``bad_spectrum``: there is no such file, or no spectrum in it.
    ConfigError
        ``extra_missing``: the package jcamp is not installed.
    """
    file = Path(path)
    try:
        if file.suffix.lower() in (".jdx", ".dx", ".jcamp"):
            x, y = _jcamp(file)
        else:
            delimiter = "," if file.suffix.lower() == ".csv" else None
            x, y = np.loadtxt(file, delimiter=delimiter, usecols=(0, 1), unpack=True)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(
            f"{file.name} holds no spectrum that can be read: {error}",
            code="bad_spectrum",
            field="experiment",
        ) from None
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 2:
        raise InputError(f"{file.name} holds no spectrum", code="bad_spectrum", field="experiment")
    order = np.argsort(x[known])
    return x[known][order], y[known][order]


def _jcamp(file: Path) -> tuple[Array, Array]:
    try:
        import jcamp
    except ImportError:
        raise ConfigError(
            "jcamp is not installed: pip install 'zpe[notebook]'", code="extra_missing"
        ) from None
    found = jcamp.readfile(str(file))
    x, y = np.asarray(found["x"], dtype=float), np.asarray(found["y"], dtype=float)
    units = str(found.get("xunits", "1/CM")).upper()
    if "MICRO" in units or units == "UM":
        x = 1e4 / x
    elif "NANO" in units:
        x = 1e7 / x
    if "TRANSMI" in str(found.get("yunits", "")).upper():
        # In percent, where anything exceeds 2; what lets nothing through has no absorbance to tell.
        share = y / 100 if np.nanmax(y) > 2 else y
        y = -np.log10(np.maximum(share, 1e-4))
    return x, y
