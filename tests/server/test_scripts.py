"""The Lua of the transitions: put together of what it needs, and read against the requests."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import fields
from pathlib import Path

import pytest

import zpe_server.transitions
from zpe_server.transitions.base import Transition
from zpe_server.transitions.jobs import Stage
from zpe_server.transitions.leases import Able, Retry
from zpe_server.transitions.scripts import needs, source

for module in pkgutil.iter_modules(zpe_server.transitions.__path__):
    importlib.import_module(f"zpe_server.transitions.{module.name}")

LUA = Path(zpe_server.transitions.__path__[0]).parent / "lua"
SCRIPTS = {path.stem: path.read_text() for path in LUA.glob("*.lua")}
PARTS = {path.stem: path.read_text() for path in (LUA / "shared").glob("*.lua")}
REQUESTS = {request.script: request for request in Transition.__subclasses__()}


def code(text: str) -> str:
    """Return a script without its comments and without what is in its strings."""
    return re.sub(r"'[^'\n]*'", "''", re.sub(r"--[^\n]*", "", text))


def fields_read(text: str, name: str) -> set[str]:
    return set(re.findall(rf"(?<![.\w]){name}\.(\w+)", code(text)))


def defined(text: str) -> set[str]:
    names = re.findall(r"^local (?:function )?(\w+)", code(text), re.MULTILINE)
    return set(names)


def parts_used(text: str) -> set[str]:
    # The key of a table may have the name of a function: {status = ...}, record.status.
    words = set(re.findall(r"(?<![.\w])\w+\b(?!\s*=[^=])", code(text)))
    return {part for part, shared in PARTS.items() if defined(shared) & words}


def test_each_script_has_a_request_and_each_request_a_script() -> None:
    assert set(REQUESTS) == set(SCRIPTS)


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_a_script_reads_just_what_its_request_has(script: str) -> None:
    text, request = SCRIPTS[script], REQUESTS[script]
    small = {field.name for field in fields(request)} - set(request.texts)  # type: ignore[arg-type]
    assert fields_read(text, "a") == small
    read = set(re.findall(r"ARGV\[([^\]]+)\]", code(text)))
    if script == "report":  # two texts for each task
        assert read == {"2 * i", "2 * i + 1"}
        assert request.texts == ("reports",)
    else:
        assert read == {str(n + 2) for n in range(len(request.texts))}


def test_what_is_within_a_request_is_read_in_full() -> None:
    assert fields_read(SCRIPTS["lease"], "able") == {field.name for field in fields(Able)}
    assert fields_read(PARTS["stage"], "stage") == {field.name for field in fields(Stage)}
    assert fields_read(PARTS["attempts"], "retry") == {field.name for field in fields(Retry)}


@pytest.mark.parametrize(("folder", "name"), [("", n) for n in SCRIPTS] + [("shared/", n) for n in PARTS])
def test_a_script_says_what_it_is_and_names_just_the_parts_that_it_uses(folder: str, name: str) -> None:
    text = (PARTS if folder else SCRIPTS)[name]
    assert re.match(r"-- [A-Z]", text)
    assert needs(text) == sorted(parts_used(text) - ({name} if folder else set()))
    # So a transition's own file shows all that it reads.
    assert not folder or fields_read(text, "a") == set()


def test_each_shared_part_is_needed_by_a_transition() -> None:
    everything = {script: source(script) for script in SCRIPTS}
    assert {part for part in PARTS if not any(PARTS[part] in text for text in everything.values())} == set()


def test_what_is_shared_comes_once_and_before_what_needs_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        act="-- needs: a, b",
        **{"shared/a": "-- needs: c", "shared/b": "-- needs: c", "shared/c": "--"},
    )
    assert source("act", tmp_path).splitlines() == ["--", "-- needs: c", "-- needs: c", "-- needs: a, b"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "there is no act.lua"),
        ({"act": "-- needs: keys, lime"}, "there is no shared/lime.lua, which act.lua needs"),
        (
            {"act": "-- needs: keys", "shared/keys": "-- needs: x"},
            "there is no shared/x.lua, which shared/keys.lua needs",
        ),
        (
            {"act": "-- needs: keys", "shared/keys": "-- needs: keys"},
            "parts of scripts need one another: act > shared/keys > shared/keys",
        ),
    ],
)
def test_a_script_that_cannot_be_put_together_says_what_is_missing(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    write(tmp_path, **{"shared/keys": "-- What it is."} | files)
    with pytest.raises(LookupError, match=f"^{re.escape(message)}$"):
        source("act", tmp_path)


def write(folder: Path, **files: str) -> None:
    (folder / "shared").mkdir()
    for name, text in files.items():
        (folder / f"{name}.lua").write_text(text)
