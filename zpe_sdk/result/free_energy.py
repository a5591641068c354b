"""The free energy of a reaction over temperature, pressure and potential."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import TYPE_CHECKING

from ase import units

from zpe_sdk.errors import InputError
from zpe_sdk.result.diagram import draw_steps
from zpe_sdk.result.kinds import AnyResult
from zpe_sdk.result.models import SpeciesModel
from zpe_sdk.result.plots import package
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.thermo import check_temperature

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

BAR = 1e5  # Pa
PROTON, ELECTRON, HYDROGEN = "H+", "e-", "H2"
Pressure = float | Mapping[str, float]


@dataclass(frozen=True)
class FreeEnergy:
    """The free energy of a reaction at one temperature, pressure and potential; energies in eV.

    Attributes
    ----------
    temperature
        In K.
    pressure
        In Pa: of all gases, or by name.
    potential, ph
        Of the electrode in V against the standard hydrogen electrode, and of the solution; None: there are no
        electrons in the reaction.
    de, dzpe, dh
        ΔE of the SCFs; ΔZPE; ΔH, which holds both and the heat.
    minus_tds
        −TΔS.
    dg
        ΔG = ΔH − TΔS, with the electrons' energy.
    error
        Standard error of ΔG from the noise of the zero-point energies; None: not known of all species.
    """

    temperature: float
    pressure: Pressure
    potential: float | None
    ph: float | None
    de: float
    dzpe: float
    dh: float
    minus_tds: float
    dg: float
    error: float | None

    def __repr__(self) -> str:
        error = "" if self.error is None else f" ± {self.error:.1g}"
        at = "" if self.potential is None else f", {self.potential:g} V, pH {self.ph:g}"
        return (
            f"<FreeEnergy ΔG = {self.dg:.3f}{error} eV at {self.temperature:g} K{at}: ΔE {self.de:.3f}, "
            f"ΔZPE {self.dzpe:.3f}, ΔH {self.dh:.3f}, −TΔS {self.minus_tds:.3f}>"
        )


class Reaction:
    """A reaction of which all species are computed; make one with :func:`zpe_sdk.reaction`.

    Attributes
    ----------
    coefficients
        By species; negative: consumed.
    warnings
        What is to be known before the numbers are used.
    """

    def __init__(
        self,
        coefficients: Mapping[str, float],
        results: Mapping[str, AnyResult],
        models: Mapping[str, SpeciesModel],
        warnings: Sequence[str],
    ) -> None:
        self.coefficients = dict(coefficients)
        self.warnings = list(warnings)
        self._results = dict(results)
        self._models = dict(models)

    @property
    def electrons(self) -> float:
        """How many electrons are made (negative: consumed)."""
        return self.coefficients.get(ELECTRON, 0.0)

    @property
    def is_mock(self) -> bool:
        """Whether a species was computed by springs: no physics."""
        return any(result.document.is_mock for result in self._results.values())

    def at(
        self,
        temperature: float = 298.15,
        pressure: Pressure = BAR,
        *,
        potential: float = 0.0,
        ph: float = 0.0,
    ) -> FreeEnergy:
        """Return the free energy of the reaction.

        Parameters
        ----------
        temperature
            In K.
        pressure
            Of the gases, in Pa; or of each by its name, 1 bar where it is not named.
        potential
            Of the electrode, in V against the standard hydrogen electrode; of reactions with electrons.
        ph
            Of the solution.

        Notes
        -----
        With the computational hydrogen electrode of J. K. Nørskov et al., J. Phys. Chem. B 108, 17886 (2004),
        a proton and an electron together have the free energy of ½ H₂ at 1 bar, less eU, less kT ln 10 · pH.

        Raises
        ------
        InputError
            ``bad_temperature``, ``bad_pressure``, or what the model of a species cannot do.
        """
        check_temperature(temperature)
        if isinstance(pressure, Mapping) and (absent := set(pressure) - set(self._results)):
            raise InputError(
                f"no species is {', '.join(sorted(absent))}", code="bad_pressure", field="pressure"
            )
        sums: dict[str, float] = defaultdict(float)
        for name, coefficient in self._computed().items():
            # The electrode is defined with hydrogen of 1 bar, whatever its pressure in the reaction.
            for pascal, share in self._shares(name, coefficient, pressure):
                result = self._results[name]
                heat = self._models[name].heat(result, temperature, pascal)
                sums["e"] += share * result.document.energy_ev
                sums["zpe"] += share * heat.zpe_ev
                sums["h"] += share * (result.document.energy_ev + heat.enthalpy_ev)
                sums["ts"] += share * temperature * heat.entropy_ev_k
        electrode = -self.electrons * (potential + float(units.kB) * temperature * log(10) * ph)
        return FreeEnergy(
            temperature=temperature,
            pressure=pressure,
            potential=potential if self.electrons else None,
            ph=ph if self.electrons else None,
            de=sums["e"],
            dzpe=sums["zpe"],
            dh=sums["h"],
            minus_tds=-sums["ts"],
            dg=sums["h"] - sums["ts"] + electrode,
            error=self._error(),
        )

    def table(
        self,
        temperatures: float | Iterable[float] = 298.15,
        pressures: Pressure | Iterable[Pressure] = BAR,
        *,
        potential: float = 0.0,
        ph: float = 0.0,
    ) -> DataFrame:
        """Return a pandas table, one row for each temperature (K) and pressure (Pa); energies in eV.

        Raises
        ------
        ConfigError
            ``extra_missing``: pandas is not installed.
        """
        pandas = package("pandas")
        kelvins = [temperatures] if isinstance(temperatures, int | float) else list(temperatures)
        pascals = [pressures] if isinstance(pressures, int | float | Mapping) else list(pressures)
        rows = []
        for kelvin in kelvins:
            for pascal in pascals:
                g = self.at(float(kelvin), pascal, potential=potential, ph=ph)
                told = pascal if isinstance(pascal, Mapping) else {"": pascal}
                rows.append(
                    {
                        "temperature_k": g.temperature,
                        **{f"pressure_{name}_pa".replace("__", "_"): value for name, value in told.items()},
                        "de_ev": g.de,
                        "dzpe_ev": g.dzpe,
                        "dh_ev": g.dh,
                        "minus_tds_ev": g.minus_tds,
                        "dg_ev": g.dg,
                        "error_ev": g.error,
                    }
                )
        table: DataFrame = pandas.DataFrame(rows)
        return table

    def plot(
        self,
        temperature: float = 298.15,
        pressure: Pressure = BAR,
        *,
        potential: float = 0.0,
        ph: float = 0.0,
        axes: Axes | None = None,
    ) -> Axes:
        """Draw the step of this reaction; see :func:`zpe_sdk.step_diagram`."""
        return step_diagram([self], temperature, pressure, potential=potential, ph=ph, axes=axes)

    def _computed(self) -> dict[str, float]:
        """Return the coefficients of what is computed, hydrogen that stands for protons included."""
        computed = {k: c for k, c in self.coefficients.items() if k not in (PROTON, ELECTRON)}
        if self.electrons:
            computed.setdefault(HYDROGEN, 0.0)
        return computed

    def _shares(self, name: str, coefficient: float, pressure: Pressure) -> list[tuple[float, float]]:
        pascal = pressure.get(name, BAR) if isinstance(pressure, Mapping) else pressure
        shares = [(pascal, coefficient)] if coefficient else []
        return shares + ([(BAR, self.electrons / 2)] if name == HYDROGEN and self.electrons else [])

    def _error(self) -> float | None:
        total = 0.0
        for name, coefficient in self._computed().items():
            result = self._results[name]
            if isinstance(result, ZPEResult):
                error = result.document.checks.get("zpe_error_ev")
                if error is None:
                    return None
                share = coefficient + (self.electrons / 2 if name == HYDROGEN else 0)
                total += (share * error) ** 2
        return sqrt(total)

    def __str__(self) -> str:
        sides = [
            " + ".join(
                f"{'' if abs(c) == 1 else f'{abs(c):g} '}{name}"
                for name, c in self.coefficients.items()
                if c * sign > 0
            )
            for sign in (-1, 1)
        ]
        return " → ".join(sides)

    def __repr__(self) -> str:
        mock = "MOCK " if self.is_mock else ""
        return (
            f"<Reaction {mock}{self}: ΔE {self.at().de:.3f} eV, ΔG {self.at().dg:.3f} eV at 298.15 K, 1 bar>"
        )


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
        As for :meth:`Reaction.at`.
    axes
        Where to draw; default: a new figure.

    Raises
    ------
    InputError
        ``bad_reaction``: there are none.
    """
    if not reactions:
        raise InputError("give one reaction or more", code="bad_reaction", field="reactions")
    steps = [r.at(temperature, pressure, potential=potential, ph=ph) for r in reactions]
    named = [str(r).split(" → ") for r in reactions]
    electrode = f", {potential:g} V, pH {ph:g}" if any(r.electrons for r in reactions) else ""
    mock = "MOCK " if any(r.is_mock for r in reactions) else ""
    return draw_steps(
        [named[0][0], *(right for _, right in named)],
        {"ΔE": [step.de for step in steps], "ΔG": [step.dg for step in steps]},
        f"{mock}{temperature:g} K{electrode}",
        axes,
    )
