"""How a result is shown, and how it goes out to other programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from zpe_sdk.result import plots as views
from zpe_sdk.result.data import ResultData
from zpe_sdk.result.exports import Format, exported
from zpe_sdk.result.hover import HoverPlot, empty_axes, hover_plot
from zpe_sdk.result.infrared import plot_infrared
from zpe_sdk.result.moves import mode_images
from zpe_sdk.result.spectra import Shape, Sharing, densities_of_states, dos_grid, is_dark
from zpe_sdk.result.texts import freqs_csv, summary_text

if TYPE_CHECKING:
    from ase.vibrations import VibrationsData
    from matplotlib.axes import Axes
    from pandas import DataFrame


class ShownResult(ResultData):
    """A result's data as texts, plots, animations and files.

    Attributes
    ----------
    document
        The whole result as the control plane keeps it, with settings, timings and provenance.
    """

    def to_ase(self) -> VibrationsData:
        """Return the Hessian as ASE's VibrationsData, for its thermochemistry, spectra and mode files.

        ASE takes vibrations and motions of the whole together: its wavenumbers differ a little from these.
        """
        # Half a second of imports (matplotlib among them) that nothing else here needs.
        from ase.vibrations import VibrationsData

        return VibrationsData.from_2d(self.atoms, self.hessian, indices=self.document.mobile_indices)

    def summary(self) -> str:
        """Return the result as a text for people."""
        return summary_text(self.document)

    def to_csv(self) -> str:
        """Return one line per mode, in cm⁻¹ and meV, as CSV with a header."""
        return freqs_csv(self.document)

    def to_xyz(self, mode: int | None = None) -> str:
        """Return modes as XYZ with a displacement behind each position, as Jmol, VMD and Avogadro read it.

        Positions are in Å; displacements have no unit, each mode being normalised to 1.

        Parameters
        ----------
        mode
            From 0; None: all of them, one after the other.

        Raises
        ------
        InputError
            ``bad_mode``.
        """
        return views.xyz(self, mode)

    def export(self, format: Format) -> str:
        """Return the result as the text of another program's file.

        Parameters
        ----------
        format
            ``"molden"`` (Molden, Jmol, Avogadro, Open Babel), ``"extxyz"`` (modes for ASE and Ovito),
            ``"vib.json"`` (ASE's ``VibrationsData.read``), ``"phonopy.yaml"`` and ``"FORCE_SETS"``
            (``phonopy.load``), ``"qcschema"`` (QCElemental), ``"bibtex"`` (what to cite).

        Raises
        ------
        InputError
            ``bad_format``; ``atoms_fixed``: the format is for systems all of whose atoms move.
        """
        return exported(self, format)

    def images(self, mode: int = -1, *, amplitude: float = 0.3, count: int = 30) -> list[Atoms]:
        """Return a period of a mode as ASE's Atoms, for ``ase.io.write("mode.traj", …)`` and viewers.

        Parameters
        ----------
        mode
            From 0, or from the end if negative.
        amplitude
            Of the atom that moves most, in Å.
        count
            Number of structures.

        Raises
        ------
        InputError
            ``bad_mode``.
        """
        return mode_images(self, mode, amplitude=amplitude, count=count)

    def plot(
        self,
        *,
        width_cm: float = 20.0,
        shape: Shape = "lorentzian",
        scale: float = 1.0,
        transmission: bool = False,
        experiment: str | Path | None = None,
        label: str | None = None,
        axes: Axes | None = None,
    ) -> Axes:
        """Draw the infrared spectrum: a stick for each vibration, and lines with a width; needs matplotlib.

        The coefficient ε is molar and decadic, in L/(mol cm). Where no intensities are known, or no vibration
        absorbs, all modes are drawn as high, the imaginary ones left of zero.
        ``axes.figure.savefig("water.svg")`` keeps it.

        Parameters
        ----------
        width_cm
            Full width at half maximum of the lines in cm⁻¹.
        shape
            ``"lorentzian"``, ``"gaussian"`` or ``"voigt"``.
        scale
            Factor of the wavenumbers.
        transmission
            Draw the transmission of a sample in which the highest band has absorbance 1.
        experiment
            A file to draw beside it, its highest band as high: JCAMP-DX (``.jdx``, ``.dx``, as the NIST
            WebBook has them), or two columns of wavenumber in cm⁻¹ and absorbance.
        label
            In the legend; default: the formula.
        axes
            Where to draw, such as what this method has returned for another result; default: a new figure.

        Raises
        ------
        InputError
            ``bad_width``, ``bad_shape``, ``bad_spectrum``; ``no_intensities``: transmission or an experiment
            is asked for, and there are none.
        ConfigError
            ``extra_missing``.
        """
        asked = transmission or experiment is not None or (axes is not None and axes.has_data())
        if not self._is_infrared(asked):
            return views.plot(self, width_cm, axes)
        return plot_infrared(
            self,
            axes,
            width_cm=width_cm,
            shape=shape,
            scale=scale,
            transmission=transmission,
            experiment=experiment,
            label=label,
        )

    def hover(
        self,
        *,
        width_cm: float = 20.0,
        shape: Shape = "lorentzian",
        scale: float = 1.0,
        transmission: bool = False,
        experiment: str | Path | None = None,
        label: str | None = None,
    ) -> HoverPlot:
        """Show the spectrum in the notebook, with what each line is beside the pointer; needs matplotlib.

        Wavenumber, energy, intensity, irreducible representation and what moves are told of the mode nearest
        to the pointer. It needs no network.

        Parameters
        ----------
        width_cm, shape, scale, transmission, experiment, label
            As of :meth:`plot`.

        Raises
        ------
        InputError
            As :meth:`plot` does.
        ConfigError
            ``extra_missing``.
        """
        axes = self.plot(
            width_cm=width_cm,
            shape=shape,
            scale=scale,
            transmission=transmission,
            experiment=experiment,
            label=label,
            axes=empty_axes(views.pyplot()),
        )
        infrared = self._is_infrared(transmission or experiment is not None)
        return hover_plot(self, axes, scale, infrared=infrared)

    def _is_infrared(self, asked: bool) -> bool:
        """Tell whether a plot is an infrared spectrum: if that is asked for, or there is something to see."""
        return asked or not (self.ir_intensities is None or is_dark(self))

    def density_of_states(
        self,
        grid_cm: Iterable[float] | None = None,
        *,
        by: Sharing = "element",
        width_cm: float = 20.0,
        shape: Shape = "gaussian",
    ) -> DataFrame:
        """Return the vibrational density of states (VDOS) as a pandas table; needs pandas.

        Each vibration has an area of 1, shared out by the kinetic energy that atoms have in it.

        Parameters
        ----------
        grid_cm
            Wavenumbers in cm⁻¹; default: 2000 of them that span all vibrations. Imaginary ones are below 0.
        by
            ``"element"``, or ``"atom"``: columns such as ``"O"``, or ``"O0"``, of the mobile atoms.
        width_cm
            Full width at half maximum of each vibration in cm⁻¹.
        shape
            ``"gaussian"``, ``"lorentzian"`` or ``"voigt"``.

        Returns
        -------
        pandas.DataFrame
            By wavenumber, in modes per cm⁻¹; the sum of the columns is the whole.

        Raises
        ------
        InputError
            ``bad_choice``, ``bad_width`` or ``bad_shape``.
        ConfigError
            ``extra_missing``.
        """
        pandas = views.package("pandas")
        grid = dos_grid(self, width_cm) if grid_cm is None else np.array(list(grid_cm), dtype=float)
        parts = densities_of_states(self, grid, width_cm, shape, by)
        table: DataFrame = pandas.DataFrame(parts, index=pandas.Index(grid, name="wavenumber_cm"))
        return table

    def plot_dos(self, *, by: Sharing = "element", width_cm: float = 20.0, axes: Axes | None = None) -> Axes:
        """Draw the vibrational density of states, one element or atom upon the other; needs matplotlib.

        Parameters
        ----------
        by, width_cm
            As of :meth:`density_of_states`, which has the numbers.
        axes
            Where to draw; default: a new figure.
        """
        return views.plot_dos(self, width_cm, by, axes)

    def animate(self, mode: int = -1, *, amplitude: float = 0.3) -> views.Animation:
        """Show how the atoms move in a mode, in the notebook and without a network.

        Parameters
        ----------
        mode
            From 0, or from the end if negative.
        amplitude
            Of the atom that moves most, in Å.

        Raises
        ------
        InputError
            ``bad_mode``.
        """
        return views.animation(self, mode, amplitude)
