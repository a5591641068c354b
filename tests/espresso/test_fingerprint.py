"""The fingerprint of an SCF: one for the same physics, another as soon as anything in it differs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from zpe_sdk.errors import ConfigError
from zpe_sdk.espresso import physics
from zpe_sdk.espresso.fingerprint import (
    environ_mark,
    files_sha256,
    find_pseudopotential,
    fingerprint,
)
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
    assert found.physics == physics.physics_hash(pw_input)


def test_other_bytes_under_the_same_name_are_other_physics(pseudo_dir: Path) -> None:
    pw_input = PwInput.parse(TEXT)
    before = fingerprint(pw_input, pseudo_dir, version="7.4")
    assert fingerprint(pw_input, pseudo_dir, version="7.4") == before
    (pseudo_dir / "O.UPF").write_bytes(b"another oxygen")
    assert fingerprint(pw_input, pseudo_dir, version="7.4") != before


def test_environ_takes_part_with_its_version_and_its_input(pseudo_dir: Path) -> None:
    pw_input = PwInput.parse(TEXT)
    marks = [environ_mark("3", "a" * 64), environ_mark("3", "b" * 64), environ_mark("1 or 2", "a" * 64), None]
    found = [fingerprint(pw_input, pseudo_dir, version="7.4", environ=mark) for mark in marks]
    assert [each.environ for each in found] == marks
    assert len(set(marks)) == 4


def test_the_hash_of_a_machines_files_changes_with_each_of_them_and_with_their_names(
    pseudo_dir: Path,
) -> None:
    files = sorted(pseudo_dir.iterdir())
    before = files_sha256(files)
    assert files_sha256(files[::-1]) == before
    (pseudo_dir / "O.UPF").write_bytes(b"another oxygen")
    changed = files_sha256(files)
    (pseudo_dir / "O.UPF").rename(pseudo_dir / "O2.UPF")
    renamed = files_sha256(pseudo_dir.iterdir())
    assert len({before, changed, renamed, files_sha256(files[:1])}) == 4


@pytest.mark.parametrize("name", ["N.UPF", "../H.UPF", "", "."])
def test_a_pseudopotential_that_is_not_there_is_named_with_the_folder(name: str, pseudo_dir: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_pseudopotential(name, pseudo_dir)
    assert caught.value.code == "pseudopotential_missing"
    assert name in caught.value.message
    assert str(pseudo_dir) in caught.value.message
