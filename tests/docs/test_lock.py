"""The list of what was tested fits what the project asks for, and an audit says what it has found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def locked() -> dict[str, str]:
    lines = (ROOT / ".ci/constraints.txt").read_text().splitlines()
    pins = [line.partition("==") for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+", "".join(pin)) for pin in pins)
    return {canonicalize_name(name): version for name, _, version in pins}


def asked() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in extra)]
    return [found for found in map(Requirement, lines) if found.name != "zpe"]


def test_what_the_project_asks_for_is_in_the_list_in_a_version_that_it_allows() -> None:
    pins = locked()
    for requirement in asked():
        version = pins.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is missing: run .ci/lock"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: run .ci/lock"


def checkout(tmp_path: Path) -> Path:
    """A checkout with an environment in which some programs are stand-ins."""
    (tmp_path / ".ci").mkdir()
    for script in ("audit", "constraints.txt"):
        shutil.copy(ROOT / ".ci" / script, tmp_path / ".ci" / script)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    return tmp_path


def of_a(*problems: dict[str, object]) -> dict[str, object]:
    return {"dependencies": [{"name": "a", "version": "1", "vulns": list(problems)}]}


@pytest.mark.parametrize(
    ("report", "said", "status", "shown"),
    [
        (None, "ERROR: no route to the service", 0, "NOT AUDITED"),
        (of_a(), "No known vulnerabilities", 0, "No known"),
        (of_a({"id": "X-1", "fix_versions": ["1.2"]}), "Found 1 known", 1, "a 1: X-1, mended in 1.2"),
    ],
)
def test_an_audit_tells_a_finding_from_a_service_that_is_away(
    report: object, said: str, status: int, shown: str, tmp_path: Path
) -> None:
    """What the auditor answers in each case is played: no test depends on today's vulnerabilities."""
    folder = checkout(tmp_path)
    code = 0 if report and status == 0 else 1
    written = "" if report is None else json.dumps(report)
    auditor = folder / ".venv/bin/pip-audit"
    auditor.write_text(
        '#!/bin/sh\nwhile [ "$1" != --output ]; do shift; done\n'
        f"printf '%s' '{written}' > \"$2\"\necho '{said}' >&2\nexit {code}\n"
    )
    auditor.chmod(0o755)
    done = subprocess.run([folder / ".ci/audit"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert shown in done.stdout + done.stderr
