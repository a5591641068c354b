"""Results to look at: a plot of the spectrum, a mode that moves, a table of many results, files of modes."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.resources import files
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import NDArray

from zpe_sdk.errors import ConfigError, InputError
from zpe_sdk.result.data import ResultData
from zpe_sdk.result.moves import checked_mode, in_one_piece, mode_moves
from zpe_sdk.result.page import Page
from zpe_sdk.result.spectra import Sharing, densities_of_states, dos_grid, is_dark
from zpe_sdk.vibrations.modes import wavenumber
from zpe_sdk.vibrations.molecule import BOND

if TYPE_CHECKING:
    from matplotlib.axes import Axes


Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Animation(Page):
    """A mode that moves in the notebook; turn it with the mouse. It needs no network.

    Attributes
    ----------
    html
        A page of its own; ``Path("mode.html").write_text(animation.html)`` keeps it.
    """


def animation(result: ResultData, mode: int, amplitude: float) -> Animation:
    """Return the animation of a mode; see :meth:`zpe_sdk.result.result.ZPEResult.animate`."""
    k = checked_mode(result, mode)
    atoms = result.atoms
    positions, moves = in_one_piece(result), mode_moves(result, k)
    moves *= amplitude / np.linalg.norm(moves, axis=1).max()
    radii = covalent_radii[atoms.numbers]
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    bonded = np.triu(apart < BOND * (radii[:, None] + radii[None]), k=1)
    what = f"{wavenumber(result.frequencies_cm[k])} cm⁻¹, {result.document.mode_kinds[k]}"
    scene = {
        "title": f"{_mock(result)}mode {k}: {what}",
        "symbols": atoms.get_chemical_symbols(),
        "positions": np.round(positions - positions.mean(axis=0), 4).tolist(),
        "moves": np.round(moves, 4).tolist(),
        "radii": np.round(0.45 * radii, 3).tolist(),
        "colors": [f"rgb({r},{g},{b})" for r, g, b in (255 * jmol_colors[atoms.numbers]).astype(int)],
        "bonds": np.argwhere(bonded).tolist(),
    }
    page = files("zpe_sdk.result").joinpath("animation.html").read_text(encoding="utf-8")
    # Escape '<', so that no label can close the script element.
    return Animation(page.replace("SCENE", json.dumps(scene).replace("<", "\\u003c")))


def plot(result: ResultData, width_cm: float, axes: Axes | None) -> Axes:
    """Draw the spectrum; see :meth:`zpe_sdk.result.result.ZPEResult.plot`."""
    cm, counted, imaginary = result.frequencies_cm, result.counted, result.imaginary
    axes = spectrum(
        cm,
        width_cm,
        axes,
        # Motions of the whole would be a peak at nothing.
        broadened=counted | imaginary,
        told=[
            (counted, "tab:blue", "counted in the ZPE"),
            (~counted & ~imaginary, "tab:gray", "left out"),
            (imaginary, "tab:red", "imaginary"),
        ],
    )
    dark = ", no vibration absorbs infrared light" if is_dark(result) else ""
    axes.set_title(f"{_mock(result)}{result.atoms.get_chemical_formula()}: ZPE {result.zpe_ev:.4f} eV{dark}")
    return axes


def spectrum(
    cm: Numbers, width_cm: float, axes: Axes | None, *, broadened: Mask, told: list[tuple[Mask, str, str]]
) -> Axes:
    """Draw modes as sticks and broadened.

    Parameters
    ----------
    cm
        Wavenumbers in cm⁻¹, shape (N,); imaginary ones are negative.
    width_cm
        Full width at half maximum of the Lorentzians in cm⁻¹.
    axes
        Where to draw; None: a new figure.
    broadened
        The modes with a peak, shape (N,).
    told
        Modes (shape (N,)), the colour of their sticks and what they are; the first colour is the peaks' too.

    Raises
    ------
    InputError
        ``bad_width``.
    ConfigError
        ``extra_missing``: matplotlib is not installed.
    """
    if not width_cm > 0:
        raise InputError("the width must be above 0", code="bad_width", field="width_cm")
    axes = drawing(axes)
    low, high = min(0.0, cm.min()) - 5 * width_cm, max(cm.max(), 100.0) + 5 * width_cm
    grid = np.linspace(low, high, 2000)
    # Lorentzians 1 high for a single mode, as the sticks are.
    half = width_cm / 2
    density = (half**2 / ((grid[:, None] - cm[broadened][None]) ** 2 + half**2)).sum(axis=1)
    _, main, _ = told[0]
    axes.fill_between(grid, density, color=main, alpha=0.2, linewidth=0)
    axes.plot(grid, density, color=main, linewidth=1)
    for which, color, label in told:
        if which.any():
            axes.vlines(cm[which], 0, 1, color=color, linewidth=2, label=label)
    axes.set_xlabel("wavenumber / cm⁻¹ (imaginary modes below 0)")
    axes.set_ylabel("modes")
    # Room for the legend above all sticks and peaks.
    axes.set_ylim(0, 1.25 * max(1.0, density.max()))
    axes.legend(frameon=False, loc="upper center", ncols=3)
    return axes


def plot_dos(result: ResultData, width_cm: float, by: Sharing, axes: Axes | None) -> Axes:
    """Draw densities of states; see :meth:`zpe_sdk.result.result.ZPEResult.plot_dos`."""
    grid = dos_grid(result, width_cm)
    parts = densities_of_states(result, grid, width_cm, by=by)
    axes = drawing(axes)
    axes.stackplot(grid, list(parts.values()), labels=list(parts), alpha=0.7)
    axes.set_xlabel("wavenumber / cm⁻¹ (imaginary modes below 0)")
    axes.set_ylabel("density of states / cm")
    axes.set_title(f"{_mock(result)}{result.atoms.get_chemical_formula()}")
    axes.legend(frameon=False, ncols=1 + len(parts) // 8, fontsize="small" if len(parts) > 8 else None)
    return axes


def xyz(result: ResultData, mode: int | None) -> str:
    """Return modes as XYZ with displacements; see :meth:`zpe_sdk.result.result.ZPEResult.to_xyz`."""
    which = range(len(result.frequencies_cm)) if mode is None else [checked_mode(result, mode)]
    atoms, places = result.atoms, in_one_piece(result)
    lines = []
    for k in which:
        moves = mode_moves(result, k)
        title = f"{_mock(result)}Mode {k}, f = {wavenumber(result.frequencies_cm[k])} cm^-1"
        lines += [str(len(atoms)), title]
        lines += [
            f"{symbol:2s} " + " ".join(f"{value:12.6f}" for value in (*place, *move))
            for symbol, place, move in zip(atoms.get_chemical_symbols(), places, moves, strict=True)
        ]
    return "\n".join(lines) + "\n"


def package(name: str, extra: str = "notebook") -> ModuleType:
    """Return a package that an extra brings, or one of its modules.

    Raises
    ------
    ConfigError
        ``extra_missing``: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        missing = f"{name.partition('.')[0]} is not installed: pip install 'zpe[{extra}]'"
        raise ConfigError(missing, code="extra_missing") from None


def pyplot() -> ModuleType:
    """Return ``matplotlib.pyplot``, see :func:`package`."""
    return package("matplotlib.pyplot")


def drawing(axes: Axes | None, width: float = 7, height: float = 3) -> Axes:
    """Return where to draw: what is given, or a new figure of a size (inches), labels and all within it."""
    if axes is not None:
        return axes
    new: Axes = pyplot().subplots(figsize=(width, height), layout="constrained")[1]
    return new


def _mock(result: ResultData) -> str:
    """What stands in front of whatever is shown of springs."""
    return "MOCK (no physics) " if result.document.is_mock else ""
