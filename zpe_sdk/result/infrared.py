"""The infrared spectrum as chemists plot it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.result.data import ResultData
from zpe_sdk.result.plots import drawing
from zpe_sdk.result.spectra import DECADIC, Shape, absorbing, absorption, line, read_experiment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

_LOWEST, _HIGHEST = 400.0, 4000.0  # cm⁻¹; what spectrometers show
_POINTS = 4000


def plot_infrared(
    result: ResultData,
    axes: Axes | None,
    *,
    width_cm: float,
    shape: Shape,
    scale: float,
    transmission: bool,
    experiment: str | Path | None,
    label: str | None,
) -> Axes:
    """Draw the infrared spectrum; see :meth:`zpe_sdk.result.result.ZPEResult.plot`."""
    cm, intensities = absorbing(result, scale)
    low, high = _range(cm, width_cm)
    axes = drawing(axes, width=8, height=3.2)
    if axes.has_data():
        low, high = min(low, *axes.get_xlim()), max(high, *axes.get_xlim())
    grid = np.linspace(low, high, _POINTS)
    curve = absorption(result, grid, width_cm, shape, scale)
    highest = max(float(curve.max()), 1e-12)
    # Each stick is as high as its line would be alone.
    sticks = DECADIC * float(line(np.zeros(1), width_cm, shape)[0]) * intensities

    def shown(values: Array) -> Array:
        return np.power(10.0, -values / highest) if transmission else values

    name = result.atoms.get_chemical_formula() if label is None else label
    if scale != 1:
        name += f" (wavenumbers × {scale:g})"
    (drawn,) = axes.plot(grid, shown(curve), linewidth=1.2, label=name)
    axes.vlines(cm, float(shown(np.zeros(1))[0]), shown(sticks), color=drawn.get_color(), linewidth=2)
    if experiment is not None:
        x, y = read_experiment(experiment)
        inside = (x >= low) & (x <= high)
        if inside.any() and (top := float(y[inside].max())) > 0:
            # A measured spectrum has a scale of its own: its highest band is drawn as high as ours.
            measured = shown(y[inside] * highest / top)
            axes.plot(x[inside], measured, color="0.45", linewidth=0.8, zorder=1, label="experiment")
    axes.set_xlim(high, low)
    axes.set_xlabel("wavenumber / cm⁻¹")
    axes.set_ylabel("transmission" if transmission else "ε / (L mol⁻¹ cm⁻¹)")
    imaginary = int(result.imaginary.sum())
    axes.set_title(f"{imaginary} imaginary vibration{'s' * (imaginary > 1)} left out" if imaginary else "")
    axes.legend(frameon=False)
    return axes


def _range(cm: Array, width_cm: float) -> tuple[float, float]:
    margin = 5 * width_cm
    if not cm.size:
        return _LOWEST, _HIGHEST
    return max(0.0, min(_LOWEST, float(cm.min()) - margin)), max(_HIGHEST, float(cm.max()) + margin)
