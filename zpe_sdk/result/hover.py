"""A spectrum that says what each line is where the pointer is."""

from __future__ import annotations

import json
from importlib.resources import files
from io import StringIO
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from zpe_sdk.result.data import ResultData
from zpe_sdk.result.page import Page
from zpe_sdk.vibrations.kinds import vibrations
from zpe_sdk.vibrations.modes import wavenumber

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS_PER_INCH = 72


class HoverPlot(Page):
    """A spectrum in a notebook that tells of the mode nearest to the pointer. It needs no network.

    Attributes
    ----------
    html
        A page of its own; ``Path("spectrum.html").write_text(plot.html)`` keeps it.
    """

    size: ClassVar[tuple[int, int]] = (780, 330)


def empty_axes(pyplot: Any) -> Axes:
    """Return axes of a figure that no notebook shows by itself."""
    figure = pyplot.Figure(figsize=(8, 3.2), dpi=_POINTS_PER_INCH, layout="constrained")
    axes: Axes = figure.subplots()
    return axes


def hover_plot(result: ResultData, axes: Axes, scale: float, *, infrared: bool) -> HoverPlot:
    """Return what was drawn of a result, with what each of its modes is.

    Parameters
    ----------
    axes
        Of :func:`empty_axes`.
    scale
        Factor of the wavenumbers in an infrared spectrum.
    infrared
        Whether it is one: without imaginary modes. Else all modes are drawn, where they are.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()  # it finds the places of the axes
    picture = StringIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    svg = " ".join(picture.getvalue().split())  # half as long, and one line in a notebook's file
    cm = result.frequencies_cm
    shown = vibrations(result.document.mode_kinds)
    if infrared:
        shown &= cm > 0
        cm = scale * cm
    across = axes.transData.transform(np.column_stack([cm, np.zeros(len(cm))]))[:, 0]
    told = _told(result)
    lines = [{"x": round(float(across[k]), 2), "text": told[k]} for k in np.flatnonzero(shown)]
    page = files("zpe_sdk.result").joinpath("hover.html").read_text(encoding="utf-8")
    # Escape '<', so that no label can close the script element.
    page = page.replace("LINES", json.dumps(lines).replace("<", "\\u003c"))
    return HoverPlot(page.replace("<!--SVG-->", svg[svg.index("<svg") :]))


def _told(result: ResultData) -> list[str]:
    """Return what there is to say of each mode."""
    intensities = result.ir_intensities
    irreps = result.irreps or [None] * len(result.frequencies_cm)
    told = []
    for k, (cm, ev, irrep, motion) in enumerate(
        zip(result.frequencies_cm, result.energies_ev, irreps, result.assignments, strict=True)
    ):
        numbers = [f"mode {k}", f"{wavenumber(cm)} cm⁻¹", f"{wavenumber(1000 * ev)} meV"]
        if intensities is not None:
            numbers.append(f"{intensities[k]:.1f} km/mol")
        told.append(f"{', '.join(numbers)}\n{irrep + ': ' if irrep else ''}{motion}")
    return told
