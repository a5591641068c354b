"""The spectrum of a result: what counts, what is imaginary, and what is neither."""

from __future__ import annotations

import numpy as np

from zpe_dashboard.look import BLUE, GREY, RED
from zpe_dashboard.views.plots import SpectrumPlot
from zpe_sdk.vibrations.kinds import counted_modes, imaginary_modes


def test_motions_of_the_whole_are_grey_and_make_no_peak_whatever_their_wavenumber() -> None:
    cm = np.array([-300.0, -250.0, 0.0, 30.0, 270.0, 1600.0])
    kinds = ["vibration", "rotation", "translation", "vibration", "rotation", "vibration"]
    plot = SpectrumPlot("Wavenumber", "Density", "Intensity")
    plot.show(cm, counted_modes(cm, kinds, 50.0), imaginary_modes(cm, kinds))
    curve, sticks = plot._curve.data, plot._sticks.data
    assert list(sticks["colour"]) == [RED, GREY, GREY, GREY, GREY, BLUE]
    at = np.interp([-300.0, -250.0, 0.0, 270.0, 1600.0], curve["cm"], curve["density"])
    assert (at > 0.5).tolist() == [True, False, False, False, True]


def test_sticks_and_peaks_are_as_high_as_intensities_where_these_are_known() -> None:
    cm, kinds = np.array([0.0, 1600.0, 3700.0]), ["translation", "vibration", "vibration"]
    counted, imaginary = counted_modes(cm, kinds, 50.0), imaginary_modes(cm, kinds)
    plot = SpectrumPlot("Wavenumber", "Density", "Intensity")
    plot.show(cm, counted, imaginary, intensities=np.array([0.0, 75.0, 1.2]), motions=["", "bend", "stretch"])
    assert list(plot._sticks.data["height"]) == [0.0, 75.0, 1.2]
    assert plot.figure.yaxis.axis_label == "Intensity"
    curve = plot._curve.data
    assert abs(np.interp(1600.0, curve["cm"], curve["density"]) - 75) < 2
    plot.show(cm, counted, imaginary)
    assert list(plot._sticks.data["height"]) == [1.0, 1.0, 1.0]
    assert plot.figure.yaxis.axis_label == "Density"
