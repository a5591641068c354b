"""Which keys pw.x's namelists have, and since when."""

from __future__ import annotations

import pytest

from zpe_sdk.errors import InputError
from zpe_sdk.espresso import keys
from zpe_sdk.espresso.input import PwInput

INPUT = """&CONTROL
/
&SYSTEM
  ibrav = 1, A = 6.0, nat = 1, ntyp = 1, ecutwfc = 20
/
&ELECTRONS
/
ATOMIC_SPECIES
H 1.008 H.UPF
ATOMIC_POSITIONS angstrom
H 0 0 0
K_POINTS gamma
"""


@pytest.mark.parametrize(
    ("namelist", "key", "versions"),
    [
        ("system", "ecutwfc", (None, None)),
        ("system", "hubbard_occ", ("7.1", None)),  # came with the card HUBBARD
        ("system", "hubbard_v", ("6.6", None)),  # "DFT+U+V" in the release notes of 6.6
        ("control", "lkpoint_dir", (None, "6.7")),
        ("control", "trism", ("7.1", None)),
        ("rism", "nsolv", ("7.1", None)),
        ("system", "nbdn", None),
        ("control", "ecutwfc", None),
    ],
)
def test_the_versions_of_a_key_are_those_whose_namelist_has_it(
    namelist: str, key: str, versions: tuple[str | None, str | None] | None
) -> None:
    assert keys.versions_of(namelist, key) == versions


@pytest.mark.parametrize(
    ("namelist", "line", "key", "hint"),
    [
        ("SYSTEM", "nbdn = 8", "nbdn", "nbnd?"),
        ("SYSTEM", "Starting_Magnetisation(1) = 0.5", "starting_magnetisation", "starting_magnetization?"),
        ("ELECTRONS", "conv_trh = 1e-8", "conv_trh", "conv_thr?"),
        ("CONTROL", "nspin = 2", "nspin", "belongs to &SYSTEM"),
    ],
)
def test_a_misspelt_key_is_refused_and_the_right_one_suggested(
    namelist: str, line: str, key: str, hint: str
) -> None:
    text = INPUT.replace(f"&{namelist}\n", f"&{namelist}\n  {line}\n")
    with pytest.raises(InputError) as refused:
        PwInput.parse(text)
    assert refused.value.field == key
    assert hint in str(refused.value)


@pytest.mark.parametrize("key", ["lback = .false.", "orbital_resolved = .false.", "nelec_cond = 0.0"])
def test_a_key_of_another_version_of_pw_x_is_accepted(key: str) -> None:
    assert PwInput.parse(INPUT.replace("&SYSTEM\n", f"&SYSTEM\n  {key}\n")).labels == ("H",)


def test_keys_of_a_namelist_that_is_cut_out_are_not_looked_at() -> None:
    text = INPUT.replace("ATOMIC_SPECIES", "&IONS\n  ion_dynamic = 'bfgs'\n/\nATOMIC_SPECIES")
    assert PwInput.parse(text).labels == ("H",)
