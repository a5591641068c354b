"""Plots with Bokeh. Their colours fit a light and a dark background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, DatetimeTickFormatter, HoverTool, Range1d
from bokeh.models.annotations import Title
from bokeh.plotting import figure
from numpy.typing import NDArray

from zpe_dashboard.look import BLUE, GREEN, GREY, RED
from zpe_dashboard.state.overview import SAMPLES

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Half width at half maximum of a line in the spectrum.
BROADENING_CM = 12.0


# Counts of less do not fill a plot.
_LEAST = 4
# What the live plot shows at least and at most, in milliseconds.
_SHORTEST, _LONGEST = 120e3, 3600e3


def _figure(height: int, title: str | None = None, **more: Any) -> Any:
    plot = figure(
        height=height,
        title=title and Title(text=title, text_color=GREY, text_font_size="13px"),
        y_range=Range1d(start=0, end=_LEAST),
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_alpha=0,
        min_border_right=28,
        **more,
    )
    for axis in plot.axis:
        axis.axis_line_color = axis.major_tick_line_color = GREY
        axis.minor_tick_line_color = None
        axis.major_label_text_color = axis.axis_label_text_color = GREY
        axis.axis_label_text_font_style = "normal"
    plot.grid.grid_line_color = GREY
    plot.grid.grid_line_alpha = 0.18
    plot.xgrid.visible = False
    return plot


class LivePlot:
    """Jobs waiting and running, and SCFs running, as time goes on."""

    def __init__(self, title: str, waiting: str, running: str, scfs: str) -> None:
        self._source = ColumnDataSource({"time": [], "queued": [], "started": [], "scfs": []})
        self.figure = _figure(240, title=title, x_axis_type="datetime", x_range=Range1d())
        lines = [("queued", waiting, GREY, 2), ("started", running, BLUE, 2), ("scfs", scfs, GREEN, 1.5)]
        for column, label, colour, width in lines:
            self.figure.step(
                "time",
                column,
                source=self._source,
                legend_label=label,
                color=colour,
                line_width=width,
                mode="after",
            )
        self.figure.yaxis.ticker.num_minor_ticks = 0
        self.figure.yaxis.ticker.min_interval = 1
        clock = "%H:%M:%S"
        self.figure.xaxis.formatter = DatetimeTickFormatter(
            milliseconds=clock, seconds=clock, minsec=clock, minutes="%H:%M", hourmin="%H:%M"
        )
        _legend(self.figure)

    def show(self, samples: Sequence[tuple[float, int, int, int]], zone: int) -> None:
        """Show (time, queued, started, SCFs running), adding only what is new.

        The clock of the axis is ``zone`` minutes ahead of UTC.
        """
        shown = self._source.data["time"]
        last = shown[-1] if len(shown) else -np.inf
        local = [(1000 * (sample[0] + 60 * zone), *sample[1:]) for sample in samples]
        new = [sample for sample in local if sample[0] > last]
        if new:
            time, queued, started, scfs = zip(*new, strict=True)
            self._source.stream(
                {"time": list(time), "queued": queued, "started": started, "scfs": scfs},
                rollover=SAMPLES,
            )
            end = time[-1]
            start = max(self._source.data["time"][0], end - _LONGEST)
            self.figure.x_range.update(start=min(start, end - _SHORTEST), end=end)
            columns = (self._source.data[name] for name in ("queued", "started", "scfs"))
            self.figure.y_range.end = max(_LEAST, 1.3 * max(max(column) for column in columns))


class HoursPlot:
    """Jobs finished and failed in each of the last hours."""

    def __init__(self, title: str, finished: str, failed: str, hours_ago: str) -> None:
        self._source = ColumnDataSource({"hour": [], "finished": [], "failed": []})
        self.figure = _figure(240, title=title, x_axis_label=hours_ago, x_range=Range1d(start=23.6, end=-0.6))
        self.figure.vbar_stack(
            ["finished", "failed"],
            x="hour",
            width=0.75,
            line_color=None,
            color=[GREEN, RED],
            source=self._source,
            legend_label=[finished, failed],
        )
        self.figure.xaxis.ticker = list(range(0, 24, 4))
        self.figure.yaxis.ticker.num_minor_ticks = 0
        self.figure.yaxis.ticker.min_interval = 1
        self.figure.add_tools(HoverTool(tooltips=[(finished, "@finished"), (failed, "@failed")]))
        _legend(self.figure)

    def show(self, by_hour: Sequence[tuple[int, int, int]]) -> None:
        """Show (hours ago, finished, failed)."""
        hours, finished, failed = zip(*by_hour, strict=True) if by_hour else ((), (), ())
        self._source.data = {"hour": list(hours), "finished": list(finished), "failed": list(failed)}
        highest = max((a + b for a, b in zip(finished, failed, strict=True)), default=0)
        self.figure.y_range.end = max(_LEAST, 1.3 * highest)


class SpectrumPlot:
    """Lorentzians for what counts and imaginary vibrations, a stick for every mode.

    As high as their infrared intensities where these are known; else it is the density of modes.
    """

    def __init__(self, wavenumber: str, density: str, intensity: str) -> None:
        self._density, self._intensity = density, intensity
        self._curve = ColumnDataSource({"cm": [], "density": []})
        self._sticks = ColumnDataSource({"cm": [], "height": [], "colour": [], "motion": [], "intensity": []})
        self.figure = _figure(300, x_axis_label=wavenumber, y_axis_label=density)
        self.figure.varea("cm", y1=0, y2="density", source=self._curve, color=BLUE, alpha=0.18)
        self.figure.line("cm", "density", source=self._curve, color=BLUE, line_width=1.5)
        sticks = self.figure.segment(
            x0="cm", x1="cm", y0=0, y1="height", source=self._sticks, color="colour", line_width=2.5
        )
        tooltips = [(wavenumber, "@cm{0.0}"), (intensity, "@intensity"), ("", "@motion")]
        self.figure.add_tools(HoverTool(tooltips=tooltips, renderers=[sticks]))
        self.figure.yaxis.major_label_text_font_size = "0pt"

    def show(
        self,
        wavenumbers: Numbers,
        counted: Mask,
        imaginary: Mask,
        *,
        intensities: Numbers | None = None,
        motions: Sequence[str] | None = None,
    ) -> None:
        """Show modes in cm⁻¹: blue if they count, red if imaginary vibrations (left of zero), else grey.

        Parameters
        ----------
        intensities
            In km/mol, if they are known.
        motions
            What moves in each mode.
        """
        nu, shown = wavenumbers, counted | imaginary
        heights = np.ones(len(nu)) if intensities is None else intensities
        margin = 0.06 * float(np.ptp(nu)) + 60
        grid = np.linspace(nu.min() - margin, nu.max() + margin, 1200)
        lines = 1 / (1 + ((grid[:, None] - nu[shown]) / BROADENING_CM) ** 2)
        curve = np.sum(heights[shown] * lines, axis=1)
        colours = np.where(imaginary, RED, np.where(counted, BLUE, GREY))
        self._curve.data = {"cm": grid, "density": curve}
        self.figure.y_range.end = 1.1 * max(1.0, float(curve.max()))
        self.figure.yaxis.axis_label = self._density if intensities is None else self._intensity
        self.figure.yaxis.major_label_text_font_size = "0pt" if intensities is None else "12px"
        told = ["–"] * len(nu) if intensities is None else [f"{value:.1f}" for value in intensities]
        self._sticks.data = {
            "cm": nu,
            "height": heights,
            "colour": colours,
            "motion": list(motions or [""] * len(nu)),
            "intensity": told,
        }


def _legend(plot: Any) -> None:
    plot.legend.location = "top_left"
    plot.legend.orientation = "horizontal"
    plot.legend.background_fill_alpha = 0
    plot.legend.border_line_alpha = 0
    plot.legend.label_text_color = GREY
    plot.legend.label_text_font_size = "12px"
    plot.legend.padding = 0
    plot.legend.glyph_width = 16
