"""Energies that follow one another, drawn as steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from zpe_sdk.result.plots import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = ("tab:gray", "tab:blue")


def draw_steps(
    names: Sequence[str], deltas: Mapping[str, Sequence[float]], title: str, axes: Axes | None = None
) -> Axes:
    """Draw levels, joined by dotted lines; needs matplotlib.

    Parameters
    ----------
    names
        Of the levels, one more than there are steps.
    deltas
        Heights of the steps in eV, by the name of what is drawn: two at most.
    title
        Above the drawing.
    axes
        Where to draw; default: a new figure.
    """
    axes = drawing(axes, height=3.5)
    places = np.arange(len(names))
    for (what, heights), color in zip(deltas.items(), _COLORS, strict=False):
        levels = np.cumsum([0.0, *heights])
        axes.hlines(levels, places - 0.3, places + 0.3, color, label=what)
        for n, pair in enumerate(pairwise(levels)):
            axes.plot([n + 0.3, n + 0.7], pair, ":", color=color)
    axes.set_xticks(places)
    axes.set_xticklabels(names)
    axes.set_ylabel("energy / eV")
    axes.set_title(title)
    axes.legend(frameon=False)
    return axes
