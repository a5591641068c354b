"""What is read from a run of the real pw.x, from its XML file and from what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso.ionic_steps import scf_cycles
from zpe_sdk.espresso.iterations import Iteration, tell_iterations
from zpe_sdk.espresso.output import read_result
from zpe_sdk.espresso.process import STDOUT, Output
from zpe_sdk.espresso.run import pw_command, run_scf

PSEUDO_DIR = "/usr/share/espresso/pseudo"
O2 = f"""&CONTROL
  prefix = 'pw', outdir = './', tprnfor = .true., pseudo_dir = '{PSEUDO_DIR}'
/
&SYSTEM
  ibrav = 1, A = 4.0, nat = 2, ntyp = 1, ecutwfc = 15, ecutrho = 90
  nspin = 2, tot_magnetization = 2, starting_magnetization(1) = 0.3
/
&ELECTRONS
  conv_thr = 1e-7
/
ATOMIC_SPECIES
O 15.9994 O.pbe-rrkjus.UPF
ATOMIC_POSITIONS angstrom
O 2 2 1.39
O 2 2 2.61
K_POINTS gamma
"""

pytestmark = pytest.mark.qe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("o2")
    run_scf(pw_command(), O2, found, prefix="pw")
    return found


def xml_of(folder: Path) -> str:
    return (folder / "pw.save" / "data-file-schema.xml").read_text()


def read(stdout: str, xml: str | None, where: Path):  # type: ignore[no-untyped-def]
    where.mkdir(exist_ok=True)
    if xml is not None:
        (where / "pw.xml").write_text(xml)
    return read_result(where, "pw", stdout, seconds=1.0)


def test_the_triplet_of_o2_has_two_bohr_magnetons_in_the_file_and_in_print(
    folder: Path, tmp_path: Path
) -> None:
    stdout = (folder / STDOUT).read_text()
    filed = read(stdout, xml_of(folder), tmp_path / "xml")
    printed = read(stdout, None, tmp_path / "print")
    for found in (filed, printed):
        assert found.total_magnetization == pytest.approx(2.0, abs=0.005)
        assert found.absolute_magnetization > 2.0
    np.testing.assert_allclose(printed.forces_ev_ang, filed.forces_ev_ang, atol=1e-6)


@pytest.mark.parametrize("damage", ["NaN", "****************", "Infinity", "1.0E+300"])
def test_forces_that_are_not_numbers_are_a_failure_told_in_a_sentence(
    folder: Path, tmp_path: Path, damage: str
) -> None:
    stdout, xml = (folder / STDOUT).read_text(), xml_of(folder)
    in_file = re.sub(r"(<forces rank[^>]*>\s*)\S+", lambda match: match[1] + damage, xml)
    in_print = re.sub(
        r"(atom    1 type  1   force =\s+)\S+", lambda match: match[1] + damage, stdout, count=1
    )
    assert in_file != xml
    assert in_print != stdout
    broken = [(stdout, in_file)]
    if not damage.startswith("1.0"):  # pw.x prints stars in place of a number this long
        broken.append((in_print, None))
    for n, (text, document) in enumerate(broken):
        with pytest.raises(ComputeError, match="not numbers or absurdly large") as caught:
            read(text, document, tmp_path / str(n))
        assert caught.value.code == "forces_invalid"


def test_stars_in_place_of_a_number_stop_nothing(tmp_path: Path) -> None:
    told: list[Iteration] = []
    output = Output(tmp_path / "pw.out", tell_iterations(told.append))
    output.feed(
        b"     iteration #  1     ecut=    20.00 Ry\n     estimated scf accuracy    <       1******* Ry\n"
    )
    output.feed(b"     estimated scf accuracy    <       0.00321304 Ry\n")
    output.close()
    assert told == [Iteration(1, 0.00321304)]


def test_a_history_of_many_equal_numbers_is_none() -> None:
    assert scf_cycles("999999999*0.0", nat=2) is None


def test_a_file_in_an_encoding_that_there_is_not_holds_no_result(tmp_path: Path) -> None:
    for encoding in ("utf-7", "nobody-knows"):
        (tmp_path / "pw.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?><a/>')
        assert read_result(tmp_path, "pw", "", seconds=1.0) is None
