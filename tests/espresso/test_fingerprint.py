"""The fingerprint of an SCF: one for the same physics, another as soon as anything in it differs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from zpe_sdk.errors import ConfigError
from zpe_sdk.espresso.fingerprint import find_pseudopotential, fingerprint
from zpe_sdk.espresso.input import PwInput

TEXT = """&CONTROL
/
&SYSTEM
  ibrav=1, celldm(1)=8, nat=1, ntyp=2, ecutwfc=20
/
&ELECTRONS
/
ATOMIC_SPECIES
H 1.008 H.UPF
O 15.999 O.UPF
ATOMIC_POSITIONS bohr
H 0 0 0
K_POINTS gamma
"""


@pytest.fixture
def pseudo_dir(tmp_path: Path) -> Path:
    (tmp_path / "H.UPF").write_bytes(b"hydrogen")
    (tmp_path / "O.UPF").write_bytes(b"oxygen")
    return tmp_path


def test_it_holds_version_pseudopotentials_and_physics(pseudo_dir: Path) -> None:
    pw_input = PwInput.parse(TEXT)
    found = fingerprint(pw_input, pseudo_dir, version="7.4")
    assert (found.engine, found.engine_version, found.environ) == ("espresso", "7.4", None)
    assert found.pseudopotentials == {
        "H.UPF": hashlib.sha256(b"hydrogen").hexdigest(),
        "O.UPF": hashlib.sha256(b"oxygen").hexdigest(),
    }
    assert found.physics == pw_input.physics_hash()


def test_other_bytes_under_the_same_name_are_other_physics(pseudo_dir: Path) -> None:
    pw_input = PwInput.parse(TEXT)
    before = fingerprint(pw_input, pseudo_dir, version="7.4")
    assert fingerprint(pw_input, pseudo_dir, version="7.4") == before
    (pseudo_dir / "O.UPF").write_bytes(b"another oxygen")
    assert fingerprint(pw_input, pseudo_dir, version="7.4") != before


def test_environ_takes_part_with_its_version_and_its_input(pseudo_dir: Path) -> None:
    pw_input, environ_in = PwInput.parse(TEXT), pseudo_dir / "environ.in"
    environ_in.write_text("&ENVIRON\n environ_type='water'\n/\n")
    water = fingerprint(pw_input, pseudo_dir, version="7.4", environ_version="3.1", environ_in=environ_in)
    environ_in.write_text("&ENVIRON\n environ_type='vacuum'\n/\n")
    vacuum = fingerprint(pw_input, pseudo_dir, version="7.4", environ_version="3.1", environ_in=environ_in)
    without = fingerprint(pw_input, pseudo_dir, version="7.4")
    assert len({str(found.environ) for found in (water, vacuum, without)}) == 3


@pytest.mark.parametrize("name", ["N.UPF", "../H.UPF", "", "."])
def test_a_pseudopotential_that_is_not_there_is_named_with_the_folder(name: str, pseudo_dir: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_pseudopotential(name, pseudo_dir)
    assert caught.value.code == "pseudopotential_missing"
    assert name in caught.value.message
    assert str(pseudo_dir) in caught.value.message
