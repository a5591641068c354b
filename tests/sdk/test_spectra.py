"""Spectra: areas that are intensities, shapes that are as wide as asked for, files of spectrometers."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from scipy.integrate import trapezoid

from tests.springs import springs_result
from tests.structures import relaxation_document
from zpe_sdk import InputError, ZPEResult
from zpe_sdk.result.spectra import Shape, absorption, densities_of_states, line, read_experiment
from zpe_sdk.result.structure import RelaxationResult

matplotlib.use("agg")
SHAPES: list[Shape] = ["lorentzian", "gaussian", "voigt"]

NIST = """##TITLE=WATER
##JCAMP-DX=4.24
##DATA TYPE=INFRARED SPECTRUM
##XUNITS={xunits}
##YUNITS={yunits}
##XFACTOR=1.0
##YFACTOR=1.0
##FIRSTX={first}
##LASTX={last}
##NPOINTS=5
##XYPOINTS=(XY..XY)
{points}
##END=
"""


@pytest.fixture(scope="module")
def water() -> ZPEResult:
    return springs_result("H2O")


def jdx(path: Path, x: list[float], y: list[float], xunits: str = "1/CM", yunits: str = "ABSORBANCE") -> Path:
    points = "\n".join(f"{a}, {b}" for a, b in zip(x, y, strict=True))
    path.write_text(NIST.format(xunits=xunits, yunits=yunits, first=x[0], last=x[-1], points=points))
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_a_line_has_its_width_and_an_area_of_one(shape: Shape) -> None:
    grid = np.linspace(-40_000, 40_000, 2_000_001)
    values = line(grid, 10.0, shape)
    assert trapezoid(values, grid) == pytest.approx(1, abs=1e-3)
    assert line(np.array([5.0]), 10.0, shape)[0] == pytest.approx(values.max() / 2, rel=1e-3)


def test_the_area_of_the_spectrum_is_the_intensities(water: ZPEResult) -> None:
    grid = np.linspace(0, 6000, 60_001)
    area = trapezoid(absorption(water, grid, 10.0, "gaussian"), grid)
    # L/(mol cm) over cm⁻¹, from decadic to natural: 10³ cm³/L, 10⁻⁵ km/cm.
    assert area * np.log(10) * 1e3 * 1e-5 == pytest.approx(water.ir_intensities.sum(), rel=1e-4)


def test_a_scaled_spectrum_is_elsewhere(water: ZPEResult) -> None:
    grid = np.linspace(0, 6000, 60_001)
    peak = grid[absorption(water, grid, 10.0, "gaussian", 0.9).argmax()]
    strongest = water.frequencies_cm[water.ir_intensities.argmax()]
    assert peak == pytest.approx(0.9 * strongest, abs=0.5)


def test_densities_of_states_count_the_vibrations(water: ZPEResult) -> None:
    grid = np.linspace(0, 6000, 60_001)
    parts = densities_of_states(water, grid, 10.0)
    assert list(parts) == ["O", "H"]
    assert sum(trapezoid(part, grid) for part in parts.values()) == pytest.approx(3, abs=1e-3)
    assert trapezoid(parts["H"], grid) > 2.5
    assert [text.get_text() for text in water.plot_dos().get_legend().get_texts()] == ["O", "H"]


def test_densities_of_states_by_atom_are_those_of_the_element_shared_out(water: ZPEResult) -> None:
    grid = np.linspace(0, 6000, 601)
    by_element = water.density_of_states(grid, width_cm=30.0)
    by_atom = water.density_of_states(grid, by="atom", width_cm=30.0)
    assert list(by_atom.columns) == ["O0", "H1", "H2"]
    assert by_atom.index.name == "wavenumber_cm"
    np.testing.assert_allclose(by_atom.H1 + by_atom.H2, by_element.H, atol=1e-12)
    np.testing.assert_allclose(by_atom.H1, by_atom.H2, atol=1e-9)
    half = water.with_masses({1: "D"}).density_of_states(by="atom", width_cm=30.0)
    # Each hydrogen of HDO has a stretch nearly for itself.
    assert half.H1.idxmax() < half.H2.idxmax() - 500
    drawn = water.plot_dos(by="atom")
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["O0", "H1", "H2"]
    with pytest.raises(InputError) as caught:
        water.density_of_states(by="bond")  # type: ignore[arg-type]
    assert caught.value.code == "bad_choice"


@pytest.mark.parametrize(
    ("units", "x", "y"),
    [
        (("1/CM", "ABSORBANCE"), [1000, 1500, 2000, 2500, 3000], [0.0, 1.0, 0.5, 0.0, 0.2]),
        (("1/CM", "TRANSMITTANCE"), [1000, 1500, 2000, 2500, 3000], [1, 0.1, 10**-0.5, 1, 10**-0.2]),
        (("MICROMETERS", "ABSORBANCE"), [10, 1e4 / 1500, 5, 4, 1e4 / 3000], [0.0, 1.0, 0.5, 0.0, 0.2]),
    ],
)
def test_jcamp_files_are_read_in_their_units(
    units: tuple[str, str], x: list[float], y: list[float], tmp_path: Path
) -> None:
    cm, absorbance = read_experiment(jdx(tmp_path / "water.jdx", x, y, *units))
    np.testing.assert_allclose(cm, [1000, 1500, 2000, 2500, 3000], rtol=1e-6)
    np.testing.assert_allclose(absorbance, [0.0, 1.0, 0.5, 0.0, 0.2], atol=1e-6)


def test_two_columns_are_read_too_and_nonsense_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("# wavenumber, absorbance\n3000,0.2\n1000,0.5\n")
    assert [part.tolist() for part in read_experiment(tmp_path / "a.csv")] == [[1000, 3000], [0.5, 0.2]]
    (tmp_path / "b.txt").write_text("no spectrum\n")
    (tmp_path / "c.jdx").write_text("no spectrum\n")
    for name in ("b.txt", "c.jdx", "absent.jdx"):
        with pytest.raises(InputError) as caught:
            read_experiment(tmp_path / name)
        assert caught.value.code == "bad_spectrum"


def test_the_plot_runs_down_and_takes_results_and_an_experiment_on_top(
    water: ZPEResult, tmp_path: Path
) -> None:
    file = jdx(tmp_path / "water.jdx", [1000, 1500, 2000, 2500, 3000], [0.0, 7.0, 0.5, 0.0, 0.2])
    axes = water.plot(experiment=file)
    first, last = axes.get_xlim()
    assert first > last
    highest = axes.lines[0].get_ydata().max()
    assert axes.lines[1].get_ydata().max() == pytest.approx(highest)
    water.with_masses({"H": "D"}).plot(axes=axes, label="D2O", scale=0.97)
    told = [text.get_text() for text in axes.get_legend().get_texts()]
    assert told == ["H2O", "experiment", "D2O (wavenumbers × 0.97)"]
    through = water.plot(transmission=True)
    values = through.lines[0].get_ydata()
    assert values.min() == pytest.approx(0.1)
    assert values.max() <= 1
    axes.figure.savefig(tmp_path / "water.svg")
    assert "<svg" in (tmp_path / "water.svg").read_text()


def test_nothing_of_a_picture_lies_outside_of_it(water: ZPEResult) -> None:
    """A notebook cuts around what is drawn; ``savefig`` and Panel take the figure as it is."""
    spectra = [water.plot(), springs_result("H2").plot(), water.plot_dos()]
    pictures = [*spectra, RelaxationResult(relaxation_document(engine="mock")).plot()]
    for axes in pictures:
        figure = axes.figure
        figure.canvas.draw()
        drawn = figure.get_tightbbox()
        assert min(drawn.x0, drawn.y0) >= 0
        assert drawn.x1 <= figure.bbox_inches.x1
        assert drawn.y1 <= figure.bbox_inches.y1


def test_hydrogen_which_absorbs_nothing_has_its_vibration_drawn() -> None:
    hydrogen = springs_result("H2")
    assert hydrogen.ir_intensities.max() < 1e-6
    axes = hydrogen.plot()
    assert axes.get_ylabel() == "modes"
    assert axes.get_title().endswith("eV, no vibration absorbs infrared light")
    assert axes.lines[0].get_ydata().max() == pytest.approx(1, abs=0.01)
    assert "mode 5" in hydrogen.hover(scale=0.9).html
    # What is asked for is drawn, and what is put on top of a spectrum is one too.
    assert hydrogen.plot(transmission=True).get_ylabel() == "transmission"
    both = springs_result("H2O").plot()
    assert hydrogen.plot(axes=both).get_ylabel().startswith("ε")


def test_without_intensities_modes_are_drawn_alike_and_no_spectrum_is_made_up() -> None:
    without = springs_result("H2O", dipoles=False)
    assert without.plot().get_ylabel() == "modes"
    with pytest.raises(InputError) as caught:
        without.plot(transmission=True)
    assert caught.value.code == "no_intensities"
    with pytest.raises(InputError) as caught:
        springs_result("H2O").plot(shape="triangle")  # type: ignore[arg-type]
    assert caught.value.code == "bad_shape"
