"""Reactions that follow one another, drawn as steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from zpe_sdk.errors import InputError
from zpe_sdk.result.free_energy import BAR, Pressure, Reaction
from zpe_sdk.result.plots import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def step_diagram(
    reactions: Sequence[Reaction],
    temperature: float = 298.15,
    pressure: Pressure = BAR,
    *,
    potential: float = 0.0,
    ph: float = 0.0,
    axes: Axes | None = None,
) -> Axes:
    """Draw reactions that follow one another as steps of ΔE and ΔG; needs matplotlib.

    Parameters
    ----------
    reactions
        In their order.
    temperature, pressure, potential, ph
        As for :meth:`zpe_sdk.result.free_energy.Reaction.at`.
    axes
        Where to draw; default: a new figure.

    Raises
    ------
    InputError
        ``bad_reaction``: there are none.
    """
    if not reactions:
        raise InputError("give one reaction or more", code="bad_reaction", field="reactions")
    axes = pyplot().subplots(figsize=(7, 3.5))[1] if axes is None else axes
    steps = [r.at(temperature, pressure, potential=potential, ph=ph) for r in reactions]
    places = np.arange(len(steps) + 1)
    for what, color, deltas in (
        ("ΔE", "tab:gray", [step.de for step in steps]),
        ("ΔG", "tab:blue", [step.dg for step in steps]),
    ):
        levels = np.cumsum([0.0, *deltas])
        axes.hlines(levels, places - 0.3, places + 0.3, color, label=what)
        for n, pair in enumerate(pairwise(levels)):
            axes.plot([n + 0.3, n + 0.7], pair, ":", color=color)
    named = [str(r).split(" → ") for r in reactions]
    axes.set_xticks(places)
    axes.set_xticklabels([named[0][0], *(right for _, right in named)])
    axes.set_ylabel("energy / eV")
    electrode = f", {potential:g} V, pH {ph:g}" if any(r.electrons for r in reactions) else ""
    mock = "MOCK " if any(r.is_mock for r in reactions) else ""
    axes.set_title(f"{mock}{temperature:g} K{electrode}")
    axes.legend(frameon=False)
    return axes
