"""What is chosen for Atoms, and that what was said stays as it was said."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk, molecule

from zpe_sdk.client.submission import input_text
from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.pseudopotentials import Choose, choose, headers, in_words, placeholders


@pytest.fixture
def files(tmp_path: Path) -> Choose:
    for name, element, kind, functional, cutoff in (
        ("Fe.UPF", "Fe", "PAW", "PBE", "71.0"),
        ("H.UPF", "H", "PAW", "PBE", "46.0"),
        ("H.nc.UPF", "H", "NC", "PZ", ""),
        ("O.nc.UPF", "O", "NC", "PZ", "85."),
    ):
        (tmp_path / name).write_text(
            f'<UPF version="2.0.1">\n<PP_HEADER element="{element}" pseudo_type="{kind}" '
            f'functional="{functional}" wfc_cutoff="{cutoff}"/>'
        )
    (tmp_path / "H.old.UPF").write_text("<PP_HEADER>\n   US   Ultrasoft pseudopotential\n</PP_HEADER>")
    return partial(choose, tmp_path)


def made(atoms: Atoms, choose: Choose | None, **given: Any) -> tuple[dict[str, Any], str]:
    """Return the keys of &SYSTEM, and what was told of them."""
    text, chosen = input_text(atoms, choose, **given)
    return PwInput.parse(text).namelists["system"], in_words(chosen)


@pytest.mark.parametrize(
    ("given", "cutoffs"),
    [
        ({}, (50, 400)),
        ({"ecutwfc": 60}, (60, 480)),
        ({"input_data": {"SYSTEM": {"ECUTWFC": 60}}}, (60, 480)),
        ({"ecutrho": 300}, (50, 300)),
        ({"pseudopotentials": {"H": "H.UPF"}}, (50, 400)),
        ({"pseudopotentials": {"H": "H.nc.UPF"}}, (80, 320)),
        ({"pseudopotentials": {"H": "H.nc.UPF", "Fe": "nothing"}, "ecutwfc": 40}, (40, 160)),
        # What cannot be read here may be of any kind.
        ({"pseudopotentials": {"H": "H.old.UPF"}, "ecutwfc": 40}, (40, 320)),
        ({"pseudopotentials": {"H": "elsewhere.UPF"}, "ecutwfc": 40}, (40, 320)),
    ],
)
def test_cutoffs_fit_the_files_whoever_named_them(
    files: Choose, given: dict[str, Any], cutoffs: tuple[float, float]
) -> None:
    system, told = made(molecule("H2"), files, **given)
    assert (system["ecutwfc"], system["ecutrho"]) == cutoffs
    assert ("ecutrho" in told) == ("ecutrho" not in given)


def test_a_dict_that_lacks_elements_is_completed(files: Choose) -> None:
    hydride = Atoms("FeH", [(0, 0, 0), (0, 0, 1.6)])
    text, chosen = input_text(hydride, files, pseudopotentials={"H": "H.nc.UPF"})
    assert PwInput.parse(text).pseudopotentials == ("Fe.UPF", "H.nc.UPF")
    assert chosen["pseudopotentials"] == {"Fe": "Fe.UPF"}
    assert "H.nc.UPF" not in in_words(chosen)
    assert PwInput.parse(text).cutoffs == (75, 600)


def test_without_a_folder_the_cutoff_is_asked_for_and_the_density_gets_enough() -> None:
    named = {"H": "H.pbe-kjpaw.UPF"}
    system, told = made(molecule("H2"), None, pseudopotentials=named, ecutwfc=40)
    assert system["ecutrho"] == 320
    assert "ecutrho = 320 Ry" in told
    with pytest.raises(InputError) as caught:
        made(molecule("H2"), None, pseudopotentials=named)
    assert caught.value.field == "ecutwfc"
    with pytest.raises(InputError, match=r"pseudo_dir=.*ZPE_PSEUDO_DIR"):
        made(molecule("H2"), None)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder") as caught:
        made(molecule("H2"), partial(choose, tmp_path / "nope"))
    assert caught.value.field == "pseudo_dir"


@pytest.mark.parametrize(
    ("keys", "expected", "told"),
    [
        ({}, ("smearing", "cold", 0.01), "cold smearing of 0.01 Ry"),
        ({"smearing": "mv", "degauss": 0.03}, ("smearing", "mv", 0.03), "smearing"),
        ({"degauss": 0.03}, ("smearing", "cold", 0.03), "cold smearing"),
        ({"smearing": "gauss"}, ("smearing", "gauss", 0.01), "smearing of 0.01 Ry"),
        ({"occupations": "fixed"}, ("fixed", None, None), None),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_only_what_is_missing_of_the_smearing_is_chosen(
    files: Choose, keys: dict[str, Any], expected: tuple[Any, ...], told: str | None, nested: bool
) -> None:
    system, words = made(bulk("Fe"), files, input_data={"System": keys} if nested else keys)
    assert tuple(system.get(key) for key in ("occupations", "smearing", "degauss")) == expected
    assert words.split(", ")[-1] == told if told else "smearing" not in words


def test_a_smearing_of_a_molecule_is_not_overlooked(files: Choose) -> None:
    assert made(molecule("H2"), files, input_data={"degauss": 0.02})[0]["occupations"] == "smearing"


def test_what_is_chosen_goes_beside_keys_of_any_namelist(files: Choose) -> None:
    data = {"SYSTEM": {"vdw_corr": "dft-d3"}, "ELECTRONS": {"mixing_beta": 0.3}}
    text, _ = input_text(bulk("Fe"), files, input_data=data)
    found = PwInput.parse(text).namelists
    assert found["system"]["vdw_corr"] == "dft-d3"
    assert found["system"]["occupations"] == "smearing"
    assert found["electrons"]["mixing_beta"] == 0.3


def test_initial_charges_become_the_charge_of_the_cell() -> None:
    hydroxide = Atoms("OH", [(0, 0, 0), (0, 0, 0.97)], charges=[-1.2, 0.2])
    system, told = made(hydroxide, placeholders)
    assert system["tot_charge"] == -1
    assert "tot_charge = -1" in told
    assert made(hydroxide, placeholders, input_data={"tot_charge": -1.0})[0]["tot_charge"] == -1
    with pytest.raises(InputError, match="tot_charge is 0") as caught:
        made(hydroxide, placeholders, input_data={"tot_charge": 0})
    assert caught.value.field == "initial_charges"
    hydroxide.set_initial_charges([-0.3, 0.3])
    assert "tot_charge" not in made(hydroxide, placeholders)[0]
    # No whole number: this is no charge of a cell.
    hydroxide.set_initial_charges([-0.3, 0.1])
    with pytest.raises(InputError, match=r"-0\.2"):
        made(hydroxide, placeholders)


def test_a_cutoff_that_nobody_can_mean_is_not_told(tmp_path: Path) -> None:
    file = tmp_path / "H.upf"
    file.write_text('<PP_HEADER element="H" pseudo_type="NC" wfc_cutoff="60" rho_cutoff="2.0e20"/>')
    [header] = headers([file]).values()
    assert (header.ecutwfc, header.ecutrho) == (60, 0)
