"""Namelists: read as f90nml reads them, changed without touching the rest."""

from __future__ import annotations

import f90nml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.namelist import apply, literal, read_groups, set_keys

VALUES = st.one_of(
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(-1e30, 1e30, allow_nan=False).map(lambda x: float(f"{x:.12e}")),
    st.text("ab /!,='\"&$()é", max_size=12).map(lambda s: s.rstrip(" ")),
)
KEYS = st.dictionaries(
    st.from_regex(r"[a-df-su-z][a-z_]{0,8}", fullmatch=True), VALUES, min_size=1, max_size=6
)


@settings(max_examples=50)
@given(KEYS, st.sampled_from([", ", "\n  ", ",\n", " ! a, b = 'c' /\n"]), st.sampled_from(["/", "&end"]))
def test_any_keys_are_read_as_f90nml_reads_them(keys: dict[str, object], between: str, end: str) -> None:
    text = "&control\n" + between.join(f"{k.upper()} = {literal(v)}" for k, v in keys.items()) + f"\n{end}\n"
    groups, behind = read_groups(text)
    assert groups["control"].values() == keys == dict(f90nml.reads(text)["control"])
    assert behind == len(text)


@settings(max_examples=50)
@given(KEYS, KEYS)
def test_keys_that_are_set_are_set_and_the_others_stay(
    old: dict[str, object], new: dict[str, object]
) -> None:
    text = "&control " + " ".join(f"{k} = {literal(v)}" for k, v in old.items()) + "\n/\n"
    changed = apply(text, set_keys(text, read_groups(text)[0]["control"], new))
    assert read_groups(changed)[0]["control"].values() == {**old, **new}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1, b=2 c=.true. D='x'", {"a": 1, "b": 2, "c": True, "d": "x"}),
        ("a(1)=8.0, a(3) = 1.3d0", {"a": [8.0, None, 1.3]}),
        ("a(2:3) = 1 2", {"a": [None, 1, 2]}),
        ("a = 3*0.5, 2", {"a": [0.5, 0.5, 0.5, 2]}),
        ("a = 1,,3", {"a": [1, None, 3]}),
        ("a = 1 2 3\n a(2) = 9", {"a": [1, 9, 3]}),
        ("a = 1, a = 2", {"a": 2}),
        ("v(1,2,1) = 0.5", {"v(1,2,1)": 0.5}),
        ("a = T, b=.F.", {"a": True, "b": False}),
        ("a = 'it''s', b = \"x\"\"y\"", {"a": "it's", "b": 'x"y'}),
        ("a=\n  5 ! why\n", {"a": 5}),
        ("a = , b = 2", {"b": 2}),
    ],
)
def test_what_fortran_allows_is_understood(text: str, expected: dict[str, object]) -> None:
    assert read_groups(f"$system {text}\n$end\n")[0]["system"].values() == expected


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("&control\n outdir = ./tmp/\n/\n", "outdir"),
        ("&control outdir = tmp /\n", "outdir"),
        ("&control a = 'x\n /\n", "CONTROL"),
        ("&control a = 1\n", "CONTROL"),
        ("&control a%b = 1 /\n", "CONTROL"),
        ("&control 5 /\n", "CONTROL"),
        ("&control / &system /\n", "CONTROL"),
        ("&control /\n&CONTROL /\n", "CONTROL"),
        ("&control a(1000000000) = 1 /\n", "a"),
        ("&control a = 1000000000*1 /\n", "a"),
        ("&control a = " + "2000*1 " * 3 + "/\n", "a"),
        ("&control a = (1.0, 2.0) /\n", "CONTROL"),
        ("&control a = 1; b = 2 /\n", "CONTROL"),
        ("&control a = " + "1 " * 60_000 + "/\n", "a"),
        ("&control ! " + "x" * 100_001 + "\n/\n", "CONTROL"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_by_name(text: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        read_groups(text)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("&c\n a=1, k=2, b=3\n/\n", "&c\n a=1, k=7, b=3\n/\n"),
        ("&c k = 2 /\n", "&c k = 7 /\n"),
        ("&c\n k=2 ! two\n/\n", "&c\n k=7 ! two\n/\n"),
        ("&c a='k=2' /\n", "&c\n  k = 7\n a='k=2' /\n"),
        ("&c ! k = 2\n/\n", "&c ! k = 2\n  k = 7\n/\n"),
        ("&c\n K = 1\n a = 0, k=2\n/\n", "&c\n  k = 7\n a = 0, \n/\n"),
        ("&c\r\n a=1\r\n/\r\n", "&c\r\n  k = 7\r\n a=1\r\n/\r\n"),
        ("&c k(1:2)='ab', a=1\n/\n", "&c\n  k = 7\n a=1\n/\n"),
    ],
)
def test_one_key_is_changed_and_nothing_else(text: str, changed: str) -> None:
    assert apply(text, set_keys(text, read_groups(text)[0]["c"], {"k": 7})) == changed


def test_a_key_is_taken_out_with_its_line_if_it_has_one() -> None:
    text = "&c\n a=1, k=2, b=3\n k = 5,\n/\n"
    assert apply(text, set_keys(text, read_groups(text)[0]["c"], {"k": None})) == "&c\n a=1, b=3\n/\n"
