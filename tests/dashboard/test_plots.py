"""The spectrum of a result: what counts, what is imaginary, and what is neither."""

from __future__ import annotations

import numpy as np

from zpe_dashboard.look import BLUE, GREY, RED
from zpe_dashboard.views.plots import SpectrumPlot
from zpe_sdk.vibrations.kinds import counted_modes, imaginary_modes


def test_motions_of_the_whole_are_grey_and_make_no_peak_whatever_their_wavenumber() -> None:
    cm = np.array([-300.0, -250.0, 0.0, 30.0, 270.0, 1600.0])
    kinds = ["vibration", "rotation", "translation", "vibration", "rotation", "vibration"]
    plot = SpectrumPlot("Wavenumber", "Density")
    plot.show(cm, counted_modes(cm, kinds, 50.0), imaginary_modes(cm, kinds))
    curve, sticks = plot._curve.data, plot._sticks.data
    assert list(sticks["colour"]) == [RED, GREY, GREY, GREY, GREY, BLUE]
    at = np.interp([-300.0, -250.0, 0.0, 270.0, 1600.0], curve["cm"], curve["density"])
    assert (at > 0.5).tolist() == [True, False, False, False, True]
