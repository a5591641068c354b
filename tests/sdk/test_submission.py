"""What a researcher has in hand, made into a request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.constraints import FixAtoms

from tests.processes import h2
from zpe_sdk.client.submission import environ_text, input_text, mobile_indices
from zpe_sdk.errors import InputError

PSEUDOPOTENTIALS = {"Cu": "Cu.UPF", "H": "H.UPF", "O": "O.UPF"}
SAMPLES = Path(__file__).parents[2] / "samples" / "qe-in"


@pytest.fixture(scope="module")
def slab() -> Atoms:
    """Two layers of copper, the lower one fixed, and OH on top with a tag of 0."""
    atoms = fcc100("Cu", (1, 1, 2), vacuum=6.0)
    add_adsorbate(atoms, Atoms("OH", [(0, 0, 0), (0, 0, 0.98)]), 1.5, "ontop")
    atoms.set_constraint(FixAtoms(indices=[0]))
    return atoms


@pytest.fixture(scope="module")
def slab_text(slab: Atoms) -> str:
    return input_text(slab, pseudopotentials=PSEUDOPOTENTIALS, ecutwfc=30.0, kpts=(2, 2, 1))[0]


@pytest.mark.parametrize(
    ("mobile", "expected"),
    [
        (None, None),
        ([3], [3]),
        ([3, 2], [2, 3]),
        ([3, 2, -1, 3], [2, 3]),
        ([-1], [3]),
        (np.array([2, 3]), [2, 3]),
        ([False, False, True, True], [2, 3]),
        (np.array([False, True, False, False]), [1]),
        ("H", [3]),
        (["O", "H"], [2, 3]),
        # Of the two copper atoms one is fixed.
        ("Cu", [1]),
        (lambda atoms: atoms.positions[:, 2] > 7.0, [1, 2, 3]),
        (lambda atoms: "O", [2]),
        (lambda atoms: (i for i in range(2, 4)), [2, 3]),
    ],
)
def test_mobile_atoms_can_be_named_in_many_ways(slab_text: str, mobile: Any, expected: Any) -> None:
    assert mobile_indices(mobile, slab_text) == expected


def test_a_function_gets_the_atoms_with_their_tags(slab: Atoms, slab_text: str) -> None:
    assert mobile_indices(lambda atoms: atoms.get_tags() == 0, slab_text, slab) == [2, 3]


@pytest.mark.parametrize(
    "mobile",
    [
        *([4], [-5], [0], [], [0.5], [True, False], "N", ["H", "N"], [[1, 2]], [1, [2, 3]]),
        *(1, 0.5, np.array(1), [None], lambda atoms: [], lambda atoms: None),
    ],
    ids=lambda mobile: "function" if callable(mobile) else repr(mobile),
)
def test_mobile_atoms_that_cannot_be_are_refused(slab_text: str, mobile: Any) -> None:
    with pytest.raises(InputError) as caught:
        mobile_indices(mobile, slab_text)
    assert (caught.value.code, caught.value.field) == ("bad_mobile_indices", "mobile_indices")


def test_an_index_that_is_not_there_is_told_as_it_was_given(slab_text: str) -> None:
    with pytest.raises(InputError, match=r"-4, given: \[-5\]"):
        mobile_indices([0, -5], slab_text)


@pytest.mark.parametrize("structure", [None, 5, [Atoms("H")], b"&SYSTEM\n/\n"])
def test_what_is_no_structure_is_refused(structure: Any) -> None:
    with pytest.raises(InputError) as caught:
        input_text(structure)
    assert (caught.value.code, caught.value.field) == ("bad_structure", "structure")


@pytest.mark.parametrize("name", ["h2.cif", "h2.xyz"])
def test_a_file_of_another_format_is_for_ase(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    Atoms("H2", [(0, 0, 0), (0, 0, 0.75)], cell=[6, 6, 6], pbc=True).write(file)
    with pytest.raises(InputError, match=r"ase\.io\.read") as caught:
        input_text(file)
    assert caught.value.code == "no_pw_input"
    assert name in caught.value.message


def test_a_file_a_path_and_a_text_are_the_same_input(tmp_path: Path) -> None:
    file = tmp_path / "h2.in"
    file.write_text(h2("é"), encoding="utf-8")
    assert input_text(file) == input_text(str(file)) == input_text(h2("é")) == (h2("é"), {})


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_input"),
        (b" \n\t\n", "empty_input"),
        (b"\x7fELF\0\1", "binary_input"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary_input"),
        (b"\x81\x8d\x8f", "binary_input"),
    ],
)
def test_a_file_that_is_no_input_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    file = tmp_path / "h2.in"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"h2\.in") as caught:
        input_text(file)
    assert (caught.value.code, caught.value.field) == (code, "content")


def test_a_comment_in_an_older_encoding_is_no_reason_to_refuse(tmp_path: Path) -> None:
    file = tmp_path / "h2.in"
    text = h2() + "! r\u00e9sum\u00e9 \u00e0 6 \u00c5\n"
    file.write_bytes(text.encode("latin-1"))
    assert input_text(file) == (text, {})
    file.write_bytes(text.encode("utf-8-sig"))
    assert input_text(file) == (text, {})


@pytest.mark.parametrize("missing", ["nowhere/h2.in", Path("nowhere/h2.in"), "nowhere.pwi"])
def test_a_missing_file_is_named(missing: str | Path) -> None:
    with pytest.raises(InputError, match="nowhere") as caught:
        input_text(missing)
    assert caught.value.code == "file_missing"


def test_a_folder_and_an_empty_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        input_text(tmp_path)
    assert caught.value.code == "file_unreadable"
    with pytest.raises(InputError) as caught:
        input_text("")
    assert caught.value.code == "empty_input"


def test_what_only_atoms_need_is_not_dropped_in_silence() -> None:
    with pytest.raises(InputError) as caught:
        input_text(h2(), ecutwfc=40.0)
    assert (caught.value.code, caught.value.field) == ("not_for_a_text", "ecutwfc")


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.in")), ids=lambda path: path.name)
def test_the_samples_can_be_submitted_as_they_are(sample: Path) -> None:
    text, _ = input_text(sample)
    assert mobile_indices(lambda atoms: "H", text)
    assert "/" not in [line.split("=")[-1] for line in text.splitlines() if "dir" in line]


def test_an_environ_input_is_a_file_or_its_text(tmp_path: Path) -> None:
    text = "&ENVIRON\n  environ_type = 'water'\n/\n&BOUNDARY\n/\n"
    (tmp_path / "environ.in").write_text(text)
    assert environ_text(text) == environ_text(tmp_path / "environ.in") == text
    assert environ_text(str(tmp_path / "environ.in")) == text
    assert environ_text(None) is None
    assert environ_text("&ENVIRON /") == "&ENVIRON /"
    for wrong, code in (
        (tmp_path / "no.in", "file_missing"),
        ("", "empty_input"),
        (text.replace("_type", "_typ"), "bad_input"),
    ):
        with pytest.raises(InputError) as caught:
            environ_text(wrong)
        assert (caught.value.code, caught.value.field) == (code, "environ")
